#include "learner/dataset.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/files.h"
#include "base/json_rows.h"
#include "base/logging.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "hone/v1/run.pb.h"
#include "model/tokenizer/prompt_frame.h"

namespace hone::learner {
namespace {

// One JSON Lines file while it is read.
struct SourceReader {
  const v1::SourceSpec& spec;
  const v1::SftStage& stage;
  const RowContext& context;
  model::PromptSurroundings surroundings;
  int64_t max_tokens = 0;
};

struct RowOutcome {
  absl::Status status;
  std::optional<SupervisedRow> row;  // unset: dropped, too long
  bool truncated = false;
};

absl::StatusOr<std::string> StringColumn(const nlohmann::json& object, const std::string& column) {
  const auto it = object.find(column);
  if (it == object.end()) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    return absl::InvalidArgumentError(
        absl::StrCat("expected a key '", column, "', got the keys [", absl::StrJoin(keys, ", "), "]"));
  }
  if (!it->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("'", column, "': expected a string, got ", it->type_name()));
  }
  return it->get<std::string>();
}

// Token ids and where the loss begins, before limits.
absl::StatusOr<SupervisedRow> Tokenize(const SourceReader& reader, const nlohmann::json& object) {
  const v1::ColumnSpec& columns = reader.spec.columns();
  const std::string prompt_column = columns.has_prompt() ? columns.prompt() : "prompt";
  const std::string text_column = columns.has_text() ? columns.text() : "text";
  const model::Tokenizer& tokenizer = *reader.context.tokenizer;
  SupervisedRow row;
  if (!object.contains(prompt_column) && object.contains(text_column)) {
    HONE_ASSIGN_OR_RETURN(const std::string text, StringColumn(object, text_column));
    row.tokens = model::EncodeFromStart(tokenizer, text);
    row.loss_begin = static_cast<int32_t>(model::PrefixLength(tokenizer, row.tokens));
    if (static_cast<size_t>(row.loss_begin) == row.tokens.size()) {
      return absl::InvalidArgumentError("there is no token to train on (empty text)");
    }
  } else {
    HONE_ASSIGN_OR_RETURN(const std::string prompt, StringColumn(object, prompt_column));
    HONE_ASSIGN_OR_RETURN(const std::string completion,
                          StringColumn(object, columns.has_completion() ? columns.completion() : "completion"));
    HONE_ASSIGN_OR_RETURN(model::FramedPrompt framed, model::FramePrompt(tokenizer, prompt, reader.surroundings));
    row.tokens = std::move(framed.tokens);
    row.loss_begin = static_cast<int32_t>(row.tokens.size());
    const std::vector<int32_t> ids = tokenizer.Encode(completion);
    row.tokens.insert(row.tokens.end(), ids.begin(), ids.end());
  }
  const bool append = !reader.stage.has_append_eos() || reader.stage.append_eos();
  const bool ended =
      static_cast<size_t>(row.loss_begin) < row.tokens.size() && row.tokens.back() == reader.context.eos_id;
  if (append && !ended) row.tokens.push_back(reader.context.eos_id);
  row.loss_begin = std::max<int32_t>(1, row.loss_begin);
  for (const int32_t id : row.tokens) {
    if (id < 0 || id >= reader.context.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("token id ", id, " is outside of the model's vocabulary of ",
                                                     reader.context.vocab_size, " (tokenizer and model do not fit)"));
    }
  }
  return row;
}

RowOutcome ReadRow(const SourceReader& reader, std::string_view line) {
  RowOutcome outcome;
  auto object = ParseJsonRow(line);
  if (!object.ok()) return {.status = object.status()};
  auto row = Tokenize(reader, *object);
  if (!row.ok()) return {.status = row.status()};
  const int64_t length = static_cast<int64_t>(row->tokens.size());
  if (length > reader.max_tokens) {
    if (reader.stage.overlong() == v1::OVERLONG_POLICY_FAIL) {
      outcome.status = absl::InvalidArgumentError(
          absl::StrCat("the sequence has ", length, " tokens, more than the limit of ", reader.max_tokens));
      return outcome;
    }
    if (reader.stage.overlong() != v1::OVERLONG_POLICY_TRUNCATE_LEFT) return outcome;
    const model::Tokenizer& tokenizer = *reader.context.tokenizer;
    const size_t cut = model::CutOldest(tokenizer, static_cast<size_t>(reader.max_tokens), &row->tokens);
    // What was put before the text is never trained on, whatever is cut behind it.
    const auto prefix = static_cast<int32_t>(model::PrefixLength(tokenizer, row->tokens));
    row->loss_begin = std::max({1, prefix, row->loss_begin - static_cast<int32_t>(cut)});
    outcome.truncated = true;
  }
  if (static_cast<size_t>(row->loss_begin) >= row->tokens.size()) {
    outcome.status = absl::InvalidArgumentError("there is no token to train on (empty completion)");
    return outcome;
  }
  outcome.row = *std::move(row);
  return outcome;
}

struct Line {
  int64_t number;
  std::string_view text;
};

// Lines that hold more than white space.
std::vector<Line> SplitLines(std::string_view contents, int64_t max_rows) {
  std::vector<Line> lines;
  int64_t number = 0;
  while (!contents.empty() && (max_rows == 0 || static_cast<int64_t>(lines.size()) < max_rows)) {
    const size_t end = contents.find('\n');
    const std::string_view line = contents.substr(0, end);
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines.push_back({number, line});
    contents.remove_prefix(end == std::string_view::npos ? contents.size() : end + 1);
  }
  return lines;
}

absl::StatusOr<SupervisedSource> ReadSource(const SourceReader& reader) {
  const std::string& path = reader.spec.path();
  HONE_ASSIGN_OR_RETURN(const std::string contents, ReadFile(path));
  const std::vector<Line> lines = SplitLines(contents, reader.spec.max_rows());
  if (lines.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": expected JSON Lines, got no rows"));
  std::vector<RowOutcome> outcomes(lines.size());
  reader.context.kernels->pool().ParallelFor(static_cast<int64_t>(lines.size()), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) outcomes[i] = ReadRow(reader, lines[i].text);
  });
  SupervisedSource source;
  source.path = path;
  source.sha256 = Sha256Hex(contents);
  source.weight = reader.spec.has_weight() ? reader.spec.weight() : 1.0;
  int64_t tokens = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!outcomes[i].status.ok()) return Annotate(outcomes[i].status, absl::StrCat(path, ":", lines[i].number));
    if (!outcomes[i].row.has_value()) {
      ++source.dropped;
      continue;
    }
    source.truncated += outcomes[i].truncated;
    tokens += static_cast<int64_t>(outcomes[i].row->tokens.size());
    source.rows.push_back(*std::move(outcomes[i].row));
  }
  if (source.rows.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": all ", source.dropped, " rows exceed the limit of ", reader.max_tokens, " tokens"));
  }
  HONE_INFO << path << ": " << source.rows.size() << " rows, " << tokens << " tokens (" << source.dropped
            << " dropped as too long, " << source.truncated << " truncated)";
  return source;
}

}  // namespace

int64_t SupervisedData::row_count() const {
  int64_t count = 0;
  for (const SupervisedSource& source : sources) count += static_cast<int64_t>(source.rows.size());
  return count;
}

std::vector<SampleOrder::Source> SupervisedData::order_sources() const {
  std::vector<SampleOrder::Source> order;
  for (const SupervisedSource& source : sources)
    order.push_back({static_cast<int64_t>(source.rows.size()), source.weight});
  return order;
}

absl::StatusOr<SupervisedData> LoadSupervisedData(const v1::DatasetSpec& dataset, const v1::SftStage& stage,
                                                  const RowContext& context) {
  if ((!stage.has_append_eos() || stage.append_eos()) && context.eos_id < 0) {
    return absl::InvalidArgumentError(
        "append_eos: the model folder names no end-of-sequence token (config.json eos_token_id, tokenizer_config.json "
        "eos_token)");
  }
  const int64_t positions = context.max_positions > 0 ? context.max_positions : std::numeric_limits<int32_t>::max();
  SupervisedData data;
  double total_weight = 0;
  for (const v1::SourceSpec& spec : dataset.sources()) {
    SourceReader reader{.spec = spec, .stage = stage, .context = context};
    reader.max_tokens = stage.max_tokens() > 0 ? std::min<int64_t>(stage.max_tokens(), positions) : positions;
    absl::StatusOr<model::ChatTemplate> chat = absl::NotFoundError("not asked for");
    if (spec.template_() == v1::PROMPT_TEMPLATE_CHAT) {
      reader.surroundings.frame = model::PromptFrame::kChat;
      chat = model::ChatTemplate::FromFiles(context.tokenizer_config_json, context.chat_template_jinja);
      if (!chat.ok()) return Annotate(chat.status(), "template: chat");
      reader.surroundings.chat = &*chat;
    } else if (spec.template_() == v1::PROMPT_TEMPLATE_R1_ZERO) {
      reader.surroundings.frame = model::PromptFrame::kR1Zero;
    }
    reader.surroundings.suffix = spec.prompt_suffix();
    if (spec.has_system_prompt()) reader.surroundings.system_prompt = spec.system_prompt();
    HONE_ASSIGN_OR_RETURN(SupervisedSource source, ReadSource(reader));
    total_weight += source.weight;
    data.sources.push_back(std::move(source));
  }
  if (!(total_weight > 0)) return absl::InvalidArgumentError("the data set has no source with weight above 0");
  return data;
}

absl::Status CheckModelText(const v1::RunSpec& spec, const v1::StageSpec& stage, const ModelFiles& files) {
  std::vector<std::string> names;
  const auto add_training = [&names](const auto& training) {
    names.push_back(training.dataset());
    if (training.has_evaluate()) names.push_back(training.evaluate().evaluation().dataset());
  };
  if (stage.has_pretrain()) add_training(stage.pretrain());
  if (stage.has_sft()) add_training(stage.sft());
  if (stage.has_rl()) add_training(stage.rl());
  if (stage.has_evaluate()) names.push_back(stage.evaluate().evaluation().dataset());
  const auto contents = [&files](const char* name) {
    const auto it = files.find(name);
    return it == files.end() ? std::string_view() : std::string_view(it->second);
  };
  if (!names.empty()) {
    const auto tokenizer = model::Tokenizer::FromJson(contents("tokenizer.json"), contents("tokenizer_config.json"));
    if (!tokenizer.ok()) return Annotate(tokenizer.status(), "the model's tokenizer.json");
  }
  for (const std::string& name : names) {
    const auto dataset = spec.datasets().find(name);
    if (dataset == spec.datasets().end()) continue;
    for (const v1::SourceSpec& source : dataset->second.sources()) {
      if (source.template_() != v1::PROMPT_TEMPLATE_CHAT) continue;
      const auto chat =
          model::ChatTemplate::FromFiles(contents("tokenizer_config.json"), contents("chat_template.jinja"));
      if (!chat.ok()) return Annotate(chat.status(), absl::StrCat("data set '", name, "': template: chat"));
    }
  }
  return absl::OkStatus();
}

TrainingSequence MakeSequence(const SupervisedRow& row) {
  TrainingSequence sequence;
  sequence.tokens = row.tokens;
  sequence.group = 0;  // rows with the same system prompt share it
  for (int32_t p = row.loss_begin; p < static_cast<int32_t>(row.tokens.size()); ++p) sequence.targets.push_back(p);
  return sequence;
}

}  // namespace hone::learner
