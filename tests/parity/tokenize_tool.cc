// Encodes and decodes texts for tokenizer_parity.py.
// usage: tokenize_tool MODEL_FOLDER TEXTS.jsonl OUT.jsonl
// Each line of TEXTS is a JSON string. Each line of OUT is {"ids", "ordinary", "from_start", "decoded", "no_special",
// "streamed"}: the ids with special tokens parsed and without, the ids as a prompt begins (EncodeFromStart), the text
// of the ids with special tokens and without, and what a StreamDecoder makes of them. Prints the seconds of loading and
// encoding, the bytes encoded, and the tokenizer's prefix and suffix as JSON.
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "model/formats/json.h"
#include "model/tokenizer/prompt_frame.h"
#include "model/tokenizer/tokenizer.h"

namespace {

using hone::model::Tokenizer;
using nlohmann::json;

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int Fail(const absl::Status& status) {
  std::cerr << status.ToString() << "\n";
  return 1;
}

std::string Stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  hone::model::StreamDecoder decoder(&tokenizer);
  std::string text;
  for (const int32_t id : ids) text += decoder.Push(id);
  return text + decoder.Flush();
}

int Run(const std::string& folder, const std::string& in_path, const std::string& out_path) {
  const double start = Seconds();
  const auto tokenizer = Tokenizer::FromDirectory(folder);
  if (!tokenizer.ok()) return Fail(tokenizer.status());
  const double loaded = Seconds();
  std::ifstream in(in_path);
  std::vector<std::string> texts;
  size_t bytes = 0;
  for (std::string line; std::getline(in, line);) {
    const auto text = hone::model::ParseJson(line, in_path);
    if (!text.ok()) return Fail(text.status());
    texts.push_back(text->get<std::string>());
    bytes += texts.back().size();
  }
  std::vector<std::vector<int32_t>> ids;
  ids.reserve(texts.size());
  const double before = Seconds();
  for (const std::string& text : texts) ids.push_back((*tokenizer)->Encode(text));
  const double after = Seconds();
  std::ofstream out(out_path);
  for (size_t i = 0; i < texts.size(); ++i) {
    const json line = {{"ids", ids[i]},
                       {"ordinary", (*tokenizer)->Encode(texts[i], false)},
                       {"from_start", hone::model::EncodeFromStart(**tokenizer, texts[i])},
                       {"decoded", (*tokenizer)->Decode(ids[i])},
                       {"no_special", (*tokenizer)->Decode(ids[i], true)},
                       {"streamed", Stream(**tokenizer, ids[i])}};
    out << hone::model::DumpJson(line, -1) << "\n";
  }
  std::cout << json({{"load_seconds", loaded - start},
                     {"encode_seconds", after - before},
                     {"bytes", bytes},
                     {"prefix", (*tokenizer)->prefix()},
                     {"suffix", (*tokenizer)->suffix()}})
            << "\n";
  return out.flush() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: tokenize_tool MODEL_FOLDER TEXTS.jsonl OUT.jsonl\n";
    return 2;
  }
  return Run(argv[1], argv[2], argv[3]);
}
