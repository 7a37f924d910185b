// Counters of a server in the text format that Prometheus reads.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "rollout_worker/serve/generation_loop.h"

namespace hone::serve {

// Thread-safe.
class ServerMetrics {
 public:
  void CountResponse(int http_status);
  void ObserveFirstToken(double seconds);
  void ObserveRequest(double seconds);
  // https://prometheus.io/docs/instrumenting/exposition_formats
  std::string Text(const GenerationLoop::Stats& stats) const;

 private:
  struct Histogram {
    std::vector<int64_t> counts;  // one for each bound, and for what is above all
    double sum = 0;
    void Observe(double seconds);
    void Write(const char* name, const char* help, std::string* out) const;
  };
  mutable std::mutex mutex_;
  std::map<int, int64_t> responses_;
  Histogram first_token_, request_;
};

}  // namespace hone::serve
