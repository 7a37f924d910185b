#include "coordinator/run_config/overrides.h"

#include <google/protobuf/descriptor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/strings.h"
#include "coordinator/run_config/scalars.h"
#include "coordinator/run_config/yaml_fields.h"
#include "coordinator/run_config/yaml_tree.h"

namespace hone {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Splits at dots; `stages[1]` counts as `stages.1`.
std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '.' || c == '[') {
      parts.emplace_back();
    } else if (c != ']') {
      parts.back().push_back(c);
    }
  }
  return parts;
}

// Walks down a message by the path's parts. `where_` is the path walked so far, in the form of the reader's errors.
class Cursor {
 public:
  Cursor(Message* root, std::string source) : message_(root), source_(std::move(source)) {}

  absl::Status Error(std::string_view what) const {
    return internal::YamlError(source_, 0, 0,
                               where_.empty() ? std::string(what) : absl::StrCat(where_, ": ", ToAbsl(what)));
  }

  absl::Status Apply(const std::vector<std::string>& parts, const internal::YamlNode& value) {
    for (size_t i = 0; i < parts.size(); ++i) {
      where_ = internal::JoinField(where_, parts[i]);
      const absl::StatusOr<const FieldDescriptor*> found = internal::FindField(message_->GetDescriptor(), parts[i]);
      if (!found.ok()) return Error(std::string(found.status().message()));
      const FieldDescriptor* field = *found;
      if (absl::Status status = internal::CheckOneof(*message_, field); !status.ok()) {
        return Error(std::string(status.message()));
      }
      const bool last = i + 1 == parts.size();
      if (last) return internal::FillField(value, source_, where_, message_, field);
      if (field->is_map()) {
        ++i;
        where_ = internal::JoinField(where_, parts[i]);
        if (i + 1 == parts.size()) return SetEntry(field, parts[i], value);
        HONE_RETURN_IF_ERROR(EnterEntry(field, parts[i]));
      } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || internal::IsDuration(field)) {
        return Error(absl::StrCat("holds a ", field->is_repeated() ? "list" : "value", ": nothing lies below it"));
      } else if (field->is_repeated()) {
        ++i;
        HONE_RETURN_IF_ERROR(EnterElement(field, parts[i]));
        if (i + 1 == parts.size()) {
          message_->Clear();
          return internal::FillMessage(value, source_, where_, message_);
        }
      } else {
        message_ = message_->GetReflection()->MutableMessage(message_, field);
      }
    }
    return Error("no path given");
  }

 private:
  // The element's name; where none is given, what is its default (a reward's kind).
  static std::string NameOf(const Message& element, const FieldDescriptor* name) {
    const Reflection& r = *element.GetReflection();
    if (r.HasField(element, name)) return r.GetString(element, name);
    const google::protobuf::OneofDescriptor* kind = element.GetDescriptor()->FindOneofByName("kind");
    const FieldDescriptor* set = kind == nullptr ? nullptr : r.GetOneofFieldDescriptor(element, kind);
    return set == nullptr ? "" : set->name();
  }

  absl::Status EnterElement(const FieldDescriptor* field, const std::string& part) {
    const Reflection& r = *message_->GetReflection();
    const int size = r.FieldSize(*message_, field);
    internal::IntegerText index;
    std::vector<std::string> names;
    const FieldDescriptor* name = field->message_type()->FindFieldByName("name");
    if (name != nullptr && name->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !name->is_repeated()) {
      for (int i = 0; i < size; ++i) {
        Message* element = r.MutableRepeatedMessage(message_, field, i);
        const std::string element_name = NameOf(*element, name);
        if (element_name == part) {
          where_ = absl::StrCat(where_, "[", i, "]");
          message_ = element;
          return absl::OkStatus();
        }
        names.push_back(element_name);
      }
    }
    if (internal::ParseInteger(part, &index) && !index.negative) {
      if (index.overflow || index.magnitude >= static_cast<uint64_t>(size)) {
        return Error(absl::StrCat("has ", size, " elements, numbered from 0; there is no ", part));
      }
      where_ = absl::StrCat(where_, "[", part, "]");
      message_ = r.MutableRepeatedMessage(message_, field, static_cast<int>(index.magnitude));
      return absl::OkStatus();
    }
    return Error(absl::StrCat("has no element named '", part, "'; ", internal::Suggest(part, names)));
  }

  // The entry message of `key`, or null.
  Message* FindEntry(const FieldDescriptor* field, const std::string& key, std::vector<std::string>* known) {
    const Reflection& r = *message_->GetReflection();
    for (int i = 0; i < r.FieldSize(*message_, field); ++i) {
      Message* entry = r.MutableRepeatedMessage(message_, field, i);
      const std::string name = entry->GetReflection()->GetString(*entry, field->message_type()->map_key());
      if (name == key) return entry;
      known->push_back(name);
    }
    return nullptr;
  }

  absl::Status EnterEntry(const FieldDescriptor* field, const std::string& key) {
    if (field->message_type()->map_key()->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      return Error("only maps with text keys can be reached into");
    }
    std::vector<std::string> known;
    Message* entry = FindEntry(field, key, &known);
    if (entry == nullptr) return Error(absl::StrCat("no such entry; ", internal::Suggest(key, known)));
    const FieldDescriptor* value = field->message_type()->map_value();
    if (value->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return Error("holds a value: nothing lies below it");
    message_ = entry->GetReflection()->MutableMessage(entry, value);
    return absl::OkStatus();
  }

  absl::Status SetEntry(const FieldDescriptor* field, const std::string& key, const internal::YamlNode& value) {
    if (field->message_type()->map_key()->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      return Error("only maps with text keys can be reached into");
    }
    std::vector<std::string> known;
    Message* entry = FindEntry(field, key, &known);
    if (entry == nullptr) {
      entry = message_->GetReflection()->AddMessage(message_, field);
      entry->GetReflection()->SetString(entry, field->message_type()->map_key(), key);
    }
    return internal::FillField(value, source_, where_, entry, field->message_type()->map_value());
  }

  Message* message_;
  std::string source_;
  std::string where_;
};

}  // namespace

absl::Status ApplyOverrideTo(Message* message, std::string_view assignment) {
  const std::string source = absl::StrCat("--set ", ToAbsl(assignment));
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return internal::YamlError(source, 0, 0, "expected <path>=<value>, for example stages.rl.rl.group_size=8");
  }
  if (!IsValidUtf8(assignment)) return absl::InvalidArgumentError("--set: not valid UTF-8");
  internal::YamlNode value;  // an empty text is YAML's null
  if (const std::string_view text = assignment.substr(equals + 1); !text.empty()) {
    HONE_ASSIGN_OR_RETURN(value, internal::ParseYamlTree(text, source));
  }
  std::unique_ptr<Message> copy(message->New());
  copy->CopyFrom(*message);
  HONE_RETURN_IF_ERROR(Cursor(copy.get(), source).Apply(SplitPath(assignment.substr(0, equals)), value));
  message->GetReflection()->Swap(message, copy.get());
  return absl::OkStatus();
}

absl::Status ApplyOverride(v1::RunSpec* spec, std::string_view assignment) { return ApplyOverrideTo(spec, assignment); }

}  // namespace hone
