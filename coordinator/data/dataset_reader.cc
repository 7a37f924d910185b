#include "coordinator/data/dataset_reader.h"

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

absl::StatusOr<v1::PromptRecord> ParseRow(std::string_view line, const v1::ColumnSpec& columns, int64_t number) {
  HONE_ASSIGN_OR_RETURN(const Json object, ParseJsonRow(line));
  const auto prompt = object.find(columns.prompt());
  if (prompt == object.end()) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    const std::string near = NearestName(columns.prompt(), keys);
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

}  // namespace

absl::StatusOr<PromptSource> ReadPromptSource(const v1::SourceSpec& spec, const std::string& path,
                                              std::string* sha256) {
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
    auto row = ParseRow(line, spec.columns(), number);
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
  LoadedPrompts loaded;
  for (const std::string& name : names) {
    const auto dataset = spec.datasets().find(name);
    if (dataset == spec.datasets().end()) return absl::InvalidArgumentError("datasets." + name + ": missing");
    auto set = std::make_shared<PromptSet>();
    for (const v1::SourceSpec& source : dataset->second.sources()) {
      const std::string path =
          source.path().starts_with('/') ? source.path() : JoinPath(working_directory, source.path());
      auto rows = ReadPromptSource(source, path, &loaded.source_sha256[source.path()]);
      if (!rows.ok()) return Annotate(rows.status(), "datasets." + name);
      set->sources.push_back(*std::move(rows));
    }
    if (set->sources.empty()) return absl::InvalidArgumentError("datasets." + name + ".sources: missing");
    MakeIdsUnique(set.get());
    loaded.sets[name] = std::move(set);
  }
  return loaded;
}

}  // namespace hone::coordinator
