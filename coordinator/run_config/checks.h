// The checks that ResolveRunSpec is made of. Private to run_config.
//
// A field is named by its path, as in the YAML reader's errors. Every check returns INVALID_ARGUMENT
// "<path>: expected <what>, got <value>".
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "coordinator/run_config/scalars.h"
#include "coordinator/run_config/yaml_fields.h"
#include "hone/v1/run.pb.h"

namespace hone::internal {

inline absl::Status FieldError(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", ToAbsl(what)));
}

inline absl::Status CheckAtLeast(const std::string& path, int64_t value, int64_t low) {
  if (value >= low) return absl::OkStatus();
  return FieldError(path, absl::StrCat("expected at least ", low, ", got ", value));
}

inline absl::Status CheckAtMost(const std::string& path, int64_t value, int64_t high) {
  if (value <= high) return absl::OkStatus();
  return FieldError(path, absl::StrCat("expected at most ", high, ", got ", value));
}

// A range of doubles; NaN and infinities lie in none.
struct Range {
  double low;
  double high;
  bool low_open = false;  // low itself is not allowed
  bool high_open = false;
};
absl::Status CheckRange(const std::string& path, double value, const Range& range);

// [a-z0-9_-]+ up to 63 characters.
absl::Status CheckName(const std::string& path, const std::string& name);
// Non-empty.
absl::Status CheckText(const std::string& path, const std::string& text);

// Of SamplingSpec.max_new_tokens.
inline constexpr int32_t kDefaultMaxNewTokens = 256;

// What the parts of a run need to know of the whole.
struct ResolveContext {
  const v1::RunSpec* spec = nullptr;
  // Rewards of an evaluation that gives none: unset where no rl stage exists.
  const google::protobuf::RepeatedPtrField<v1::RewardSpec>* default_rewards = nullptr;
};

absl::Status CheckDataset(const ResolveContext& context, const std::string& path, const std::string& name, bool given);

enum class RewardUse { kTraining, kEvaluation };
// Names, weights and each kind's own fields; for training at least one weight other than 0. `max_new_tokens` is that of
// the completions which are rewarded.
absl::Status ResolveRewards(const std::string& path, RewardUse use, int32_t max_new_tokens,
                            google::protobuf::RepeatedPtrField<v1::RewardSpec>* rewards);

// The stage's algorithm: the preset's values and defaults, ranges, and what cannot go together. Its rewards and its
// mode are resolved before.
absl::Status ResolveAlgorithm(const std::string& path, v1::RlStage* rl);

// The stage's kind: everything but its name and origin.
absl::Status ResolveStageKind(const ResolveContext& context, const std::string& path, v1::StageSpec* stage);

}  // namespace hone::internal
