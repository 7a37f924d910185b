// What one reward component says of one completion.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace hone::reward {

// A step of the completion, as a component that judges steps sees it.
struct StepValue {
  size_t end = 0;  // byte behind its last one
  double value = 0;
};

struct ComponentScore {
  bool scored = true;  // false: no verdict could be reached; `value` means nothing then
  double value = 0;
  std::string reason;            // for people, one short sentence
  std::vector<StepValue> steps;  // by rising end; empty for components that judge the whole
};

inline ComponentScore Scored(double value, std::string reason) { return {true, value, std::move(reason), {}}; }
inline ComponentScore Unscorable(std::string reason) { return {false, 0, std::move(reason), {}}; }

}  // namespace hone::reward
