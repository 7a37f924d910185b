// What kind of stage a spec describes: asked by resolver, core, reports and the command line.
#pragma once

#include <string>

#include "hone/v1/run.pb.h"

namespace hone {

// "pretrain", "sft", "rl", "evaluate" or "export": the stage's kind; "" where none is set.
std::string StageKindName(const v1::StageSpec& stage);

// True for pretrain, sft and rl.
bool IsTrainingStage(const v1::StageSpec& stage);

}  // namespace hone
