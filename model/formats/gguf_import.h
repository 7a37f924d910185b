// A GGUF file as a Hugging Face model folder.
#pragma once

#include <string>

#include "base/status.h"
#include "model/formats/dtype.h"

namespace hone::model {

// Writes the model in `gguf_path` as config.json, generation_config.json, model.safetensors in `dtype` (kBF16 or kF32),
// tokenizer.json and tokenizer_config.json (with the chat template, if the file has one).
//
// Architectures llama, qwen2 and qwen3 with a byte-level BPE tokenizer. Everything in the file must be understood: an
// unknown architecture, tensor type, tensor name, rope scaling or pre-tokenizer is INVALID_ARGUMENT naming it, before
// anything is written.
// `out_dir` appears whole or not at all; it must not exist, or be empty (ALREADY_EXISTS otherwise).
absl::Status ImportGguf(const std::string& gguf_path, const std::string& out_dir, DType dtype);

}  // namespace hone::model
