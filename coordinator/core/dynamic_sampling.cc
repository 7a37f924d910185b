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

// The teaching groups and, up to `count` together, the first of the others that have a reward at all.
std::vector<int32_t> FillUp(std::vector<int32_t> teaching, const StepGroups& groups, int32_t count) {
  const std::vector<int32_t> chosen = teaching;
  for (const auto& [slot, group] : groups) {
    if (static_cast<int32_t>(teaching.size()) == count) break;
    if (group.summary.scored > 0 && !std::binary_search(chosen.begin(), chosen.end(), slot)) teaching.push_back(slot);
  }
  std::sort(teaching.begin(), teaching.end());
  return teaching;
}

}  // namespace

bool ReplacesGroups(const v1::RlStage& rl) { return MaxWaves(rl) > 1; }

int32_t SlotCount(const v1::RlStage& rl, const StepGroups& groups) {
  return ReplacesGroups(rl) ? WavesOf(rl, groups).slots : rl.prompts_per_step();
}

BatchChoice ChooseBatch(const v1::RlStage& rl, const StepGroups& groups) {
  const int32_t wanted = rl.prompts_per_step();
  BatchChoice choice;
  if (!ReplacesGroups(rl)) {
    for (int32_t slot = 0; slot < wanted; ++slot) choice.slots.push_back(slot);
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
      choice.slots = FillUp(std::move(choice.slots), groups, wanted);
      break;
    default:
      if (choice.slots.empty()) choice.slots = FillUp({}, groups, wanted);
      break;
  }
  return choice;
}

}  // namespace hone::coordinator
