#include "rollout_worker/engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace hone::engine {
namespace {

// Free pages kept back from newcomers, as a share of the cache: sequences in flight grow into them instead of pushing
// one another out.
constexpr int kReserveDivisor = 16;
// Prompts are computed ahead for this share of the batch beyond what fits, so that a finished sequence has a successor
// at once.
constexpr int kAheadDivisor = 4;

}  // namespace

absl::Status Scheduler::Validate(const Options& options) {
  if (options.page_tokens <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_tokens: expected a positive number, got ", options.page_tokens));
  }
  if (options.page_count <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("page_count: expected a positive number, got ", options.page_count));
  }
  if (options.max_batch_sequences <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_batch_sequences: expected a positive number, got ", options.max_batch_sequences));
  }
  if (options.max_batch_tokens < options.max_batch_sequences) {
    return absl::InvalidArgumentError(absl::StrCat("max_batch_tokens: expected at least max_batch_sequences = ",
                                                   options.max_batch_sequences, ", got ", options.max_batch_tokens));
  }
  return absl::OkStatus();
}

Scheduler::Scheduler(const Options& options) : options_(options), allocator_(options.page_count) {
  HONE_CHECK_OK(Validate(options));
}

int64_t Scheduler::PagesNeeded(int prompt_tokens, int max_new_tokens) const {
  // One page more: the prompt's partial page lives beside the first sample's copy of it.
  const int64_t tokens = int64_t{prompt_tokens} + max_new_tokens;
  return (tokens + options_.page_tokens - 1) / options_.page_tokens + 1;
}

absl::StatusOr<int64_t> Scheduler::AddGroup(int prompt_tokens, int samples, int max_new_tokens) {
  if (prompt_tokens <= 0 || samples <= 0 || max_new_tokens <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("expected at least one prompt token, sample and new token, got ",
                                                   prompt_tokens, ", ", samples, " and ", max_new_tokens));
  }
  const int64_t pages = PagesNeeded(prompt_tokens, max_new_tokens);
  if (pages > options_.page_count) {
    return absl::ResourceExhaustedError(absl::StrCat("a prompt of ", prompt_tokens, " tokens with ", max_new_tokens,
                                                     " new ones needs ", pages, " KV pages of ", options_.page_tokens,
                                                     " tokens; the cache has ", options_.page_count));
  }
  Group& group = groups_[next_group_];
  group.prompt_tokens = prompt_tokens;
  group.unforked = group.unfinished = samples;
  group.pages.reserve(static_cast<size_t>(PagesFor(prompt_tokens)));
  group.sequences.resize(static_cast<size_t>(samples));
  for (Sequence& sequence : group.sequences) {
    sequence.known = prompt_tokens;
    sequence.pages.reserve(static_cast<size_t>(pages));
  }
  return next_group_++;
}

// ------------------------------------------------------------------------------------------------ pages

bool Scheduler::HasPartialPage(const Group& group) const {
  return static_cast<int>(group.pages.size()) > group.prompt_tokens / options_.page_tokens;
}

void Scheduler::ReleaseAll(std::vector<int32_t>* pages) {
  for (const int32_t page : *pages) allocator_.Release(page);
  pages->clear();
}

// One sample less that may need the partial page; the last one out frees it.
void Scheduler::LeavePartialPage(Group* group) {
  if (--group->unforked > 0 || !HasPartialPage(*group)) return;
  allocator_.Release(group->pages.back());
  group->pages.pop_back();
  group->prompt_computed = std::min(group->prompt_computed, SharedTokens(*group));
}

void Scheduler::DropPrompt(Group* group) {
  ReleaseAll(&group->pages);
  group->prompt_computed = 0;
}

void Scheduler::Preempt(Group* group, Sequence* sequence) {
  ReleaseAll(&sequence->pages);
  sequence->computed = 0;
  sequence->state = State::kPreempted;
  --group->running;
  --running_;
  ++preemptions_;
}

bool Scheduler::Reclaim(int64_t id, int32_t sample) {
  for (auto it = groups_.rbegin(); it != groups_.rend() && it->first >= id; ++it) {
    Group& group = it->second;
    if (group.running > 0) {
      for (int32_t i = static_cast<int32_t>(group.sequences.size()) - 1; i >= 0; --i) {
        if (it->first == id && i <= sample) break;
        Sequence& victim = group.sequences[static_cast<size_t>(i)];
        if (victim.state != State::kRunning) continue;
        Preempt(&group, &victim);
        return true;
      }
    }
    if (it->first > id && !group.pages.empty()) {
      DropPrompt(&group);
      return true;
    }
    // Of its own group a sequence in flight needs the full pages; samples that start later can compute the rest again.
    if (it->first == id && group.running > 0 && HasPartialPage(group)) {
      allocator_.Release(group.pages.back());
      group.pages.pop_back();
      group.prompt_computed = SharedTokens(group);
      return true;
    }
  }
  return false;
}

void Scheduler::Grow(std::vector<int32_t>* pages, int32_t tokens) {
  while (static_cast<int>(pages->size()) < PagesFor(tokens)) {
    const int32_t page = allocator_.Allocate();
    HONE_CHECK(page >= 0) << "no free page";
    pages->push_back(page);
  }
}

bool Scheduler::Admit(int64_t id, int pages) {
  if (running_ == 0) {
    // Nobody will free pages: the first group takes them from those behind it (their prompts), the others wait for it.
    while (id == groups_.begin()->first && allocator_.free_count() < pages && Reclaim(id, kPromptSample)) {
    }
    return allocator_.free_count() >= pages;
  }
  return allocator_.free_count() - std::min(running_, options_.page_count / kReserveDivisor) >= pages;
}

bool Scheduler::TakePages(int count, std::vector<int32_t>* pages) {
  pages->clear();
  if (count > options_.page_count) return false;
  while (allocator_.free_count() < count) HONE_CHECK(Reclaim(-1, kPromptSample)) << "pages without a holder";
  Grow(pages, count * options_.page_tokens);
  return true;
}

void Scheduler::GiveBack(const std::vector<int32_t>& pages) {
  for (const int32_t page : pages) allocator_.Release(page);
}

// ------------------------------------------------------------------------------------------------ planning

const StepPlan& Scheduler::Plan() {
  plan_.copies.clear();
  plan_.chunks.clear();
  budget_ = options_.max_batch_tokens;
  PlanRunning();
  PlanAdmissions();
  HONE_CHECK(!plan_.chunks.empty() || groups_.empty())
      << "nothing planned although " << groups_.size() << " groups wait";
  return plan_;
}

void Scheduler::AddChunk(int64_t id, int32_t sample, int32_t end, Sequence* sequence) {
  const int32_t count = end - sequence->computed;
  plan_.chunks.push_back({.group = id,
                          .sample = sample,
                          .position = sequence->computed,
                          .count = count,
                          .pages = sequence->pages.data(),
                          .samples_next = end == sequence->known});
  sequence->computed = end;
  budget_ -= count;
}

void Scheduler::PlanRunning() {
  int seen = 0;
  for (auto& [id, group] : groups_) {
    if (seen == running_) return;  // preemption lowers running_, but only by sequences not seen yet
    if (group.running == 0) continue;
    for (int32_t i = 0; i < static_cast<int32_t>(group.sequences.size()); ++i) {
      Sequence& sequence = group.sequences[static_cast<size_t>(i)];
      if (sequence.state != State::kRunning) continue;
      ++seen;
      // A long recomputation leaves one token of the budget for each of the others.
      const int32_t limit = budget_ - (running_ - seen);
      const int32_t end = sequence.computed + std::min(sequence.known - sequence.computed, limit);
      const int missing = PagesFor(end) - static_cast<int>(sequence.pages.size());
      while (allocator_.free_count() < missing && Reclaim(id, i)) {
      }
      if (allocator_.free_count() < missing) {
        Preempt(&group, &sequence);  // all others in flight come before it
        return;
      }
      Grow(&sequence.pages, end);
      AddChunk(id, i, end, &sequence);
    }
  }
}

void Scheduler::PlanAdmissions() {
  int pending = 0;  // samples of groups whose prompt is begun that are not in flight
  for (auto& [id, group] : groups_) {
    if (budget_ == 0) return;
    if (group.running == group.unfinished) continue;
    const bool begun = group.first_sampled || group.prompt_computed > 0;
    if (!begun && running_ + pending > options_.max_batch_sequences + options_.max_batch_sequences / kAheadDivisor)
      return;
    if (group.prompt_computed < PromptTarget(group)) {
      if (!PlanPrompt(id, &group)) return;
    } else {
      for (int32_t i = 0; i < static_cast<int32_t>(group.sequences.size()); ++i) {
        const State state = group.sequences[static_cast<size_t>(i)].state;
        if (state != State::kUnstarted && state != State::kPreempted) continue;
        if (running_ >= options_.max_batch_sequences) break;
        if (budget_ == 0 || !StartSequence(id, &group, i)) return;
      }
    }
    pending += group.unfinished - group.running;
  }
}

bool Scheduler::PlanPrompt(int64_t id, Group* group) {
  const int32_t target = PromptTarget(*group);
  const int32_t count = std::min(target - group->prompt_computed, budget_);
  const int32_t end = group->prompt_computed + count;
  if (!Admit(id, PagesFor(end) - static_cast<int>(group->pages.size()))) return false;
  Grow(&group->pages, end);
  plan_.chunks.push_back({.group = id,
                          .sample = kPromptSample,
                          .position = group->prompt_computed,
                          .count = count,
                          .pages = group->pages.data(),
                          .samples_next = !group->first_sampled && end == target});
  group->prompt_computed = end;
  budget_ -= count;
  return true;
}

bool Scheduler::StartSequence(int64_t id, Group* group, int32_t sample) {
  Sequence& sequence = group->sequences[static_cast<size_t>(sample)];
  const bool fork = sequence.state == State::kUnstarted && HasPartialPage(*group);
  const int32_t computed = fork ? group->prompt_tokens : SharedTokens(*group);
  const int32_t end = computed + std::min(sequence.known - computed, budget_);
  const bool take_over = fork && group->unforked == 1;
  const int shared_pages = SharedTokens(*group) / options_.page_tokens;
  if (!Admit(id, PagesFor(end) - shared_pages - (take_over ? 1 : 0))) return false;
  for (int i = 0; i < shared_pages; ++i) {
    allocator_.Retain(group->pages[static_cast<size_t>(i)]);
    sequence.pages.push_back(group->pages[static_cast<size_t>(i)]);
  }
  if (take_over) {
    sequence.pages.push_back(group->pages.back());
    group->pages.pop_back();
    group->prompt_computed = SharedTokens(*group);
    group->unforked = 0;
  } else if (sequence.state == State::kUnstarted) {
    if (fork) {
      Grow(&sequence.pages, group->prompt_tokens);
      plan_.copies.push_back({group->pages.back(), sequence.pages.back()});
    }
    LeavePartialPage(group);
  }
  Grow(&sequence.pages, end);
  sequence.computed = computed;
  sequence.state = State::kRunning;
  ++group->running;
  ++running_;
  AddChunk(id, sample, end, &sequence);
  return true;
}

// ------------------------------------------------------------------------------------------------ events

void Scheduler::Replace(int64_t id, int32_t sample, int removed, int added) {
  Group& group = groups_.at(id);
  group.first_sampled = true;
  Sequence& sequence = group.sequences[static_cast<size_t>(sample)];
  sequence.known -= removed;
  HONE_CHECK(removed >= 0 && added >= 1 && sequence.known >= group.prompt_tokens)
      << "group " << id << " sample " << sample << ": " << removed << " tokens removed, " << added << " added";
  sequence.computed = std::min(sequence.computed, sequence.known);
  sequence.known += added;
}

void Scheduler::Finish(int64_t id, int32_t sample) {
  Group& group = groups_.at(id);
  group.first_sampled = true;
  Sequence& sequence = group.sequences[static_cast<size_t>(sample)];
  HONE_CHECK(sequence.state != State::kFinished) << "group " << id << " sample " << sample << " is finished already";
  if (sequence.state == State::kUnstarted) LeavePartialPage(&group);
  if (sequence.state == State::kRunning) {
    --group.running;
    --running_;
  }
  ReleaseAll(&sequence.pages);
  sequence.state = State::kFinished;
  if (--group.unfinished > 0) return;
  ReleaseAll(&group.pages);
  groups_.erase(id);
}

void Scheduler::Cancel(int64_t id) {
  const auto it = groups_.find(id);
  if (it == groups_.end()) return;
  for (Sequence& sequence : it->second.sequences) ReleaseAll(&sequence.pages);
  ReleaseAll(&it->second.pages);
  running_ -= it->second.running;
  groups_.erase(it);
}

}  // namespace hone::engine
