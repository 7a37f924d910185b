// A tiny model folder and data set as ordinary files, for the learner's tests.
#pragma once

#include <string>
#include <vector>

#include "hone/v1/run.pb.h"
#include "learner/moments.h"
#include "model/model.h"

namespace hone::learner {

// An empty folder of the test's own, below the working directory.
std::string FreshFolder(const std::string& name);

inline constexpr int kTinyVocab = 40;
// Llama family, 2 layers, d 16: config.json, tokenizer.json (WordLevel: <pad> <eos> w2 ... w39, split at white space),
// tokenizer_config.json; no weights.
void WriteTinyModel(const std::string& folder);
model::ModelConfig TinyConfig();

// `rows` JSON Lines {"prompt": "w5 w9", "completion": "w9 w5"}, a function of `seed`.
void WriteTinyData(const std::string& path, int rows, int seed);

// The name of token `id`.
std::string TinyWord(int id);

// A run on these files with one stage, named after its kind: "pretrain" or "rl".
v1::RunSpec TinyRun(const std::string& folder, const std::string& kind, int steps);

// An optimizer's moment as fp32, flat as ParameterLayout; and one that holds such values in fp32.
model::FlatTensor ValuesOf(Moments& moments, kernels::Moment moment);
Moments MomentsOf(const model::ModelConfig& config, const model::FlatTensor& values);

}  // namespace hone::learner
