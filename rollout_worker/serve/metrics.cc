#include "rollout_worker/serve/metrics.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace hone::serve {
namespace {

constexpr double kBounds[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250};

void WriteOne(const char* name, const char* type, const char* help, double value, std::string* out) {
  absl::StrAppend(out, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n", name, " ", value, "\n");
}

}  // namespace

void ServerMetrics::Histogram::Observe(double seconds) {
  counts.resize(std::size(kBounds) + 1);
  ++counts[static_cast<size_t>(std::lower_bound(std::begin(kBounds), std::end(kBounds), seconds) -
                               std::begin(kBounds))];
  sum += seconds;
}

void ServerMetrics::Histogram::Write(const char* name, const char* help, std::string* out) const {
  absl::StrAppend(out, "# HELP ", name, " ", help, "\n# TYPE ", name, " histogram\n");
  int64_t total = 0;
  for (size_t i = 0; i <= std::size(kBounds); ++i) {
    if (!counts.empty()) total += counts[i];
    const std::string bound = i < std::size(kBounds) ? absl::StrCat(kBounds[i]) : "+Inf";
    absl::StrAppend(out, name, "_bucket{le=\"", bound, "\"} ", total, "\n");
  }
  absl::StrAppend(out, name, "_sum ", sum, "\n", name, "_count ", total, "\n");
}

void ServerMetrics::CountResponse(int http_status) {
  std::lock_guard lock(mutex_);
  ++responses_[http_status];
}

void ServerMetrics::ObserveFirstToken(double seconds) {
  std::lock_guard lock(mutex_);
  first_token_.Observe(seconds);
}

void ServerMetrics::ObserveRequest(double seconds) {
  std::lock_guard lock(mutex_);
  request_.Observe(seconds);
}

std::string ServerMetrics::Text(const GenerationLoop::Stats& stats) const {
  std::string out;
  const engine::Engine::Stats& engine = stats.engine;
  WriteOne("hone_num_requests", "gauge", "Requests in work or waiting.", stats.requests, &out);
  WriteOne("hone_num_sequences_running", "gauge", "Sequences in the batch.", engine.running_sequences, &out);
  WriteOne("hone_kv_cache_usage_ratio", "gauge", "Share of the KV pages in use.", engine.kv_use, &out);
  const auto counter = [&out](const char* name, const char* help, int64_t value) {
    absl::StrAppend(&out, "# HELP ", name, " ", help, "\n# TYPE ", name, " counter\n", name, " ", value, "\n");
  };
  counter("hone_prompt_tokens_total", "Prompt tokens computed, again after preemption too.", engine.prefill_tokens);
  counter("hone_generation_tokens_total", "Tokens sampled.", engine.sampled_tokens);
  counter("hone_engine_steps_total", "Passes through the model.", engine.steps);
  counter("hone_preemptions_total", "Sequences that gave up their KV pages.", engine.preemptions);
  counter("hone_requests_finished_total", "Requests that were answered whole.", stats.finished);
  counter("hone_requests_cancelled_total", "Requests whose client went away.", stats.cancelled);
  counter("hone_requests_refused_total", "Requests that the engine or the queue refused.", stats.refused);
  std::lock_guard lock(mutex_);
  absl::StrAppend(&out,
                  "# HELP hone_http_responses_total Responses by status.\n# TYPE hone_http_responses_total counter\n");
  for (const auto& [status, count] : responses_) {
    absl::StrAppend(&out, "hone_http_responses_total{code=\"", status, "\"} ", count, "\n");
  }
  first_token_.Write("hone_time_to_first_token_seconds", "From a request's arrival to its first token.", &out);
  request_.Write("hone_request_duration_seconds", "From a request's arrival to its end.", &out);
  return out;
}

}  // namespace hone::serve
