// The small world's model folder, without weights: the run draws them (`random_init: true`).
#pragma once

#include <map>
#include <string>

namespace hone::corpus {

// File name -> contents: config.json (a Llama decoder of 499,328 parameters), tokenizer.json (a word-level tokenizer in
// the form of Hugging Face tokenizers), tokenizer_config.json and generation_config.json.
std::map<std::string, std::string> SmallWorldModelFiles();

}  // namespace hone::corpus
