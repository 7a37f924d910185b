#include "rollout_worker/serve/generation_loop.h"

#include <future>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone::serve {

using engine::GroupResult;
using engine::PartialCompletion;

struct GenerationLoop::Call::Shared {
  explicit Shared(int samples, int top) : sent(static_cast<size_t>(samples)), top_logprobs(top) {}
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<SampleUpdate> updates;  // not handed out yet
  bool finished = false;              // nothing more comes
  bool cut_off = false;
  std::atomic<bool> left{false};  // nobody waits any more
  // Of the loop's thread alone.
  struct Sent {
    size_t tokens = 0;
    bool finished = false;
  };
  std::vector<Sent> sent;  // by sample
  const int top_logprobs;

  // Puts what is new of a sample into `added`.
  void Take(int sample, const PartialCompletion& now, std::vector<SampleUpdate>* added) {
    Sent& before = sent[static_cast<size_t>(sample)];
    if (before.finished || (now.tokens.size() == before.tokens && !now.finished)) return;
    const size_t top = before.tokens * static_cast<size_t>(top_logprobs);
    const auto tokens = now.tokens.subspan(before.tokens);
    const auto logprobs = now.logprobs.subspan(before.tokens);
    const auto forced = now.forced.empty() ? now.forced : now.forced.subspan(before.tokens);
    const auto likely = now.top.subspan(top);
    added->push_back({.sample = sample,
                      .tokens = {tokens.begin(), tokens.end()},
                      .logprobs = {logprobs.begin(), logprobs.end()},
                      .forced = {forced.begin(), forced.end()},
                      .top = {likely.begin(), likely.end()},
                      .finished = now.finished,
                      .finish = now.finish});
    before = {now.tokens.size(), now.finished};
  }
  void Publish(std::vector<SampleUpdate> added, bool last) {
    if (added.empty() && !last) return;
    std::lock_guard lock(mutex);
    for (SampleUpdate& update : added) updates.push_back(std::move(update));
    finished |= last;
    changed.notify_all();
  }
};

GenerationLoop::Call::Call(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
GenerationLoop::Call::~Call() { shared_->left = true; }

std::vector<SampleUpdate> GenerationLoop::Call::Wait(std::chrono::milliseconds timeout) {
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait_for(lock, timeout, [&] { return !shared_->updates.empty() || shared_->finished; });
  return std::exchange(shared_->updates, {});
}

bool GenerationLoop::Call::done() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->finished && shared_->updates.empty();
}

bool GenerationLoop::Call::cut_off() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->cut_off;
}

GenerationLoop::GenerationLoop(engine::Engine* engine, const Options& options) : engine_(engine), options_(options) {
  thread_ = std::thread([this] { Run(); });
}

GenerationLoop::~GenerationLoop() { Stop(); }

void GenerationLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    draining_ = stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

absl::Status GenerationLoop::Do(std::function<absl::Status()> work) {
  auto done = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> answer = done->get_future();
  {
    std::lock_guard lock(mutex_);
    if (draining_) return absl::UnavailableError("the server is shutting down");
    waiting_.push_back([done, work = std::move(work)] { done->set_value(work()); });
  }
  wake_.notify_all();
  return answer.get();
}

absl::StatusOr<std::unique_ptr<GenerationLoop::Call>> GenerationLoop::Submit(engine::GroupRequest request) {
  HONE_RETURN_IF_ERROR(engine::CheckSettings(request));
  {
    std::lock_guard lock(mutex_);
    if (stats_.requests >= options_.max_requests) {
      ++stats_.refused;
      return absl::ResourceExhaustedError(
          absl::StrCat("too many requests: ", options_.max_requests, " are in work or waiting"));
    }
    ++stats_.requests;
  }
  auto shared = std::make_shared<Call::Shared>(request.samples, request.top_logprobs);
  const absl::Status status = Do([this, shared, request = std::move(request)]() mutable -> absl::Status {
    const absl::StatusOr<int64_t> handle = engine_->SubmitGroup(std::move(request));
    if (absl::IsResourceExhausted(handle.status())) return absl::OutOfRangeError(handle.status().message());
    HONE_RETURN_IF_ERROR(handle.status());
    calls_.emplace(*handle, shared);
    return absl::OkStatus();
  });
  std::lock_guard lock(mutex_);
  if (!status.ok()) {
    --stats_.requests;
    ++stats_.refused;
    return status;
  }
  ++stats_.admitted;
  return std::unique_ptr<Call>(new Call(std::move(shared)));
}

absl::StatusOr<engine::TokenScores> GenerationLoop::Score(const std::vector<int32_t>& prompt,
                                                          const std::vector<int32_t>& tokens, float temperature,
                                                          int top_logprobs) {
  engine::TokenScores scores;
  HONE_RETURN_IF_ERROR(Do([&]() -> absl::Status {
    HONE_ASSIGN_OR_RETURN(scores, engine_->Score(prompt, tokens, temperature, top_logprobs));
    return absl::OkStatus();
  }));
  return scores;
}

bool GenerationLoop::Drain(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  return idle_.wait_for(lock, timeout, [&] { return in_work_ == 0 && waiting_.empty(); });
}

GenerationLoop::Stats GenerationLoop::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void GenerationLoop::Run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      in_work_ = static_cast<int>(calls_.size());
      stats_.engine = engine_->stats();
      if (in_work_ == 0 && waiting_.empty()) idle_.notify_all();
      wake_.wait(lock, [&] { return stopping_ || !waiting_.empty() || !calls_.empty(); });
      if (stopping_) break;
    }
    RunWaiting();
    CancelLeft();
    if (!engine_->idle()) HandOut(engine_->Step());
  }
  RunWaiting();  // or their callers would wait for ever
  for (auto& [handle, shared] : calls_) {
    engine_->Cancel(handle);
    {
      std::lock_guard lock(shared->mutex);
      shared->cut_off = true;
    }
    shared->Publish({}, /*last=*/true);
  }
  calls_.clear();
}

void GenerationLoop::RunWaiting() {
  std::deque<std::function<void()>> work;
  {
    std::lock_guard lock(mutex_);
    work.swap(waiting_);
  }
  for (const auto& one : work) one();
}

void GenerationLoop::CancelLeft() {
  std::erase_if(calls_, [&](const auto& entry) {
    if (!entry.second->left) return false;
    engine_->Cancel(entry.first);
    std::lock_guard lock(mutex_);
    --stats_.requests;
    ++stats_.cancelled;
    return true;
  });
}

void GenerationLoop::HandOut(const std::vector<GroupResult>& finished) {
  for (const GroupResult& result : finished) {
    const auto it = calls_.find(result.handle);
    std::vector<SampleUpdate> added;
    for (size_t s = 0; s < result.samples.size(); ++s) {
      const engine::SampledCompletion& sample = result.samples[s];
      it->second->Take(static_cast<int>(s),
                       {.tokens = sample.tokens,
                        .logprobs = sample.logprobs,
                        .forced = sample.forced,
                        .top = sample.top,
                        .finished = true,
                        .finish = sample.finish},
                       &added);
    }
    {
      std::lock_guard lock(mutex_);
      --stats_.requests;
      ++stats_.finished;
    }
    it->second->Publish(std::move(added), /*last=*/true);
    calls_.erase(it);
  }
  for (auto& [handle, shared] : calls_) {
    std::vector<SampleUpdate> added;
    for (int s = 0; s < static_cast<int>(shared->sent.size()); ++s) {
      shared->Take(s, engine_->Partial(handle, s), &added);
    }
    shared->Publish(std::move(added), /*last=*/false);
  }
}

}  // namespace hone::serve
