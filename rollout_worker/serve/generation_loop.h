// An engine on a thread of its own, for callers on any number of threads.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.h"
#include "rollout_worker/engine/engine.h"

namespace hone::serve {

// More of one sample.
struct SampleUpdate {
  int sample = 0;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<uint8_t> forced;            // as in engine::SampledCompletion
  std::vector<engine::TokenLogProb> top;  // top_logprobs of the request for each token
  bool finished = false;
  engine::FinishReason finish = engine::FinishReason::kLength;  // where it is finished
};

// Thread-safe.
class GenerationLoop {
 public:
  struct Options {
    int max_requests = 1024;  // in work or waiting; what comes beyond is refused
  };
  struct Stats {
    engine::Engine::Stats engine;
    int requests = 0;  // in work or waiting
    int64_t admitted = 0, refused = 0, cancelled = 0, finished = 0;
  };

  // One request, on the side of the caller who waits for it. Its end cancels what is not finished.
  class Call {
   public:
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    // What came since the last time; empty where nothing did within `timeout`.
    std::vector<SampleUpdate> Wait(std::chrono::milliseconds timeout);
    // True once nothing more comes: all samples are finished and have been handed out, or the loop was stopped.
    bool done() const;
    // The loop was stopped before the samples were finished.
    bool cut_off() const;

   private:
    friend class GenerationLoop;
    struct Shared;
    explicit Call(std::shared_ptr<Shared> shared);
    std::shared_ptr<Shared> shared_;
  };

  // `engine` must outlive the loop, which alone calls it from now on.
  GenerationLoop(engine::Engine* engine, const Options& options);
  ~GenerationLoop();

  // RESOURCE_EXHAUSTED: too many requests; OUT_OF_RANGE: the cache could never hold it; UNAVAILABLE: draining; else as
  // Engine::SubmitGroup.
  absl::StatusOr<std::unique_ptr<Call>> Submit(engine::GroupRequest request);
  // As Engine::Score, between two steps.
  absl::StatusOr<engine::TokenScores> Score(const std::vector<int32_t>& prompt, const std::vector<int32_t>& tokens,
                                            float temperature, int top_logprobs);
  // From now on all is refused; returns once nothing is in work, or after `timeout` (then false).
  bool Drain(std::chrono::milliseconds timeout);
  // Cuts off what is in work and refuses all from now on. Idempotent; the destructor does it too.
  void Stop();
  Stats stats() const;

 private:
  void Run();
  // Has `work` done by the loop between two steps and waits for it.
  absl::Status Do(std::function<absl::Status()> work);
  void RunWaiting();
  void CancelLeft();
  void HandOut(const std::vector<engine::GroupResult>& finished);

  engine::Engine* const engine_;
  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<std::function<void()>> waiting_;
  std::map<int64_t, std::shared_ptr<Call::Shared>> calls_;  // by handle; of the loop's thread alone
  Stats stats_;
  int in_work_ = 0;  // the size of calls_
  bool draining_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace hone::serve
