// Transcripts (testdata/*.txt: script and expected trace; HONE_REWRITE_TRANSCRIPTS=1 rewrites them) and a random walk
// that keeps track of what every page holds.
#include "rollout_worker/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/files.h"

namespace hone::engine {
namespace {

// Runs a transcript's commands; see testdata/ for the language.
class Transcript {
 public:
  std::string Run(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "options") {
      scheduler_ =
          std::make_unique<Scheduler>(Scheduler::Options{Number(words), Number(words), Number(words), Number(words)});
      return "";
    }
    if (command == "add") {
      const int prompt = Number(words), samples = Number(words), fresh = Number(words);
      const auto group = scheduler_->AddGroup(prompt, samples, fresh);
      return group.ok() ? absl::StrCat("group ", *group, "\n")
                        : absl::StrCat(std::string(group.status().message()), "\n");
    }
    if (command == "last") {  // these end with their next token
      int group, sample;
      char dot;
      while (words >> group >> dot >> sample) last_.insert({group, sample});
      return "";
    }
    if (command == "next") {  // the next token of this sequence comes with others, or instead of others
      int group, sample;
      char dot;
      words >> group >> dot >> sample;
      const int removed = Number(words), added = Number(words);
      next_[{group, sample}] = {removed, added};
      return "";
    }
    if (command == "cancel") {
      scheduler_->Cancel(Number(words));
      return State();
    }
    if (command == "take") {
      std::vector<int32_t> pages;
      const bool taken = scheduler_->TakePages(Number(words), &pages);
      const std::string state = absl::StrCat(taken ? "taken; " : "refused; ", State());
      scheduler_->GiveBack(pages);
      return state;
    }
    EXPECT_EQ(command, "step");
    return Step();
  }

  void AddSamples(int64_t group, int samples) { samples_[group] = samples; }

 private:
  // The number of "name=number".
  static int Number(std::istringstream& words) {
    std::string word;
    words >> word;
    return std::stoi(word.substr(word.find('=') + 1));
  }
  std::string State() const {
    return absl::StrCat("running ", scheduler_->running(), ", pages ", scheduler_->pages_used(), ", preempted ",
                        scheduler_->preemptions(), "\n");
  }
  std::string Step() {
    const StepPlan plan = scheduler_->Plan();
    std::string out;
    for (const PageCopy& copy : plan.copies) absl::StrAppend(&out, "copy ", copy.from, " -> ", copy.to, "\n");
    for (const PlannedChunk& chunk : plan.chunks) {
      const std::string who = chunk.sample == kPromptSample ? absl::StrCat(chunk.group, " prompt")
                                                            : absl::StrCat(chunk.group, ".", chunk.sample);
      absl::StrAppend(&out, who, " [", chunk.position, ", ", chunk.position + chunk.count, ") page ",
                      chunk.pages[chunk.position / scheduler_->options().page_tokens],
                      chunk.samples_next ? " sample" : "", "\n");
    }
    for (const PlannedChunk& chunk : plan.chunks) {
      if (!chunk.samples_next) continue;
      const int begin = chunk.sample == kPromptSample ? 0 : chunk.sample;
      const int end = chunk.sample == kPromptSample ? samples_.at(chunk.group) : chunk.sample + 1;
      for (int sample = begin; sample < end; ++sample) {
        if (last_.contains({chunk.group, sample})) {
          scheduler_->Finish(chunk.group, sample);
        } else if (const auto next = next_.extract({chunk.group, sample}); !next.empty()) {
          scheduler_->Replace(chunk.group, sample, next.mapped().first, next.mapped().second);
        } else {
          scheduler_->Append(chunk.group, sample);
        }
      }
    }
    return out + State();
  }

  std::unique_ptr<Scheduler> scheduler_;
  std::set<std::pair<int64_t, int>> last_;
  std::map<std::pair<int64_t, int>, std::pair<int, int>> next_;
  std::map<int64_t, int> samples_;
};

class TranscriptTest : public testing::TestWithParam<const char*> {};

TEST_P(TranscriptTest, GivesTheTraceWritten) {
  const std::string path = absl::StrCat(HONE_SOURCE_DIR, "/rollout_worker/engine/testdata/", GetParam(), ".txt");
  const auto text = ReadFile(path);
  ASSERT_TRUE(text.ok()) << text.status();
  std::istringstream lines(*text);
  std::string line, actual;
  Transcript transcript;
  int64_t groups = 0;
  while (std::getline(lines, line)) {
    if (line.rfind("> ", 0) == 0) {
      const std::string command = line.substr(2);
      if (const size_t at = command.find("samples="); at != std::string::npos) {
        transcript.AddSamples(groups, std::stoi(command.substr(at + 8)));
      }
      const std::string result = transcript.Run(command);
      if (result.rfind("group ", 0) == 0) ++groups;
      absl::StrAppend(&actual, line, "\n", result);
    } else if (line.empty() || line[0] == '#') {
      absl::StrAppend(&actual, line, "\n");
    }
  }
  if (std::getenv("HONE_REWRITE_TRANSCRIPTS") != nullptr) {
    ASSERT_TRUE(WriteFileAtomic(path, actual).ok());
  }
  EXPECT_EQ(actual, *text);
}

INSTANTIATE_TEST_SUITE_P(All, TranscriptTest,
                         testing::Values("shared_prompt", "chunked_prefill", "preemption", "limits", "controls"));

// Plays an engine whose cache remembers, for every slot of every page, which token it holds.
class CacheModel {
 public:
  CacheModel(const Scheduler::Options& options, uint32_t seed) : options_(options), scheduler_(options), random_(seed) {
    slots_.resize(static_cast<size_t>(options.page_count) * static_cast<size_t>(options.page_tokens), {-1, -1, -1, -1});
  }

  void Add() {
    const int prompt = Draw(1, 40), samples = Draw(1, 5), fresh = Draw(1, 30);
    const auto group = scheduler_.AddGroup(prompt, samples, fresh);
    if (!group.ok()) {
      EXPECT_EQ(group.status().code(), absl::StatusCode::kResourceExhausted);
      return;
    }
    Record& record = records_[*group];
    record.prompt = prompt;
    for (int i = 0; i < samples; ++i) record.limits.push_back(static_cast<size_t>(Draw(1, fresh)));
    record.tokens.resize(record.limits.size());
  }

  void Step() {
    const StepPlan plan = scheduler_.Plan();
    for (const PageCopy& copy : plan.copies) {
      for (int i = 0; i < options_.page_tokens; ++i) Slot(copy.to, i) = Slot(copy.from, i);
    }
    int tokens = 0;
    for (const PlannedChunk& chunk : plan.chunks) {
      tokens += chunk.count;
      ASSERT_GT(chunk.count, 0);
      for (int i = 0; i < chunk.count; ++i) Slot(chunk, chunk.position + i) = Token(chunk, chunk.position + i);
    }
    EXPECT_LE(tokens, options_.max_batch_tokens);
    EXPECT_LE(scheduler_.running(), options_.max_batch_sequences);
    for (const PlannedChunk& chunk : plan.chunks) {
      for (int i = 0; i < chunk.position + chunk.count; ++i) {
        ASSERT_EQ(Slot(chunk, i), Token(chunk, i))
            << "group " << chunk.group << " sample " << chunk.sample << " token " << i;
      }
      if (chunk.samples_next) Sampled(chunk);
    }
  }

  bool idle() const { return scheduler_.idle(); }
  Scheduler& scheduler() { return scheduler_; }
  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  void CancelOne() {
    if (records_.empty()) return;
    scheduler_.Cancel(records_.begin()->first);
    records_.erase(records_.begin());
  }
  size_t unfinished() const { return records_.size(); }

 private:
  using Content = std::array<int64_t, 4>;  // group, sample (-1: prompt), position, token
  struct Record {
    int prompt = 0;
    std::vector<size_t> limits;                // tokens at the end, by sample
    std::vector<std::vector<int64_t>> tokens;  // each token ever is another one
  };
  Content& Slot(int32_t page, int i) { return slots_[static_cast<size_t>(int64_t{page} * options_.page_tokens + i)]; }
  Content& Slot(const PlannedChunk& chunk, int position) {
    return Slot(chunk.pages[position / options_.page_tokens], position % options_.page_tokens);
  }
  Content Token(const PlannedChunk& chunk, int position) {
    const Record& record = records_.at(chunk.group);
    if (position < record.prompt) return {chunk.group, -1, position, 0};
    const auto& tokens = record.tokens[static_cast<size_t>(chunk.sample)];
    return {chunk.group, chunk.sample, position, tokens[static_cast<size_t>(position - record.prompt)]};
  }
  void Sampled(const PlannedChunk& chunk) {
    Record& record = records_.at(chunk.group);
    const size_t begin = chunk.sample == kPromptSample ? 0 : static_cast<size_t>(chunk.sample);
    const size_t end = chunk.sample == kPromptSample ? record.limits.size() : begin + 1;
    for (size_t i = begin; i < end; ++i) {
      std::vector<int64_t>& tokens = record.tokens[i];
      const size_t before = tokens.size();
      size_t kept = before;
      tokens.push_back(next_token_++);
      if (Draw(0, 7) == 0) {  // a control takes some away and puts others in their place
        tokens.resize(static_cast<size_t>(Draw(0, static_cast<int>(tokens.size()))));
        kept = std::min(kept, tokens.size());
        for (int n = Draw(1, 5); n > 0 && tokens.size() < record.limits[i]; --n) tokens.push_back(next_token_++);
      }
      if (tokens.size() < record.limits[i]) {
        scheduler_.Replace(chunk.group, static_cast<int32_t>(i), static_cast<int>(before - kept),
                           static_cast<int>(tokens.size() - kept));
      } else {
        scheduler_.Finish(chunk.group, static_cast<int32_t>(i));
      }
    }
    bool done = true;
    for (size_t i = 0; i < record.limits.size(); ++i) done &= record.tokens[i].size() == record.limits[i];
    if (done) records_.erase(chunk.group);
  }

  const Scheduler::Options options_;
  Scheduler scheduler_;
  std::mt19937 random_;
  std::vector<Content> slots_;
  std::map<int64_t, Record> records_;
  int64_t next_token_ = 1;
};

TEST(SchedulerTest, EveryTokenSeesItsOwnPrefixWhateverHappens) {
  int64_t preemptions = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
    const int sequences = draw(1, 12);
    CacheModel model({.page_tokens = draw(1, 8),
                      .page_count = draw(8, 60),
                      .max_batch_sequences = sequences,
                      .max_batch_tokens = sequences + draw(0, 20)},
                     seed);
    for (int i = 0; i < 12; ++i) model.Add();
    int steps = 0;
    while (!model.idle()) {
      ASSERT_LT(++steps, 20000) << "seed " << seed << ": no progress";
      ASSERT_NO_FATAL_FAILURE(model.Step()) << "seed " << seed;
      if (model.Draw(0, 9) == 0 && steps < 100) model.Add();
      if (model.Draw(0, 49) == 0) model.CancelOne();
      if (model.Draw(0, 29) == 0) {
        std::vector<int32_t> pages;
        ASSERT_TRUE(model.scheduler().TakePages(model.Draw(1, model.scheduler().options().page_count), &pages));
        model.scheduler().GiveBack(pages);
      }
    }
    EXPECT_EQ(model.unfinished(), 0u) << "seed " << seed;
    EXPECT_EQ(model.scheduler().pages_used(), 0) << "seed " << seed << ": pages leaked";
    EXPECT_EQ(model.scheduler().running(), 0);
    preemptions += model.scheduler().preemptions();
  }
  EXPECT_GT(preemptions, 100);
}

TEST(SchedulerTest, ValidateNamesTheOption) {
  const auto message = [](const Scheduler::Options& options) {
    return std::string(Scheduler::Validate(options).message());
  };
  EXPECT_THAT(message({.page_tokens = 0}), testing::HasSubstr("page_tokens"));
  EXPECT_THAT(message({.page_count = 0}), testing::HasSubstr("page_count"));
  EXPECT_THAT(message({.page_count = 1, .max_batch_sequences = 0}), testing::HasSubstr("max_batch_sequences"));
  EXPECT_THAT(message({.page_count = 1, .max_batch_sequences = 9, .max_batch_tokens = 8}),
              testing::HasSubstr("max_batch_tokens"));
}

}  // namespace
}  // namespace hone::engine
