// Prompts in memory and the order in which a stage sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hone/v1/trajectory.pb.h"

namespace hone::coordinator {

// Of a row's prompt, answer, language and id together: a task around it fits a message.
inline constexpr size_t kMaxRowBytes = 16u << 20;

// One file of prompts, as read. Ids are unique inside a PromptSet.
struct PromptSource {
  std::vector<v1::PromptRecord> rows;
  double weight = 1;
  v1::PromptTemplate prompt_template = v1::PROMPT_TEMPLATE_RAW;
  std::optional<std::string> system_prompt;
  std::string prompt_suffix;
};

// A data set: its sources in the run file's order, each with at least one row. Immutable once shared.
struct PromptSet {
  std::vector<PromptSource> sources;
};

// By data set name.
using PromptSets = std::map<std::string, std::shared_ptr<const PromptSet>>;

// One prompt of a PromptSet. `visit` counts how often its row was seen before.
struct PromptPick {
  int32_t source = 0;
  int32_t row = 0;
  int64_t visit = 0;
  bool operator==(const PromptPick&) const = default;
};

// The infinite sequence of prompts of a training stage, a function of (seed, stage, sources) alone:
//   - draw n comes from the source whose share lags furthest behind its weight (ties: the first);
//   - a source is walked in an order drawn anew for each of its epochs.
// So the prompts of step k need not be stored: they are computed again after a restart. Not thread-safe (it caches its
// place).
class PromptCursor {
 public:
  // `prompts` must hold at least one source with a weight above 0.
  PromptCursor(std::shared_ptr<const PromptSet> prompts, uint64_t seed, std::string stage);

  // Draws [first, first + count). Walking forward costs O(count); going back starts again from draw 0.
  std::vector<PromptPick> Range(int64_t first, int32_t count);

 private:
  struct SourceState {
    int64_t drawn = 0;
    int64_t order_epoch = -1;
    std::vector<int32_t> order;  // of order_epoch
  };
  void Rewind();
  PromptPick Draw();

  std::shared_ptr<const PromptSet> prompts_;
  uint64_t seed_;
  std::string stage_;
  double total_weight_ = 0;
  int64_t next_ = 0;
  std::vector<SourceState> states_;
};

// The first `max_problems` (0: all) prompts of an evaluation: sources in order, rows in file order, each with visit
// `visit`.
std::vector<PromptPick> EvaluationOrder(const PromptSet& prompts, int64_t max_problems, int64_t visit);

// A permutation of [0, n): Fisher-Yates with the counter-based generator SplitMix64, keyed by a hash of the arguments.
std::vector<int32_t> ShuffledOrder(int32_t n, uint64_t seed, const std::string& stage, int32_t source, int64_t epoch);

// First 8 bytes, little-endian, of SHA-256("<run>\n<stage>\n<prompt id>\n<visit>\n<retry>"). Evaluation groups use the
// stage name
// "<stage>/eval" and the step as visit, so that no evaluation shares its samples with training or with another
// evaluation.
uint64_t GroupId(const std::string& run, const std::string& stage, const std::string& prompt_id, int64_t visit,
                 int64_t retry);

// The same of "<stage>\n<prompt id>\n<visit>\n<retry>": the group's random numbers, which know nothing of the run's
// name.
uint64_t SampleStream(const std::string& stage, const std::string& prompt_id, int64_t visit, int64_t retry);

}  // namespace hone::coordinator
