// The post-processor of tokenizer.json: the special tokens that belong around a text. Pairs of texts are not used here,
// so the template for them is not read.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/status.h"

namespace hone::model {

struct PostProcessor {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

// From the value of "post_processor"; null, as a pointer or in JSON, adds nothing. Read: TemplateProcessing (its
// `single`), ByteLevel (which corrects offsets and adds nothing), and a Sequence of these with at most one template.
// INVALID_ARGUMENT names any other type, and what is wrong with a template.
absl::StatusOr<PostProcessor> ReadPostProcessor(const nlohmann::json* config);

}  // namespace hone::model
