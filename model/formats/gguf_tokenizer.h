// The tokenizer in a GGUF file's metadata as tokenizer.json and tokenizer_config.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/formats/gguf.h"

namespace hone::model {

struct GgufTokenizer {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  int64_t token_count = 0;
  std::optional<int64_t> bos_id;
  std::optional<int64_t> pad_id;
  std::vector<int64_t> eos_ids;  // end of text, and end of turn where it is another token
};

// tokenizer.ggml.add_bos_token becomes a post-processor that puts the BOS token before a text (model/tokenizer reads
// it). Byte-level BPE ("gpt2") with a pre-tokenizer that Hone knows; INVALID_ARGUMENT naming the key otherwise.
absl::StatusOr<GgufTokenizer> ConvertGgufTokenizer(const GgufFile& file, int64_t context_length);

}  // namespace hone::model
