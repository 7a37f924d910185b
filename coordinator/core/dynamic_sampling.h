// Dynamic sampling (DAPO, arXiv:2503.14476, section 3.2): groups whose samples all have the same value are replaced by
// groups of other prompts, in waves. Pure functions of the stage's spec and the step's recorded groups, so that a
// restart finds the same prompts and the same batch, and who came first leaves no trace.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "coordinator/core/run_state.h"

namespace hone::coordinator {

// True where the stage may replace groups.
bool ReplacesGroups(const v1::RlStage& rl);

// How many slots the step has, as far as `groups` tell: those of the first wave; with each wave that is recorded whole
// and left groups missing, as many as are missing more, up to max_waves.
int32_t SlotCount(const v1::RlStage& rl, const StepGroups& groups);

// The batch that the learner gets of a step all of whose slots are recorded.
struct BatchChoice {
  std::vector<int32_t> slots;  // rising; at most prompts_per_step. Where any group has a reward, some of them have
  int32_t waves = 1;
  bool failed = false;  // groups are missing, and `fallback: fail` asks for all
};
BatchChoice ChooseBatch(const v1::RlStage& rl, const StepGroups& groups);

}  // namespace hone::coordinator
