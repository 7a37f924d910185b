#include "corpus/small_world/small_world.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "corpus/data_folder/data_folder.h"
#include "corpus/small_world/draw.h"
#include "corpus/small_world/mixture.h"
#include "corpus/small_world/model_files.h"
#include "corpus/small_world/problem.h"

namespace hone::corpus {
namespace {

// The vocabulary needs no escapes in JSON.
std::string PretrainRows(const SmallWorldOptions& options) {
  std::string out;
  for (int64_t i = 0; i < options.pretrain_rows; ++i) {
    const MixtureRow row = MakeMixtureRow(options.seed, static_cast<uint64_t>(i));
    if (row.prompt.empty()) {
      absl::StrAppend(&out, "{\"text\": \"", row.text, "\"}\n");
    } else {
      absl::StrAppend(&out, "{\"prompt\": \"", row.prompt, "\", \"completion\": \"", row.text, "\"}\n");
    }
  }
  return out;
}

std::string ProblemRows(const SmallWorldOptions& options, const std::string& name, bool held_out, int64_t rows) {
  std::string out;
  std::set<std::string> seen;
  for (uint64_t draws = 0; static_cast<int64_t>(seen.size()) < rows; ++draws) {
    Draw draw(options.seed, name, draws);
    const Problem problem = DrawProblem(&draw, held_out);
    if (!seen.insert(ProblemText(problem)).second) continue;
    absl::StrAppend(&out, "{\"id\": \"", name, "-", seen.size() - 1, "\", \"prompt\": \"", PromptText(problem),
                    "\", \"answer\": \"", Solve(problem), "\", \"language\": \"", LanguageName(problem.language),
                    "\"}\n");
  }
  return out;
}

std::string Readme(const SmallWorldOptions& options) {
  return absl::StrCat(R"(# The small world

Synthetic data, made by `hone data make small-world --seed )",
                      options.seed, R"(`: digit chains in two languages, worked out from left to
right, each step modulo 10. 54 words, one token each, joined by single spaces.

| file | rows | what |
| --- | --- | --- |
| `model/` | | a Llama decoder of 499,328 parameters without weights, and its tokenizer |
| `pretrain.jsonl` | )",
                      options.pretrain_rows, R"( | the messy mixture: `prompt` and `completion`, or `text` alone |
| `train.jsonl` | )",
                      options.train_rows, R"( | distinct problems: `prompt`, `answer`, `language` |
| `test.jsonl` | )",
                      options.test_rows,
                      R"( | distinct held-out problems: CRC-32 of the text without its language word is 0 modulo 8 |

Problem: `<en> 3 + 4 * 2 =`. A full answer: `<think> 3 plus 4 is 7 times 2 is 4 </think> <answer> 4 </answer>`.
The data is free of rights (CC0).
)");
}

}  // namespace

absl::Status WriteSmallWorld(const SmallWorldOptions& options, const std::string& directory) {
  for (const int64_t rows : {options.train_rows, options.test_rows}) {
    if (rows < 0 || rows > kMaxSmallWorldProblems) {
      return absl::InvalidArgumentError(
          absl::StrCat("small world: expected 0 to ", kMaxSmallWorldProblems, " problems in a file, got ", rows));
    }
  }
  std::map<std::string, std::string> files = {{"pretrain.jsonl", PretrainRows(options)},
                                              {"train.jsonl", ProblemRows(options, "train", false, options.train_rows)},
                                              {"test.jsonl", ProblemRows(options, "test", true, options.test_rows)},
                                              {"README.md", Readme(options)}};
  for (const auto& [name, contents] : SmallWorldModelFiles()) files["model/" + name] = contents;
  return WriteDataFolder(directory, "small-world", files);
}

}  // namespace hone::corpus
