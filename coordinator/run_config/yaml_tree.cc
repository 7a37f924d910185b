#include "coordinator/run_config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <cstdint>
#include <map>
#include <optional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "coordinator/run_config/yaml_reader.h"

namespace hone::internal {
namespace {

// A comment put behind the text. The library takes a quoted text that is never closed to end with the file, and would
// so swallow what follows a forgotten quote; the comment is then found inside of it.
constexpr std::string_view kEndMark = "#hone-end-of-run-file";

// Thrown through the parser, out of the handler, and caught in ParseYamlTree.
struct TreeError {
  YAML::Mark mark;
  std::string what;
};

// Builds the tree from the parser's events. Containers that are not finished yet wait on `open_`.
class TreeBuilder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Finish(NewNode(YamlKind::kNull, mark, "?"), anchor, mark);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // The library turns the escapes \N and \_ into bare bytes instead of characters.
    if (!IsValidUtf8(value)) throw TreeError{mark, "the escapes \\N and \\_ are not supported: write \\u0085, \\u00a0"};
    if (value.find(kEndMark) != std::string::npos)
      throw TreeError{mark, "the quoted text that begins here is never closed"};
    YamlNode node = NewNode(YamlKind::kScalar, mark, tag);
    node.text = value;
    node.plain = tag == "?";
    Finish(std::move(node), anchor, mark);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchored_.find(anchor);
    if (it == anchored_.end()) throw TreeError{mark, "an alias may not stand inside of what it refers to"};
    Count(mark, it->second.nodes);
    CheckDepth(mark, it->second.depth);
    YamlNode copy = it->second.node;
    copy.line = mark.line + 1;
    copy.column = mark.column + 1;
    Attach(std::move(copy), it->second.nodes, it->second.depth);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(NewNode(YamlKind::kSequence, mark, tag), anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(NewNode(YamlKind::kMap, mark, tag), anchor);
  }
  void OnMapEnd() override { Close(); }

  std::optional<YamlNode> root;

 private:
  struct OpenContainer {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    std::optional<YamlNode> key;  // maps: a key that waits for its value
    size_t nodes = 1;             // of the finished part, itself included
    int depth = 1;                // of the deepest finished part, itself included
  };
  struct Anchored {
    YamlNode node;
    size_t nodes = 1;
    int depth = 1;
  };

  YamlNode NewNode(YamlKind kind, const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw TreeError{mark, absl::StrCat("tags are not allowed in a run file, got '", tag, "'")};
    }
    Count(mark, 1);
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }
  void Count(const YAML::Mark& mark, size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > kMaxYamlNodes) {
      throw TreeError{mark, absl::StrCat("expected at most ", kMaxYamlNodes, " values (aliases expanded)")};
    }
  }
  void CheckDepth(const YAML::Mark& mark, int below) {
    if (open_.size() + below > static_cast<size_t>(kMaxYamlDepth)) {
      throw TreeError{mark, absl::StrCat("nested more than ", kMaxYamlDepth, " levels deep")};
    }
  }
  void Open(YamlNode node, YAML::anchor_t anchor) {
    YAML::Mark mark;
    mark.line = node.line - 1;
    mark.column = node.column - 1;
    CheckDepth(mark, 1);
    OpenContainer container;
    container.node = std::move(node);
    container.anchor = anchor;
    open_.push_back(std::move(container));
  }
  void Close() {
    OpenContainer done = std::move(open_.back());
    open_.pop_back();
    if (done.anchor != 0) anchored_[done.anchor] = Anchored{done.node, done.nodes, done.depth};
    Attach(std::move(done.node), done.nodes, done.depth);
  }
  void Finish(YamlNode node, YAML::anchor_t anchor, const YAML::Mark& mark) {
    CheckDepth(mark, 1);
    if (anchor != 0) anchored_[anchor] = Anchored{node, 1, 1};
    Attach(std::move(node), 1, 1);
  }
  void Attach(YamlNode node, size_t nodes, int depth) {
    if (open_.empty()) {
      root = std::move(node);
      return;
    }
    OpenContainer& parent = open_.back();
    if (node.kind == YamlKind::kNull && parent.key.has_value() && node.line != parent.key->line) {
      // A value that is left out: the library gives the place where it noticed.
      node.line = parent.key->line;
      node.column = parent.key->column;
    }
    parent.nodes += nodes;
    parent.depth = std::max(parent.depth, depth + 1);
    if (parent.node.kind == YamlKind::kSequence) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.key.has_value()) {
      parent.key = std::move(node);
    } else {
      parent.node.fields.push_back({std::move(*parent.key), std::move(node)});
      parent.key.reset();
    }
  }

  std::vector<OpenContainer> open_;
  std::map<YAML::anchor_t, Anchored> anchored_;
  size_t nodes_ = 0;
};

absl::Status CheckText(std::string_view text, std::string_view source) {
  if (text.size() > kMaxYamlBytes) {
    return YamlError(source, 0, 0, absl::StrCat("expected at most ", kMaxYamlBytes, " bytes, got ", text.size()));
  }
  if (!IsValidUtf8(text)) {
    // The line of the first bad byte: the shortest prefix of whole lines that is not well-formed ends in it.
    int line = 1;
    size_t begin = 0;
    while (begin < text.size()) {
      size_t end = text.find('\n', begin);
      if (end == std::string_view::npos) end = text.size();
      if (!IsValidUtf8(text.substr(begin, end - begin))) break;
      begin = end + 1;
      ++line;
    }
    return YamlError(source, line, 1, "not valid UTF-8");
  }
  if (text.find('\0') != std::string_view::npos) return YamlError(source, 0, 0, "holds a NUL byte: not a text file");
  return absl::OkStatus();
}

}  // namespace

YamlNode::YamlNode() = default;
YamlNode::YamlNode(const YamlNode&) = default;
YamlNode::YamlNode(YamlNode&&) noexcept = default;
YamlNode& YamlNode::operator=(const YamlNode&) = default;
YamlNode& YamlNode::operator=(YamlNode&&) noexcept = default;
YamlNode::~YamlNode() = default;

std::string DescribeYaml(const YamlNode& node) {
  switch (node.kind) {
    case YamlKind::kNull:
      return "nothing";
    case YamlKind::kSequence:
      return "a list";
    case YamlKind::kMap:
      return "a mapping";
    case YamlKind::kScalar:
      break;
  }
  std::string text = node.text;
  constexpr size_t kShown = 60;
  if (text.size() > kShown) text = std::string(Utf8Prefix(text, kShown)) + "...";
  return node.plain ? absl::StrCat("'", text, "'") : absl::StrCat("quoted text \"", text, "\"");
}

absl::Status YamlError(std::string_view source, int line, int column, std::string_view what) {
  if (line == 0) return absl::InvalidArgumentError(absl::StrCat(ToAbsl(source), ": ", ToAbsl(what)));
  return absl::InvalidArgumentError(absl::StrCat(ToAbsl(source), ":", line, ":", column, ": ", ToAbsl(what)));
}

absl::StatusOr<YamlNode> ParseYamlTree(std::string_view text, std::string_view source) {
  HONE_RETURN_IF_ERROR(CheckText(text, source));
  try {
    const char* newline = text.ends_with('\n') ? "" : "\n";
    std::istringstream stream(absl::StrCat(ToAbsl(text), newline, ToAbsl(kEndMark), "\n"));
    YAML::Parser parser(stream);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder) || !builder.root.has_value()) {
      return YamlError(source, 0, 0, "holds nothing");
    }
    TreeBuilder second;
    if (parser.HandleNextDocument(second) && second.root.has_value()) {
      return YamlError(source, second.root->line, second.root->column, "expected one document, found a second");
    }
    return *std::move(builder.root);
  } catch (const TreeError& e) {
    return YamlError(source, e.mark.line + 1, e.mark.column + 1, e.what);
  } catch (const YAML::Exception& e) {
    const bool placed = !e.mark.is_null();
    return YamlError(source, placed ? e.mark.line + 1 : 0, e.mark.column + 1, absl::StrCat("not valid YAML: ", e.msg));
  } catch (const std::exception& e) {
    return YamlError(source, 0, 0, absl::StrCat("not valid YAML: ", e.what()));
  }
}

}  // namespace hone::internal
