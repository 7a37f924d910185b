// When a step or an evaluation has nothing to go by: no sample of it has a reward.
#pragma once

#include <string>
#include <vector>

#include "coordinator/core/aggregate.h"

namespace hone::coordinator {

// What became of the groups, with counts and the reason of most of them (of equals the first in the order given), as
// the end of a sentence; "" where a sample has a reward, whatever it is. A function of the groups in slot order, so
// that who came first leaves no trace.
std::string WhyUnrewarded(const std::vector<const GroupSummary*>& groups);

}  // namespace hone::coordinator
