// From a run as written to a run as carried out: every default filled in, every value and reference checked.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/run_config/schema_words.h"  // what callers ask of a stage
#include "coordinator/run_config/yaml_writer.h"   // ToYaml, for those who print a resolved run
#include "hone/v1/run.pb.h"

namespace hone {

// `spec` with every default of run.proto written out, so that nobody downstream needs to know one. INVALID_ARGUMENT
// names the field's path (`stages[1].rl.group_size: expected at least 1, got 0`) where a value is out of range, a
// required field is missing or a reference (a data set, `from`) names nothing. Pure: reads no file; idempotent.
//
// Fields that stay unset where they were unset, because no value can be known here or their absence is the meaning:
//   - model: where no stage needs it; stages[].from: where the stage starts from `model` or from a checkpoint;
//   - budget and its max_time: no limit;
//   - max_tokens and max_prompt_tokens: the model's context decides (read as 0);
//   - sources[].system_prompt: the chat template's own default; format.answer_pattern: any non-empty answer;
//   - evaluate (periodic): no evaluation inside the stage; steps or epochs: the one that was not given.
// `evaluation.rewards`, where empty, become those of the stage itself (rl), else of the nearest rl stage before it,
// else of the nearest after it.
absl::StatusOr<v1::RunSpec> ResolveRunSpec(const v1::RunSpec& spec);

// SHA-256, 64 hexadecimal digits, of ToYaml(spec): equal for equal specs, whatever file they came from.
std::string CanonicalSpecHash(const v1::RunSpec& spec);

}  // namespace hone
