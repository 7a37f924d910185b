// `hone data make small-world`: the small world as ordinary files.
//
//   DIR/model/                a model folder without weights
//   DIR/pretrain.jsonl        {"prompt", "completion"} or {"text"}: the messy mixture
//   DIR/train.jsonl           {"id", "prompt", "answer", "language"}: problems for reinforcement learning
//   DIR/test.jsonl            the same form: held-out problems, disjoint from all of the above
//   DIR/README.md             what the files are
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace hone::corpus {

struct SmallWorldOptions {
  uint64_t seed = 0;
  // 600 steps of 80 sequences see each row once.
  int64_t pretrain_rows = 48'000;
  // Distinct problems.
  int64_t train_rows = 8'000;
  int64_t test_rows = 1'000;
};

// Writes the files (each of them atomically) into `directory`, which is made if absent. The same options give the same
// bytes on every machine. INVALID_ARGUMENT: more distinct problems asked for than `kMaxSmallWorldProblems`;
// ALREADY_EXISTS: as WriteDataFolder; otherwise errors of the disk.
absl::Status WriteSmallWorld(const SmallWorldOptions& options, const std::string& directory);

// A limit well below the number of problems that exist (9,000 of two steps alone, an eighth of them held out).
inline constexpr int64_t kMaxSmallWorldProblems = 100'000;

}  // namespace hone::corpus
