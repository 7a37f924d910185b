#include "coordinator/core/dynamic_sampling.h"

#include <algorithm>

namespace hone::coordinator {
namespace {

int32_t MaxWaves(const v1::RlStage& rl) {
  return rl.algorithm().has_dynamic_sampling() ? rl.algorithm().dynamic_sampling().max_waves() : 1;
}

// Whether two samples of the group differ in what the stage looks at.
bool Teaches(const v1::RlStage& rl, const GroupSummary& group) {
  if (group.dropped) return false;
  const v1::DynamicSamplingSpec& spec = rl.algorithm().dynamic_sampling();
  if (spec.component().empty()) return group.scored > 0 && group.reward_min != group.reward_max;
  for (const GroupSummary::Component& component : group.components) {
    if (component.name == spec.component()) return component.scored > 0 && component.min != component.max;
  }
  return false;
}

struct Waves {
  int32_t slots = 0;
  int32_t count = 1;
  std::vector<int32_t> teaching;  // of the waves that are recorded whole
};

Waves WavesOf(const v1::RlStage& rl, const StepGroups& groups) {
  Waves waves;
  waves.slots = rl.prompts_per_step();
  int32_t next = 0;
  while (true) {
    for (; next < waves.slots; ++next) {
      const auto group = groups.find(next);
      if (group == groups.end()) return waves;
      if (Teaches(rl, group->second.summary)) waves.teaching.push_back(next);
    }
    const int32_t missing = rl.prompts_per_step() - static_cast<int32_t>(waves.teaching.size());
    if (missing == 0 || waves.count >= MaxWaves(rl)) return waves;
    waves.slots += missing;
    ++waves.count;
  }
}

std::vector<int32_t> FirstSlots(int32_t count) {
  std::vector<int32_t> slots;
  for (int32_t slot = 0; slot < count; ++slot) slots.push_back(slot);
  return slots;
}

// The teaching groups and the first of the others, `count` together.
std::vector<int32_t> FillUp(std::vector<int32_t> teaching, int32_t count) {
  const std::vector<int32_t> chosen = teaching;
  for (int32_t slot = 0; static_cast<int32_t>(teaching.size()) < count; ++slot) {
    if (!std::binary_search(chosen.begin(), chosen.end(), slot)) teaching.push_back(slot);
  }
  std::sort(teaching.begin(), teaching.end());
  return teaching;
}

}  // namespace

int64_t ExtraSlots(const v1::RlStage& rl) { return int64_t{MaxWaves(rl) - 1} * rl.prompts_per_step(); }

int32_t SlotCount(const v1::RlStage& rl, const StepGroups& groups) {
  return MaxWaves(rl) == 1 ? rl.prompts_per_step() : WavesOf(rl, groups).slots;
}

BatchChoice ChooseBatch(const v1::RlStage& rl, const StepGroups& groups) {
  const int32_t wanted = rl.prompts_per_step();
  BatchChoice choice;
  if (MaxWaves(rl) == 1) {
    choice.slots = FirstSlots(wanted);
    return choice;
  }
  Waves waves = WavesOf(rl, groups);
  choice.waves = waves.count;
  choice.slots = std::move(waves.teaching);
  if (static_cast<int32_t>(choice.slots.size()) == wanted) return choice;
  switch (rl.algorithm().dynamic_sampling().fallback()) {
    case v1::DYNAMIC_SAMPLING_FALLBACK_FAIL:
      choice.failed = true;
      break;
    case v1::DYNAMIC_SAMPLING_FALLBACK_FILL:
      choice.slots = FillUp(std::move(choice.slots), wanted);
      break;
    default:
      if (choice.slots.empty()) choice.slots = FirstSlots(wanted);
      break;
  }
  return choice;
}

}  // namespace hone::coordinator
