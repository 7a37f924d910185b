#include "coordinator/run_config/resolve.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "base/sha256.h"
#include "base/status.h"
#include "coordinator/run_config/checks.h"

namespace hone {
namespace internal {

absl::Status CheckRange(const std::string& path, double value, const Range& range) {
  const bool above = range.low_open ? value > range.low : value >= range.low;
  const bool below = range.high_open ? value < range.high : value <= range.high;
  if (above && below && std::isfinite(value)) return absl::OkStatus();
  std::string expected;
  if (std::isinf(range.high)) {
    expected = absl::StrCat("a finite number ", range.low_open ? "above " : "of at least ", FormatReal(range.low));
  } else {
    expected = absl::StrCat("a number ", range.low_open ? "above " : "from ", FormatReal(range.low),
                            range.high_open ? " and below " : " to ", FormatReal(range.high));
  }
  return FieldError(path, absl::StrCat("expected ", expected, ", got ",
                                       std::isfinite(value) ? FormatReal(value) : std::string("a non-finite number")));
}

absl::Status CheckName(const std::string& path, const std::string& name) {
  const bool good = !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (good) return absl::OkStatus();
  return FieldError(path, absl::StrCat("expected 1 to 63 characters of a-z, 0-9, '_' and '-', got '", name, "'"));
}

absl::Status CheckText(const std::string& path, const std::string& text) {
  if (text.empty()) return FieldError(path, "required, and may not be empty");
  if (text.find('\0') != std::string::npos) return FieldError(path, "may not hold a NUL character");
  return absl::OkStatus();
}

absl::Status CheckDataset(const ResolveContext& context, const std::string& path, const std::string& name, bool given) {
  std::vector<std::string> known;
  for (const auto& [key, value] : context.spec->datasets()) known.push_back(key);
  std::sort(known.begin(), known.end());
  if (!given) return FieldError(path, absl::StrCat("required; ", Suggest("", known)));
  if (context.spec->datasets().contains(name)) return absl::OkStatus();
  return FieldError(path, absl::StrCat("no data set is named '", name, "'; ", Suggest(name, known)));
}

namespace {

// A DNS-1123 label: it becomes part of folder, metric and (in a cluster) object names.
absl::Status CheckRunName(const v1::RunSpec& spec) {
  if (!spec.has_name()) return FieldError("name", "required");
  const std::string& name = spec.name();
  const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const bool good = !name.empty() && name.size() <= 63 && word(name.front()) && word(name.back()) &&
                    std::all_of(name.begin(), name.end(), [&](char c) { return word(c) || c == '-'; });
  if (good) return absl::OkStatus();
  return FieldError("name",
                    absl::StrCat("expected 1 to 63 characters of a-z, 0-9 and '-', neither beginning nor ending with "
                                 "'-', got '",
                                 name, "'"));
}

absl::Status ResolveColumns(const std::string& path, v1::ColumnSpec* columns) {
  const google::protobuf::Reflection& r = *columns->GetReflection();
  const google::protobuf::Descriptor& type = *columns->GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    // Each column's default is its field's name.
    if (!r.HasField(*columns, type.field(i))) r.SetString(columns, type.field(i), type.field(i)->name());
    HONE_RETURN_IF_ERROR(CheckText(JoinField(path, type.field(i)->name()), r.GetString(*columns, type.field(i))));
  }
  return absl::OkStatus();
}

absl::Status ResolveSource(const std::string& path, v1::SourceSpec* source) {
  HONE_RETURN_IF_ERROR(CheckText(path + ".path", source->path()));
  if (!source->has_weight()) source->set_weight(1);
  HONE_RETURN_IF_ERROR(CheckRange(path + ".weight", source->weight(), {0, HUGE_VAL, true}));
  HONE_RETURN_IF_ERROR(ResolveColumns(path + ".columns", source->mutable_columns()));
  if (!source->has_max_rows()) source->set_max_rows(0);
  HONE_RETURN_IF_ERROR(CheckAtLeast(path + ".max_rows", source->max_rows(), 0));
  if (!source->has_template_()) source->set_template_(v1::PROMPT_TEMPLATE_RAW);
  if (source->has_system_prompt() && source->template_() != v1::PROMPT_TEMPLATE_CHAT) {
    return FieldError(path + ".system_prompt",
                      absl::StrCat("only `template: chat` has a system message, the template is ",
                                   v1::PromptTemplate_Name(source->template_())));
  }
  if (!source->has_prompt_suffix()) source->set_prompt_suffix("");
  return absl::OkStatus();
}

absl::Status ResolveDatasets(v1::RunSpec* spec) {
  std::vector<std::string> names;
  for (const auto& [name, value] : spec->datasets()) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string path = absl::StrCat("datasets.", name);
    HONE_RETURN_IF_ERROR(CheckName(path, name));
    v1::DatasetSpec& dataset = (*spec->mutable_datasets())[name];
    if (dataset.sources().empty()) return FieldError(path + ".sources", "required: at least one");
    for (int i = 0; i < dataset.sources_size(); ++i) {
      HONE_RETURN_IF_ERROR(ResolveSource(absl::StrCat(path, ".sources[", i, "]"), dataset.mutable_sources(i)));
    }
  }
  return absl::OkStatus();
}

// Fills `from`; says whether the stage starts from the run's model.
absl::Status ResolveOrigin(const std::string& path, const v1::RunSpec& spec, int index, v1::StageSpec* stage,
                           bool* needs_model) {
  std::vector<std::string> earlier;
  for (int i = 0; i < index; ++i) {
    if (IsTrainingStage(spec.stages(i))) earlier.push_back(spec.stages(i).name());
  }
  *needs_model = false;
  if (stage->has_from_checkpoint()) {
    if (stage->has_from()) return FieldError(path + ".from", "give either `from` or `from_checkpoint`, not both");
    return CheckText(path + ".from_checkpoint", stage->from_checkpoint());
  }
  if (stage->has_from()) {
    if (std::find(earlier.begin(), earlier.end(), stage->from()) != earlier.end()) return absl::OkStatus();
    return FieldError(path + ".from", absl::StrCat("no earlier training stage is named '", stage->from(), "'; ",
                                                   Suggest(stage->from(), earlier)));
  }
  if (earlier.empty()) {
    *needs_model = true;
  } else {
    stage->set_from(earlier.back());
  }
  return absl::OkStatus();
}

// The rewards of the nearest rl stage before `index`, else of the nearest after it; null where there is none.
const google::protobuf::RepeatedPtrField<v1::RewardSpec>* NearestRewards(const v1::RunSpec& spec, int index) {
  for (int i = index; i >= 0; --i) {
    if (spec.stages(i).has_rl()) return &spec.stages(i).rl().rewards();
  }
  for (int i = index + 1; i < spec.stages_size(); ++i) {
    if (spec.stages(i).has_rl()) return &spec.stages(i).rl().rewards();
  }
  return nullptr;
}

absl::Status ResolveStages(v1::RunSpec* spec) {
  if (spec->stages().empty()) return FieldError("stages", "required: at least one stage");
  std::vector<std::string> names;
  for (int i = 0; i < spec->stages_size(); ++i) {
    const std::string path = absl::StrCat("stages[", i, "]");
    const v1::StageSpec& stage = spec->stages(i);
    if (!stage.has_name()) return FieldError(path + ".name", "required");
    HONE_RETURN_IF_ERROR(CheckName(path + ".name", stage.name()));
    if (std::find(names.begin(), names.end(), stage.name()) != names.end()) {
      return FieldError(path + ".name", absl::StrCat("an earlier stage is named '", stage.name(), "' too"));
    }
    names.push_back(stage.name());
    if (stage.kind_case() == v1::StageSpec::KIND_NOT_SET) {
      return FieldError(path, "the stage's kind is required: one of pretrain, sft, rl, evaluate, export");
    }
    // Rewards come first: evaluations of any stage may take them over.
    if (stage.has_rl()) {
      const v1::SamplingSpec& sampling = stage.rl().sampling();
      const int32_t max_new_tokens = sampling.has_max_new_tokens() ? sampling.max_new_tokens() : kDefaultMaxNewTokens;
      HONE_RETURN_IF_ERROR(ResolveRewards(path + ".rl.rewards", RewardUse::kTraining, max_new_tokens,
                                          spec->mutable_stages(i)->mutable_rl()->mutable_rewards()));
    }
  }
  for (int i = 0; i < spec->stages_size(); ++i) {
    const std::string path = absl::StrCat("stages[", i, "]");
    v1::StageSpec* stage = spec->mutable_stages(i);
    bool needs_model = false;
    HONE_RETURN_IF_ERROR(ResolveOrigin(path, *spec, i, stage, &needs_model));
    if (needs_model && !spec->has_model()) {
      return FieldError("model", absl::StrCat("required: stage '", stage->name(), "' starts from it"));
    }
    const ResolveContext context{spec, NearestRewards(*spec, i)};
    HONE_RETURN_IF_ERROR(ResolveStageKind(context, path, stage));
  }
  return absl::OkStatus();
}

// UNSPECIFIED is what an unset field means; set, it is a mistake that no default may hide.
absl::Status RefuseUnspecified(const std::string& path, const google::protobuf::Message& message) {
  const google::protobuf::Reflection& r = *message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  r.ListFields(message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    const std::string field_path = JoinField(path, field->name());
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_ENUM && !field->is_repeated()) {
      const int number = r.GetEnumValue(message, field);
      if (number == 0 || field->enum_type()->FindValueByNumber(number) == nullptr) {
        return FieldError(field_path,
                          absl::StrCat("expected a value of ", field->enum_type()->name(), ", got ", number));
      }
    } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_map()) {
        // Map entries hold no enums of their own; their messages are reached as the map's values.
        for (int i = 0; i < r.FieldSize(message, field); ++i) {
          const google::protobuf::Message& entry = r.GetRepeatedMessage(message, field, i);
          const google::protobuf::FieldDescriptor* value = field->message_type()->map_value();
          if (value->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
          const std::string key = entry.GetReflection()->GetString(entry, field->message_type()->map_key());
          HONE_RETURN_IF_ERROR(
              RefuseUnspecified(JoinField(field_path, key), entry.GetReflection()->GetMessage(entry, value)));
        }
      } else if (field->is_repeated()) {
        for (int i = 0; i < r.FieldSize(message, field); ++i) {
          HONE_RETURN_IF_ERROR(
              RefuseUnspecified(absl::StrCat(field_path, "[", i, "]"), r.GetRepeatedMessage(message, field, i)));
        }
      } else {
        HONE_RETURN_IF_ERROR(RefuseUnspecified(field_path, r.GetMessage(message, field)));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ResolveRest(v1::RunSpec* spec) {
  if (!spec->has_seed()) spec->set_seed(0);
  if (!spec->has_output_dir()) spec->set_output_dir(absl::StrCat("runs/", spec->name()));
  HONE_RETURN_IF_ERROR(CheckText("output_dir", spec->output_dir()));
  if (spec->has_model()) {
    HONE_RETURN_IF_ERROR(CheckText("model.path", spec->model().path()));
    if (!spec->model().has_random_init()) spec->mutable_model()->set_random_init(false);
  }
  if (!spec->numerics().has_dtype()) spec->mutable_numerics()->set_dtype(v1::DTYPE_FP32);
  if (!spec->numerics().has_micro_batch_invariant()) spec->mutable_numerics()->set_micro_batch_invariant(false);
  if (!spec->memory().has_recompute()) spec->mutable_memory()->set_recompute(v1::RECOMPUTE_NONE);
  if (spec->memory().has_micro_batch_tokens()) {
    HONE_RETURN_IF_ERROR(CheckAtLeast("memory.micro_batch_tokens", spec->memory().micro_batch_tokens(), 1));
  }
  if (spec->budget().has_max_time()) {
    const auto& time = spec->budget().max_time();
    if (time.seconds() < 0 || time.nanos() < 0 || (time.seconds() == 0 && time.nanos() == 0)) {
      return FieldError("budget.max_time",
                        absl::StrCat("expected more than no time, got ", FormatDuration(time.seconds(), time.nanos())));
    }
  }
  v1::CheckpointSpec* checkpoints = spec->mutable_checkpoints();
  if (!checkpoints->has_every_steps()) checkpoints->set_every_steps(20);
  HONE_RETURN_IF_ERROR(CheckAtLeast("checkpoints.every_steps", checkpoints->every_steps(), 1));
  if (!checkpoints->has_keep_last()) checkpoints->set_keep_last(2);
  if (!checkpoints->has_asynchronous()) checkpoints->set_asynchronous(false);
  // One at least: resuming needs it.
  return CheckAtLeast("checkpoints.keep_last", checkpoints->keep_last(), 1);
}

}  // namespace
}  // namespace internal

absl::StatusOr<v1::RunSpec> ResolveRunSpec(const v1::RunSpec& spec) {
  v1::RunSpec out = spec;
  HONE_RETURN_IF_ERROR(internal::RefuseUnspecified("", out));
  HONE_RETURN_IF_ERROR(internal::CheckRunName(out));
  HONE_RETURN_IF_ERROR(internal::ResolveRest(&out));
  HONE_RETURN_IF_ERROR(internal::ResolveDatasets(&out));
  HONE_RETURN_IF_ERROR(internal::ResolveStages(&out));
  return out;
}

std::string CanonicalSpecHash(const v1::RunSpec& spec) { return Sha256Hex(ToYaml(spec)); }

}  // namespace hone
