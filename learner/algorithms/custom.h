// Advantages and losses of one's own. Each is one file in custom/ with a function and the line that names it:
//
//   HONE_CUSTOM_PIECES(my_file) { pieces->losses["my_loss"] = {MyLoss, {{"tau", 1.0}}}; }
//
// The build takes every file of that folder in; its name (without .cc) stands in the parentheses. A run file asks for a
// piece by name, and may set its parameters: `algorithm: {custom_loss: {name: my_loss, parameters: {tau: 2}}}`.
// docs/algorithms.md walks through an example. Functions must be pure: a step may be computed again.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "learner/algorithms/advantage.h"
#include "learner/algorithms/policy_loss.h"

namespace hone::learner {

using Parameters = std::map<std::string, double>;

// What is wrong with the values of parameters, "" where nothing is. Null: any will do.
using ParameterCheck = std::string (*)(const Parameters& parameters);

// From the scored rewards of one group, at least one, to as many advantages.
struct CustomAdvantage {
  std::vector<double> (*function)(std::span<const double> rewards, const Parameters& parameters) = nullptr;
  Parameters defaults;  // every parameter that there is
  ParameterCheck check = nullptr;
};

// The loss of one token, and its derivative with respect to the log-prob; `ratio` is of ratio.h and moves with it.
struct CustomLoss {
  TokenPolicyLoss (*function)(const PolicyToken& token, const Parameters& parameters) = nullptr;
  Parameters defaults;
  ParameterCheck check = nullptr;
};

struct CustomPieces {
  std::map<std::string, CustomAdvantage> advantages;
  std::map<std::string, CustomLoss> losses;
};

// All that are built in. Thread-safe.
const CustomPieces& BuiltInPieces();

// The piece with its parameters bound. INVALID_ARGUMENT, naming the field below `path` and what there is: no such
// piece, no such parameter, or values that the piece refuses.
absl::StatusOr<decltype(AdvantageOptions::custom)> BindAdvantage(const std::string& path, const std::string& name,
                                                                 const Parameters& parameters);
absl::StatusOr<decltype(PolicyLossOptions::custom)> BindLoss(const std::string& path, const std::string& name,
                                                             const Parameters& parameters);

#define HONE_CUSTOM_PIECES(file) void AddPieces_##file(::hone::learner::CustomPieces* pieces)

}  // namespace hone::learner
