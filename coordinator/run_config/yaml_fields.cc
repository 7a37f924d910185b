#include "coordinator/run_config/yaml_fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>

#include <cstdint>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/strings.h"
#include "coordinator/run_config/scalars.h"

namespace hone::internal {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Where a value stands: for the errors.
struct Place {
  std::string_view source;
  const std::string& path;

  absl::Status Error(const YamlNode& node, std::string_view what) const {
    const std::string text = path.empty() ? std::string(what) : absl::StrCat(path, ": ", ToAbsl(what));
    return YamlError(source, node.line, node.column, text);
  }
  absl::Status Expected(const YamlNode& node, std::string_view expected) const {
    return Error(node, absl::StrCat("expected ", ToAbsl(expected), ", got ", DescribeYaml(node)));
  }
};

// Sets (or, for a repeated field, adds) a scalar through reflection.
template <typename T, typename SetFn, typename AddFn>
void Put(const Reflection& r, Message* m, const FieldDescriptor* f, T value, SetFn set, AddFn add) {
  if (f->is_repeated()) {
    (r.*add)(m, f, value);
  } else {
    (r.*set)(m, f, value);
  }
}

absl::Status PutInteger(const YamlNode& node, const Place& place, Message* message, const FieldDescriptor* field) {
  const Reflection& r = *message->GetReflection();
  int64_t low = INT64_MIN;
  uint64_t high = INT64_MAX;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      low = INT32_MIN;
      high = INT32_MAX;
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      low = 0;
      high = UINT32_MAX;
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      low = 0;
      high = UINT64_MAX;
      break;
    default:
      break;
  }
  IntegerText parsed;
  if (node.kind != YamlKind::kScalar || !node.plain || !ParseInteger(node.text, &parsed)) {
    return place.Expected(node, "an integer");
  }
  if (parsed.overflow || (parsed.negative ? static_cast<int64_t>(parsed.magnitude - 1) > -(low + 1) || low == 0
                                          : parsed.magnitude > high)) {
    return place.Expected(node, absl::StrCat("an integer from ", low, " to ", high));
  }
  // Two's complement: exact for the lowest value too.
  const uint64_t bits = parsed.negative ? ~parsed.magnitude + 1 : parsed.magnitude;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      Put(r, message, field, static_cast<int32_t>(bits), &Reflection::SetInt32, &Reflection::AddInt32);
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      Put(r, message, field, static_cast<uint32_t>(bits), &Reflection::SetUInt32, &Reflection::AddUInt32);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      Put(r, message, field, static_cast<int64_t>(bits), &Reflection::SetInt64, &Reflection::AddInt64);
      break;
    default:
      Put(r, message, field, bits, &Reflection::SetUInt64, &Reflection::AddUInt64);
      break;
  }
  return absl::OkStatus();
}

absl::Status PutEnum(const YamlNode& node, const Place& place, Message* message, const FieldDescriptor* field) {
  const EnumDescriptor* type = field->enum_type();
  std::vector<std::string> known;
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() == 0) continue;  // UNSPECIFIED is what an unset field means
    known.push_back(EnumName(type->value(i)));
    if (node.kind == YamlKind::kScalar && node.text == known.back()) {
      Put(*message->GetReflection(), message, field, type->value(i)->number(), &Reflection::SetEnumValue,
          &Reflection::AddEnumValue);
      return absl::OkStatus();
    }
  }
  const std::string expected = absl::StrCat("one of ", absl::StrJoin(known, ", "));
  if (node.kind != YamlKind::kScalar) return place.Expected(node, expected);
  const std::string near = NearestName(node.text, known);
  return place.Error(node, absl::StrCat("expected ", expected, ", got ", DescribeYaml(node),
                                        near.empty() ? "" : absl::StrCat("; did you mean '", near, "'?")));
}

absl::Status PutDuration(const YamlNode& node, const Place& place, Message* duration) {
  int64_t seconds = 0;
  int32_t nanos = 0;
  if (node.kind != YamlKind::kScalar || !node.plain || !ParseDuration(node.text, &seconds, &nanos)) {
    return place.Expected(node, "a duration such as 30s, 5m, 1h30m or 250ms");
  }
  auto* target = static_cast<google::protobuf::Duration*>(duration);
  target->set_seconds(seconds);
  target->set_nanos(nanos);
  return absl::OkStatus();
}

// One value: the field itself, or one element where it is repeated.
absl::Status PutValue(const YamlNode& node, std::string_view source, const std::string& path, Message* message,
                      const FieldDescriptor* field) {
  const Place place{source, path};
  const Reflection& r = *message->GetReflection();
  const bool scalar = node.kind == YamlKind::kScalar;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return PutInteger(node, place, message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT: {
      double value = 0;
      if (!scalar || !node.plain || !ParseReal(node.text, &value)) return place.Expected(node, "a number");
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
        Put(r, message, field, value, &Reflection::SetDouble, &Reflection::AddDouble);
      } else {
        Put(r, message, field, static_cast<float>(value), &Reflection::SetFloat, &Reflection::AddFloat);
      }
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      if (!scalar || !node.plain || (node.text != "true" && node.text != "false")) {
        return place.Expected(node, "true or false");
      }
      Put(r, message, field, node.text == "true", &Reflection::SetBool, &Reflection::AddBool);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_ENUM:
      return PutEnum(node, place, message, field);
    case FieldDescriptor::CPPTYPE_STRING:
      if (field->type() == FieldDescriptor::TYPE_BYTES) return place.Error(node, "bytes cannot be written in YAML");
      if (!scalar) return place.Expected(node, node.kind == YamlKind::kNull ? "text (\"\" where empty)" : "text");
      if (field->is_repeated()) {
        r.AddString(message, field, node.text);
      } else {
        r.SetString(message, field, node.text);
      }
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      Message* child = field->is_repeated() ? r.AddMessage(message, field) : r.MutableMessage(message, field);
      return IsDuration(field) ? PutDuration(node, place, child) : FillMessage(node, source, path, child);
    }
  }
  return place.Error(node, "a type that run files do not know");
}

// The key of one map entry, set in the entry message.
absl::Status FillMap(const YamlNode& node, std::string_view source, const std::string& path, Message* message,
                     const FieldDescriptor* field) {
  if (node.kind != YamlKind::kMap) return Place{source, path}.Expected(node, "a mapping");
  std::set<std::string> seen;
  for (const auto& [key, value] : node.fields) {
    if (key.kind != YamlKind::kScalar) return Place{source, path}.Expected(key, "a name as key");
    if (!seen.insert(key.text).second) {
      return Place{source, path}.Error(key, absl::StrCat("the key '", key.text, "' stands here twice"));
    }
    const std::string entry_path = JoinField(path, key.text);
    Message* entry = message->GetReflection()->AddMessage(message, field);
    HONE_RETURN_IF_ERROR(PutValue(key, source, entry_path, entry, field->message_type()->map_key()));
    HONE_RETURN_IF_ERROR(PutValue(value, source, entry_path, entry, field->message_type()->map_value()));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsDuration(const FieldDescriptor* field) {
  return field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field->message_type() == google::protobuf::Duration::descriptor();
}

std::string EnumName(const google::protobuf::EnumValueDescriptor* value) {
  constexpr std::string_view kZero = "UNSPECIFIED";
  std::string name = value->name();
  const google::protobuf::EnumValueDescriptor* zero = value->type()->FindValueByNumber(0);
  if (zero != nullptr && zero->name().size() > kZero.size() && zero->name().ends_with(kZero)) {
    const std::string prefix = zero->name().substr(0, zero->name().size() - kZero.size());
    if (name.starts_with(prefix)) name = name.substr(prefix.size());
  }
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

std::string JoinField(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : absl::StrCat(path, ".", ToAbsl(name));
}

std::string Suggest(std::string_view word, const std::vector<std::string>& known) {
  const std::string near = NearestName(word, known);
  if (!near.empty()) return absl::StrCat("did you mean '", near, "'?");
  if (known.empty()) return "there are none";
  return absl::StrCat("expected one of: ", absl::StrJoin(known, ", "));
}

absl::StatusOr<const FieldDescriptor*> FindField(const Descriptor* type, std::string_view name) {
  if (const FieldDescriptor* field = type->FindFieldByName(std::string(name))) return field;
  std::vector<std::string> known;
  known.reserve(static_cast<size_t>(type->field_count()));
  for (int i = 0; i < type->field_count(); ++i) known.push_back(type->field(i)->name());
  if (known.empty()) return absl::InvalidArgumentError("unknown field; this takes no fields: write {}");
  return absl::InvalidArgumentError(absl::StrCat("unknown field; ", Suggest(name, known)));
}

absl::Status CheckOneof(const Message& message, const FieldDescriptor* field) {
  const google::protobuf::OneofDescriptor* oneof = field->real_containing_oneof();
  if (oneof == nullptr) return absl::OkStatus();
  const FieldDescriptor* set = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
  if (set == nullptr || set == field) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("only one ", oneof->name(), " may be given, and '", set->name(), "' is already"));
}

absl::Status FillField(const YamlNode& node, std::string_view source, const std::string& path, Message* message,
                       const FieldDescriptor* field) {
  if (absl::Status status = CheckOneof(*message, field); !status.ok()) {
    return Place{source, path}.Error(node, std::string(status.message()));
  }
  message->GetReflection()->ClearField(message, field);
  if (field->is_map()) return FillMap(node, source, path, message, field);
  if (!field->is_repeated()) return PutValue(node, source, path, message, field);
  if (node.kind != YamlKind::kSequence) return Place{source, path}.Expected(node, "a list");
  for (size_t i = 0; i < node.items.size(); ++i) {
    HONE_RETURN_IF_ERROR(PutValue(node.items[i], source, absl::StrCat(path, "[", i, "]"), message, field));
  }
  return absl::OkStatus();
}

absl::Status FillMessage(const YamlNode& node, std::string_view source, const std::string& path, Message* message) {
  if (node.kind != YamlKind::kMap) {
    return Place{source, path}.Expected(
        node, node.kind == YamlKind::kNull ? "a mapping ({} for one without fields)" : "a mapping");
  }
  std::set<std::string> seen;
  for (const auto& [key, value] : node.fields) {
    if (key.kind != YamlKind::kScalar) return Place{source, path}.Expected(key, "a field's name");
    const std::string field_path = JoinField(path, key.text);
    const absl::StatusOr<const FieldDescriptor*> field = FindField(message->GetDescriptor(), key.text);
    if (!field.ok()) return Place{source, field_path}.Error(key, std::string(field.status().message()));
    if (!seen.insert(key.text).second) return Place{source, field_path}.Error(key, "stands here twice");
    if (absl::Status status = CheckOneof(*message, *field); !status.ok()) {
      return Place{source, field_path}.Error(key, std::string(status.message()));
    }
    HONE_RETURN_IF_ERROR(FillField(value, source, field_path, message, *field));
  }
  return absl::OkStatus();
}

}  // namespace hone::internal
