// What one reward component says of one completion.
#pragma once

#include <string>
#include <utility>

namespace hone::reward {

struct ComponentScore {
  bool scored = true;  // false: no verdict could be reached; `value` means nothing then
  double value = 0;
  std::string reason;  // for people, one short sentence
};

inline ComponentScore Scored(double value, std::string reason) { return {true, value, std::move(reason)}; }
inline ComponentScore Unscorable(std::string reason) { return {false, 0, std::move(reason)}; }

}  // namespace hone::reward
