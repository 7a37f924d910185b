#include "coordinator/run_config/yaml_writer.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/utf8.h"
#include "coordinator/run_config/scalars.h"
#include "coordinator/run_config/yaml_fields.h"

namespace hone {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// True where `text` may stand without quotes: a word that no YAML reader takes for anything but text.
bool IsPlainText(const std::string& text) {
  static const auto* kReserved = new std::set<std::string>{"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  if (text.empty() || text.size() > 200) return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (!letter(text[0]) && text[0] != '/' && text[0] != '_') return false;
  std::string lower;
  for (const char c : text) {
    if (!letter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.' && c != '/') return false;
    lower.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  }
  return !kReserved->contains(lower);
}

// Double-quoted, with escapes for what YAML does not take as it is (control characters, line separators, the byte-order
// mark, non-characters).
std::string Quote(const std::string& text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const uint32_t code = hone::NextCodePoint(text, &i);
    if (code == '"' || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\t') {
      out += "\\t";
    } else if (code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 || code == 0x2029 || code == 0xFEFF ||
               code == 0xFFFE || code == 0xFFFF) {
      out += absl::StrFormat("\\u%04X", code);
    } else {
      out.append(text, begin, i - begin);
    }
  }
  return out + "\"";
}

std::string Text(const std::string& text) { return IsPlainText(text) ? text : Quote(text); }

class Writer {
 public:
  // Writes `message`'s fields, each line indented by `indent`; the first without where `inline_first` (after "- ").
  void WriteFields(const Message& message, int indent, bool inline_first) {
    const Reflection& r = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = message.GetDescriptor()->field(i);
      if (field->is_repeated() ? r.FieldSize(message, field) > 0 : r.HasField(message, field)) fields.push_back(field);
    }
    for (const FieldDescriptor* field : fields) {
      if (!inline_first) out_.append(indent, ' ');
      inline_first = false;
      absl::StrAppend(&out_, field->name(), ":");
      WriteField(message, field, indent);
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  // What follows "name:".
  void WriteField(const Message& message, const FieldDescriptor* field, int indent) {
    const Reflection& r = *message.GetReflection();
    if (field->is_map()) {
      out_ += '\n';
      WriteMap(message, field, indent + 2);
    } else if (!field->is_repeated()) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !internal::IsDuration(field)) {
        WriteChild(r.GetMessage(message, field), indent + 2);
      } else {
        absl::StrAppend(&out_, " ", Scalar(message, field, -1), "\n");
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !internal::IsDuration(field)) {
      out_ += '\n';
      for (int i = 0; i < r.FieldSize(message, field); ++i) {
        const Message& child = r.GetRepeatedMessage(message, field, i);
        out_.append(indent + 2, ' ');
        out_ += "- ";
        if (IsEmpty(child)) {
          out_ += "{}\n";
        } else {
          WriteFields(child, indent + 4, true);
        }
      }
    } else {
      out_ += " [";
      for (int i = 0; i < r.FieldSize(message, field); ++i) {
        if (i > 0) out_ += ", ";
        out_ += Scalar(message, field, i);
      }
      out_ += "]\n";
    }
  }

  void WriteChild(const Message& child, int indent) {
    if (IsEmpty(child)) {
      out_ += " {}\n";
    } else {
      out_ += '\n';
      WriteFields(child, indent, false);
    }
  }

  void WriteMap(const Message& message, const FieldDescriptor* field, int indent) {
    const Reflection& r = *message.GetReflection();
    const FieldDescriptor* key = field->message_type()->map_key();
    const FieldDescriptor* value = field->message_type()->map_value();
    std::vector<std::pair<std::string, const Message*>> entries;
    for (int i = 0; i < r.FieldSize(message, field); ++i) {
      const Message& entry = r.GetRepeatedMessage(message, field, i);
      entries.emplace_back(Scalar(entry, key, -1), &entry);
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [name, entry] : entries) {
      out_.append(indent, ' ');
      absl::StrAppend(&out_, name, ":");
      WriteField(*entry, value, indent);
    }
  }

  static bool IsEmpty(const Message& message) {
    std::vector<const FieldDescriptor*> set;
    message.GetReflection()->ListFields(message, &set);
    return set.empty();
  }

  // The field's value, or that of its element `index`.
  static std::string Scalar(const Message& m, const FieldDescriptor* f, int index) {
    const Reflection& r = *m.GetReflection();
    const bool one = index < 0;
    std::string scratch;
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return absl::StrCat(one ? r.GetInt32(m, f) : r.GetRepeatedInt32(m, f, index));
      case FieldDescriptor::CPPTYPE_INT64:
        return absl::StrCat(one ? r.GetInt64(m, f) : r.GetRepeatedInt64(m, f, index));
      case FieldDescriptor::CPPTYPE_UINT32:
        return absl::StrCat(one ? r.GetUInt32(m, f) : r.GetRepeatedUInt32(m, f, index));
      case FieldDescriptor::CPPTYPE_UINT64:
        return absl::StrCat(one ? r.GetUInt64(m, f) : r.GetRepeatedUInt64(m, f, index));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return internal::FormatReal(one ? r.GetDouble(m, f) : r.GetRepeatedDouble(m, f, index));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return internal::FormatReal(one ? r.GetFloat(m, f) : r.GetRepeatedFloat(m, f, index));
      case FieldDescriptor::CPPTYPE_BOOL:
        return (one ? r.GetBool(m, f) : r.GetRepeatedBool(m, f, index)) ? "true" : "false";
      case FieldDescriptor::CPPTYPE_ENUM: {
        const int number = one ? r.GetEnumValue(m, f) : r.GetRepeatedEnumValue(m, f, index);
        const google::protobuf::EnumValueDescriptor* value = f->enum_type()->FindValueByNumber(number);
        return value == nullptr ? absl::StrCat(number) : internal::EnumName(value);
      }
      case FieldDescriptor::CPPTYPE_STRING:
        return Text(one ? r.GetStringReference(m, f, &scratch) : r.GetRepeatedStringReference(m, f, index, &scratch));
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        const auto& d = static_cast<const google::protobuf::Duration&>(one ? r.GetMessage(m, f)
                                                                           : r.GetRepeatedMessage(m, f, index));
        return internal::FormatDuration(d.seconds(), d.nanos());
      }
    }
    return "";
  }

  std::string out_;
};

}  // namespace

std::string MessageToYaml(const Message& message) {
  Writer writer;
  writer.WriteFields(message, 0, false);
  std::string text = writer.Take();
  return text.empty() ? "{}\n" : text;
}

std::string ToYaml(const v1::RunSpec& spec) { return MessageToYaml(spec); }

}  // namespace hone
