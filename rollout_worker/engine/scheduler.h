// Decides what the engine computes in each step: a pure state machine without threads, clock or input and output.
//
// Groups come in (prompt length, number of samples); each Plan says which tokens of which sequences go through the
// model next and where their keys and values are kept. Results never depend on its choices (the kernels' contract):
// they decide speed.
//
//   waiting --prompt in chunks--> prompt done --first tokens sampled--> sequences start --one token a step--> finished
//
// Invariants:
//   1. A group's prompt is computed once; its full pages are shared by all samples, the partly filled last page is
//   copied for
//      each sample but the last to start, which takes it over.
//   2. Order of priority is order of arrival, then sample index. Sequences in flight come before sequences that start,
//   these
//      before prompts of later groups. Nothing overtakes a group that waits for pages.
//   3. Where a sequence in flight needs a page and none is free, the one of lowest priority gives up all of its pages
//   and is
//      computed again later (its tokens are kept). The first group can always finish: AddGroup refuses what could not.
//   4. A step holds at most max_batch_tokens tokens and max_batch_sequences sequences in flight.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/status.h"
#include "rollout_worker/engine/page_allocator.h"

namespace hone::engine {

// Consecutive tokens of one sequence to be computed: [position, position + count).
struct PlannedChunk {
  int64_t group = 0;
  int32_t sample = 0;  // kPromptSample: the group's prompt
  int32_t position = 0;
  int32_t count = 0;
  const int32_t* pages = nullptr;  // of the sequence; valid until the next Plan
  // The last token's logits decide the sequence's next token; for a prompt: the first token of every sample.
  bool samples_next = false;
};

inline constexpr int32_t kPromptSample = -1;

struct PageCopy {
  int32_t from = 0, to = 0;
};

struct StepPlan {
  std::vector<PageCopy> copies;  // to be made first, in order
  std::vector<PlannedChunk> chunks;
};

// Not thread-safe.
class Scheduler {
 public:
  struct Options {
    int page_tokens = 16;
    int page_count = 0;
    int max_batch_sequences = 64;
    int max_batch_tokens = 512;  // at least max_batch_sequences, so that every sequence in flight moves in every step
  };
  // INVALID_ARGUMENT names the option.
  static absl::Status Validate(const Options& options);
  explicit Scheduler(const Options& options);

  // Pages that AddGroup demands for a group: those of its longest sequence, beside the prompt's partial one.
  int64_t PagesNeeded(int prompt_tokens, int max_new_tokens) const;
  // A new group, named by a rising number. RESOURCE_EXHAUSTED: one of its sequences alone would not fit the cache;
  // INVALID_ARGUMENT: a count that is not positive.
  absl::StatusOr<int64_t> AddGroup(int prompt_tokens, int samples, int max_new_tokens);
  // What to compute now; empty where there is nothing to do. The caller must do it, then call Append, Replace or Finish
  // for every sequence whose next token was sampled, before it asks again.
  const StepPlan& Plan();
  // The sequence has one more token, whose key and value are not computed yet.
  void Append(int64_t group, int32_t sample) { Replace(group, sample, 0, 1); }
  // The sequence has `added` (at least 1) more tokens, in place of its last `removed` ones: of the completion, the
  // token just sampled not among them.
  void Replace(int64_t group, int32_t sample, int removed, int added);
  // The sequence's last token was sampled: its pages are free. The group goes with its last sequence.
  void Finish(int64_t group, int32_t sample);
  // Forgets the group, whatever its state.
  void Cancel(int64_t group);

  // Pages for the caller's own use, taken from sequences of lowest priority where none are free. Fails (false, nothing
  // taken) only where `count` exceeds the cache. To be given back before the next Plan.
  bool TakePages(int count, std::vector<int32_t>* pages);
  void GiveBack(const std::vector<int32_t>& pages);

  bool idle() const { return groups_.empty(); }
  int running() const { return running_; }  // sequences in flight
  int pages_used() const { return allocator_.page_count() - allocator_.free_count(); }
  int64_t preemptions() const { return preemptions_; }  // sequences that gave up their pages, so far
  const Options& options() const { return options_; }

 private:
  enum class State { kUnstarted, kRunning, kPreempted, kFinished };
  struct Sequence {
    State state = State::kUnstarted;
    int32_t known = 0;     // tokens of prompt and completion
    int32_t computed = 0;  // of these, with key and value in `pages`
    std::vector<int32_t> pages;
  };
  struct Group {
    int32_t prompt_tokens = 0;
    int32_t prompt_computed = 0;
    bool first_sampled = false;  // every sample has its first token
    int unforked = 0;            // samples that may still need the prompt's partial page
    int unfinished = 0;
    int running = 0;
    // Of the prompt: the full pages and, until the last sample started, the partial one.
    std::vector<int32_t> pages;
    std::vector<Sequence> sequences;
  };
  using Groups = std::map<int64_t, Group>;  // by arrival

  int32_t SharedTokens(const Group& group) const {
    return group.prompt_tokens / options_.page_tokens * options_.page_tokens;
  }
  int32_t PromptTarget(const Group& group) const {
    return group.first_sampled ? SharedTokens(group) : group.prompt_tokens;
  }
  int PagesFor(int32_t tokens) const { return (tokens + options_.page_tokens - 1) / options_.page_tokens; }
  bool HasPartialPage(const Group& group) const;
  void ReleaseAll(std::vector<int32_t>* pages);
  void LeavePartialPage(Group* group);
  void DropPrompt(Group* group);
  void Preempt(Group* group, Sequence* sequence);
  // Takes pages from the holder of lowest priority that comes after (group, sample); false where there is none.
  bool Reclaim(int64_t group, int32_t sample);
  void Grow(std::vector<int32_t>* pages, int32_t tokens);
  // True where `pages` more pages may be taken by something that is not in flight yet.
  bool Admit(int64_t group, int pages);
  void PlanRunning();
  void PlanAdmissions();
  bool PlanPrompt(int64_t id, Group* group);
  bool StartSequence(int64_t id, Group* group, int32_t sample);
  void AddChunk(int64_t id, int32_t sample, int32_t end, Sequence* sequence);

  const Options options_;
  PageAllocator allocator_;
  Groups groups_;
  StepPlan plan_;
  int64_t next_group_ = 0;
  int running_ = 0;
  int budget_ = 0;  // tokens left in the step being planned
  int64_t preemptions_ = 0;
};

}  // namespace hone::engine
