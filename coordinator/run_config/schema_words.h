// What values of the schema are called and mean: asked by resolver, core, reports and the command line.
#pragma once

#include <string>
#include <vector>

#include "hone/v1/control.pb.h"
#include "hone/v1/run.pb.h"

namespace hone {

// "pretrain", "sft", "rl", "evaluate" or "export": the stage's kind; "" where none is set.
std::string StageKindName(const v1::StageSpec& stage);

// True for pretrain, sft and rl.
bool IsTrainingStage(const v1::StageSpec& stage);

// Names of the data sets that the stage reads, its evaluations included.
std::vector<std::string> DatasetsOf(const v1::StageSpec& stage);

// "queued", "running", ...; "unknown" for a state of another version's schema.
std::string RunStateName(v1::RunState state);

// SUCCEEDED, FAILED or STOPPED: nothing happens any more unless the run is resumed.
bool IsFinal(v1::RunState state);

}  // namespace hone
