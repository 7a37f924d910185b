// A YAML document as a tree of our own, with the place of every node: the one room that knows the YAML library.
//
// Private to run_config.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace hone::internal {

enum class YamlKind { kNull, kScalar, kSequence, kMap };

struct YamlField;

struct YamlNode {
  YamlKind kind = YamlKind::kNull;
  int line = 1;    // from 1
  int column = 1;  // from 1
  // Scalars: the text, and whether it was written without quotes (only then may it be a number, boolean or enum name).
  std::string text;
  bool plain = false;
  std::vector<YamlNode> items;    // sequences
  std::vector<YamlField> fields;  // maps, in the text's order; duplicates are kept for the reader to refuse

  // Defined in yaml_tree.cc, where YamlField is complete.
  YamlNode();
  YamlNode(const YamlNode&);
  YamlNode(YamlNode&&) noexcept;
  YamlNode& operator=(const YamlNode&);
  YamlNode& operator=(YamlNode&&) noexcept;
  ~YamlNode();
};

struct YamlField {
  YamlNode key;
  YamlNode value;
};

// What a node is, for messages: "a list", "a mapping", "nothing", "text \"...\"" or the plain scalar in single quotes.
std::string DescribeYaml(const YamlNode& node);

// INVALID_ARGUMENT "<source>:<line>:<column>: <what>" (without the place where line is 0).
absl::Status YamlError(std::string_view source, int line, int column, std::string_view what);

// Parses one document. Aliases are copied in place, so that the result is a finite tree; kMaxYamlNodes and
// kMaxYamlDepth (yaml_reader.h) bound it. An empty document is an error.
absl::StatusOr<YamlNode> ParseYamlTree(std::string_view text, std::string_view source);

}  // namespace hone::internal
