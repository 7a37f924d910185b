#include "coordinator/data/dataset_reader.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/json_rows.h"
#include "base/sha256.h"
#include "base/status.h"
#include "base/strings.h"
#include "coordinator/core/stage_plan.h"

namespace hone::coordinator {
namespace {

using Json = nlohmann::json;

std::vector<std::string> KeysOf(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

absl::StatusOr<v1::PromptRecord> ParseRow(std::string_view line, const v1::ColumnSpec& columns, int64_t number,
                                          std::vector<std::string>* keys) {
  HONE_ASSIGN_OR_RETURN(const Json object, ParseJsonRow(line));
  if (keys != nullptr) *keys = KeysOf(object);
  const auto prompt = object.find(columns.prompt());
  if (prompt == object.end()) {
    const std::string near = NearestName(columns.prompt(), KeysOf(object));
    return absl::InvalidArgumentError("key '" + columns.prompt() + "': missing" +
                                      (near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
  if (!prompt->is_string() || prompt->get_ref<const std::string&>().empty()) {
    return absl::InvalidArgumentError("key '" + columns.prompt() + "': expected a non-empty string, got " +
                                      (prompt->is_string() ? "an empty one" : prompt->type_name()));
  }
  v1::PromptRecord row;
  row.set_prompt(prompt->get<std::string>());
  HONE_ASSIGN_OR_RETURN(*row.mutable_answer(), ScalarText(object, columns.answer()));
  HONE_ASSIGN_OR_RETURN(*row.mutable_language(), ScalarText(object, columns.language()));
  HONE_ASSIGN_OR_RETURN(*row.mutable_id(), RowId(object, columns.id(), number));
  if (const size_t bytes = row.ByteSizeLong(); bytes > kMaxRowBytes) {
    return absl::InvalidArgumentError("the row is too large: prompt, answer, language and id have " +
                                      std::to_string(bytes) + " bytes, expected at most " +
                                      std::to_string(kMaxRowBytes));
  }
  return row;
}

// Two sources may both number their rows; a file may repeat an id.
void MakeIdsUnique(PromptSet* set) {
  std::set<std::string> seen;
  for (size_t source = 0; source < set->sources.size(); ++source) {
    for (size_t row = 0; row < set->sources[source].rows.size(); ++row) {
      v1::PromptRecord& record = set->sources[source].rows[row];
      while (!seen.insert(record.id()).second) {
        record.set_id(record.id() + "@" + std::to_string(source) + ":" + std::to_string(row + 1));
      }
    }
  }
}

// The data sets whose answers a reward of weight other than 0 looks at.
std::set<std::string> SetsWithAnswers(const v1::RunSpec& spec) {
  const auto looks = [](const auto& rewards) {
    return std::any_of(rewards.begin(), rewards.end(), [](const v1::RewardSpec& reward) {
      return reward.has_accuracy() && (!reward.has_weight() || reward.weight() != 0);
    });
  };
  std::set<std::string> names;
  for (const v1::StageSpec& stage : spec.stages()) {
    if (stage.has_rl() && looks(stage.rl().rewards())) names.insert(stage.rl().dataset());
    const v1::EvaluationSpec* evaluation = EvaluationOf(stage);
    if (evaluation != nullptr && looks(evaluation->rewards())) names.insert(evaluation->dataset());
  }
  return names;
}

absl::Status CheckAnswers(const PromptSource& source, const v1::ColumnSpec& columns, const std::string& path,
                          const std::vector<std::string>& keys) {
  const auto has_answer = [](const v1::PromptRecord& row) { return !row.answer().empty(); };
  if (std::any_of(source.rows.begin(), source.rows.end(), has_answer)) return absl::OkStatus();
  const std::string near = NearestName(columns.answer(), keys);
  return absl::InvalidArgumentError(path + ": no row has the key '" + columns.answer() +
                                    "', the answer that the accuracy reward compares with" +
                                    (near.empty() ? "" : "; did you mean '" + near + "'?"));
}

}  // namespace

absl::StatusOr<PromptSource> ReadPromptSource(const v1::SourceSpec& spec, const std::string& path, std::string* sha256,
                                              std::vector<std::string>* keys) {
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  *sha256 = Sha256Hex(text);
  PromptSource source;
  source.weight = spec.has_weight() ? spec.weight() : 1;
  source.prompt_template = spec.template_();
  if (spec.has_system_prompt()) source.system_prompt = spec.system_prompt();
  source.prompt_suffix = spec.prompt_suffix();
  size_t begin = 0;
  for (int64_t number = 1; begin < text.size(); ++number) {
    if (spec.max_rows() > 0 && static_cast<int64_t>(source.rows.size()) == spec.max_rows()) break;
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto row = ParseRow(line, spec.columns(), number, source.rows.empty() ? keys : nullptr);
    if (!row.ok()) return Annotate(row.status(), path + ":" + std::to_string(number));
    source.rows.push_back(*std::move(row));
  }
  if (source.rows.empty()) return absl::InvalidArgumentError(path + ": expected at least one row, got none");
  if (source.rows.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(path + ": more than 2^31 rows");
  }
  return source;
}

absl::StatusOr<LoadedPrompts> LoadPrompts(const v1::RunSpec& spec, const std::string& working_directory) {
  std::set<std::string> names;
  for (const v1::StageSpec& stage : spec.stages()) {
    ForEachPromptSet(stage, [&](const std::string& name) { names.insert(name); });
  }
  const std::set<std::string> with_answers = SetsWithAnswers(spec);
  LoadedPrompts loaded;
  for (const std::string& name : names) {
    const auto dataset = spec.datasets().find(name);
    if (dataset == spec.datasets().end()) return absl::InvalidArgumentError("datasets." + name + ": missing");
    auto set = std::make_shared<PromptSet>();
    for (const v1::SourceSpec& source : dataset->second.sources()) {
      const std::string path =
          source.path().starts_with('/') ? source.path() : JoinPath(working_directory, source.path());
      std::vector<std::string> keys;
      auto rows = ReadPromptSource(source, path, &loaded.source_sha256[source.path()], &keys);
      absl::Status status = rows.status();
      if (rows.ok() && with_answers.contains(name)) status = CheckAnswers(*rows, source.columns(), path, keys);
      if (!status.ok()) return Annotate(status, "datasets." + name);
      set->sources.push_back(*std::move(rows));
    }
    if (set->sources.empty()) return absl::InvalidArgumentError("datasets." + name + ".sources: missing");
    MakeIdsUnique(set.get());
    loaded.sets[name] = std::move(set);
  }
  return loaded;
}

}  // namespace hone::coordinator
