// Whether a group that was handed in may be recorded: a pure function of the request and of what the task asked for.
#pragma once

#include <string>
#include <vector>

#include "hone/v1/coordinator.pb.h"

namespace hone::coordinator {

struct Refusal {
  enum class Kind {
    kNone,          // it may be recorded
    kOtherLineage,  // of another version or numerics key; an honest worker's late answer may be
    kMalformed,     // no worker may hand in such a group, nor one of this size
  };
  Kind kind = Kind::kNone;
  std::string reason;  // names the field
  std::string hint;    // what a user can do about it; "" where nothing is known
};

// `keys`: the numerics keys of which every trajectory must have one; empty = any will do.
Refusal CheckSubmission(const v1::SubmitGroupRequest& request, const v1::TaskContext& context,
                        const std::vector<std::string>& keys);

}  // namespace hone::coordinator
