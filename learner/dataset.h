// Supervised data: JSON Lines files, read, checked and tokenized once, when a stage begins.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/ops.h"
#include "learner/packing.h"
#include "learner/sample_order.h"
#include "model/tokenizer/tokenizer.h"
#include "weight_sync/weight_channel.h"

namespace hone::v1 {
class DatasetSpec;
class RunSpec;
class SftStage;
class StageSpec;
}  // namespace hone::v1

namespace hone::learner {

struct SupervisedRow {
  std::vector<int32_t> tokens;
  int32_t loss_begin = 1;  // the loss is on tokens [loss_begin, end); >= 1: the first token is predicted from nothing
};

struct SupervisedSource {
  std::string path;
  std::string sha256;  // of the whole file
  double weight = 1;
  std::vector<SupervisedRow> rows;
  int64_t dropped = 0;    // too long (OVERLONG_POLICY_DROP)
  int64_t truncated = 0;  // too long (OVERLONG_POLICY_TRUNCATE_LEFT)
};

struct SupervisedData {
  std::vector<SupervisedSource> sources;
  int64_t row_count() const;
  std::vector<SampleOrder::Source> order_sources() const;
};

// What rows are made with.
struct RowContext {
  const kernels::KernelContext* kernels = nullptr;  // its threads share the work
  const model::Tokenizer* tokenizer = nullptr;
  std::string tokenizer_config_json;  // for the chat template, as is the next; empty where the model has none
  std::string chat_template_jinja;
  int32_t eos_id = -1;        // -1: the model has none
  int64_t vocab_size = 0;     // of the model
  int64_t max_positions = 0;  // of the model; 0 = no limit
};

// A row with the prompt column is prompt + completion, loss on the completion; one without it, but with the text
// column, is text, loss on all of it. Both begin as a rollout's prompt does (model/tokenizer/prompt_frame.h): with the
// tokenizer's prefix, which is never trained on, unless a chat template wrote the prompt. The end-of-sequence token is
// appended (stage.append_eos) unless it is there already. NOT_FOUND: no such file. INVALID_ARGUMENT, with file and
// line: not UTF-8, not a JSON object, a column missing or not a string, no token to train on, a token id that the
// model's vocabulary lacks, too long under OVERLONG_POLICY_FAIL; with the file: no rows, or none short enough.
absl::StatusOr<SupervisedData> LoadSupervisedData(const v1::DatasetSpec& dataset, const v1::SftStage& stage,
                                                  const RowContext& context);

// For a stage with data or an evaluation: that the model's tokenizer can be read, and that its chat template is known
// where a data set asks for one (the error names it). What only the rollout workers notice reaches the run late.
absl::Status CheckModelText(const v1::RunSpec& spec, const v1::StageSpec& stage, const ModelFiles& files);

TrainingSequence MakeSequence(const SupervisedRow& row);

}  // namespace hone::learner
