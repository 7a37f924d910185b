#include "learner/algorithms/custom.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace hone::learner {

void AddAllPieces(CustomPieces* pieces);  // made by the build from the files of custom/

namespace {

template <typename Map>
std::string NamesOf(const Map& map) {
  std::string names;
  for (const auto& [name, value] : map) absl::StrAppend(&names, names.empty() ? "" : ", ", name);
  return names.empty() ? "none" : names;
}

// The function of the piece `name`, with `given` over its defaults.
template <typename Piece>
absl::StatusOr<std::pair<decltype(Piece::function), Parameters>> Find(const std::map<std::string, Piece>& pieces,
                                                                      const std::string& path, const std::string& name,
                                                                      const Parameters& given) {
  const auto piece = pieces.find(name);
  if (piece == pieces.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ".name: '", name, "' is not built in; there are: ", NamesOf(pieces)));
  }
  Parameters parameters = piece->second.defaults;
  for (const auto& [key, value] : given) {
    const auto known = parameters.find(key);
    if (known == parameters.end()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ".parameters.", key, ": '", name,
                                                     "' has no such parameter; it has: ", NamesOf(parameters)));
    }
    known->second = value;
  }
  if (piece->second.check != nullptr) {
    if (const std::string wrong = piece->second.check(parameters); !wrong.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ".parameters: ", wrong));
    }
  }
  return std::pair(piece->second.function, std::move(parameters));
}

}  // namespace

const CustomPieces& BuiltInPieces() {
  static const CustomPieces* const pieces = [] {
    auto* all = new CustomPieces;
    AddAllPieces(all);
    return all;
  }();
  return *pieces;
}

absl::StatusOr<decltype(AdvantageOptions::custom)> BindAdvantage(const std::string& path, const std::string& name,
                                                                 const Parameters& parameters) {
  HONE_ASSIGN_OR_RETURN(const auto piece, Find(BuiltInPieces().advantages, path, name, parameters));
  return [piece](std::span<const double> rewards) { return piece.first(rewards, piece.second); };
}

absl::StatusOr<decltype(PolicyLossOptions::custom)> BindLoss(const std::string& path, const std::string& name,
                                                             const Parameters& parameters) {
  HONE_ASSIGN_OR_RETURN(const auto piece, Find(BuiltInPieces().losses, path, name, parameters));
  return [piece](const PolicyToken& token) { return piece.first(token, piece.second); };
}

}  // namespace hone::learner
