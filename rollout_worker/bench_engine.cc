// Generation speed of a model folder: distinct random prompts of 128 tokens, 128 new tokens each (end of sequence is
// not allowed before), greedy; 1, 8, 32 and 64 sequences.
//
// prefill: prompt tokens / time until every sequence has its first token. decode: the tokens after the first / the rest
// of the time. The median of --repeats runs after a warm-up, with the least and the most.
#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/files.h"
#include "base/flags.h"
#include "rollout_worker/generate.h"

namespace hone {
namespace {

struct Row {
  std::string name;
  std::vector<double> values;
};

struct Speed {
  double prefill = 0, decode = 0;  // tokens/s
};

Speed Measure(LocalModel* model, int sequences, int prompt_tokens, int new_tokens) {
  std::mt19937 random(1);
  const int vocab = model->text().config.vocab_size;
  for (int i = 0; i < sequences; ++i) {
    engine::GroupRequest request;
    request.stream = static_cast<uint64_t>(i);
    request.sampling.temperature = 0;
    request.max_new_tokens = request.min_new_tokens = new_tokens;
    for (int t = 0; t < prompt_tokens; ++t)
      request.prompt.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(vocab)));
    if (const auto handle = model->engine().SubmitGroup(std::move(request)); !handle.ok()) {
      std::fprintf(stderr, "%s\n", handle.status().ToString().c_str());
      return {};
    }
  }
  engine::Engine& engine = model->engine();
  const int64_t prefilled_before = engine.stats().prefill_tokens;
  const absl::Time start = absl::Now();
  while (engine.stats().prefill_tokens - prefilled_before < int64_t{sequences} * prompt_tokens) engine.Step();
  const absl::Time middle = absl::Now();
  // Sequences whose prompt was done early have decoded a little already.
  const int64_t sampled_at_middle = engine.stats().sampled_tokens;
  while (!engine.idle()) engine.Step();
  const double decode_seconds = absl::ToDoubleSeconds(absl::Now() - middle);
  return {static_cast<double>(sequences) * prompt_tokens / absl::ToDoubleSeconds(middle - start),
          static_cast<double>(engine.stats().sampled_tokens - sampled_at_middle) / decode_seconds};
}

std::string Json(const std::vector<Row>& rows) {
  std::string out = "[\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<double>& v = rows[i].values;  // sorted
    char line[512];
    std::snprintf(
        line, sizeof(line),
        "  {\"name\": \"%s\", \"value\": %.5g, \"unit\": \"tokens/s\", \"min\": %.5g, \"max\": %.5g, \"peer\": null, "
        "\"peer_value\": null, \"ratio\": null}%s\n",
        rows[i].name.c_str(), v[v.size() / 2], v.front(), v.back(), i + 1 < rows.size() ? "," : "");
    out += line;
  }
  return out + "]\n";
}

int Main(int argc, char** argv) {
  std::string directory, dtype = "bf16", out;
  int threads = 0, repeats = 3, prompt_tokens = 128, new_tokens = 128, largest = 64;
  FlagParser flags("bench_engine", "Measures the engine's prefill and decode speed on a model folder.");
  flags.Add("model", &directory, "Hugging Face folder");
  flags.Add("dtype", &dtype, "bf16 or fp32");
  flags.Add("threads", &threads, "compute threads; 0 = one per core");
  flags.Add("repeats", &repeats, "measured runs for each row");
  flags.Add("prompt_tokens", &prompt_tokens, "tokens of each prompt");
  flags.Add("new_tokens", &new_tokens, "tokens generated for each prompt");
  flags.Add("largest", &largest, "leave out rows with more sequences than this");
  flags.Add("out", &out, "JSON file for the rows");
  if (const absl::Status status = flags.Parse(argc, argv); !status.ok()) return FlagParser::Exit(status);
  if (dtype != "bf16" && dtype != "fp32") {
    std::fprintf(stderr, "--dtype: expected bf16 or fp32, got '%s'\n", dtype.c_str());
    return 2;
  }
  auto model = LocalModel::Open({.directory = directory,
                                 .dtype = dtype == "fp32" ? kernels::DType::kF32 : kernels::DType::kBf16,
                                 .threads = threads,
                                 .engine = {.max_batch_sequences = std::max(64, largest), .max_batch_tokens = 1024}});
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", model.status().ToString().c_str());
    return 1;
  }
  std::printf("%s, %s, %d prompt tokens, %d new tokens, greedy\n", directory.c_str(), (*model)->numerics_key().c_str(),
              prompt_tokens, new_tokens);
  std::vector<Row> rows;
  for (const int sequences : {1, 8, 32, 64, 256}) {
    if (sequences > largest) break;
    Measure(model->get(), sequences, prompt_tokens, std::min(new_tokens, 8));
    Row prefill = {"generate/prefill/" + std::to_string(sequences), {}},
        decode = {"generate/decode/" + std::to_string(sequences), {}};
    for (int r = 0; r < std::max(1, repeats); ++r) {
      const Speed speed = Measure(model->get(), sequences, prompt_tokens, new_tokens);
      prefill.values.push_back(speed.prefill);
      decode.values.push_back(speed.decode);
    }
    for (Row* row : {&prefill, &decode}) {
      std::sort(row->values.begin(), row->values.end());
      std::printf("%-24s %10.1f tokens/s  (%.1f to %.1f)\n", row->name.c_str(), row->values[row->values.size() / 2],
                  row->values.front(), row->values.back());
      rows.push_back(*row);
    }
    std::fflush(stdout);
  }
  if (out.empty()) return 0;
  if (const absl::Status status = WriteFileAtomic(out, Json(rows)); !status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) { return hone::Main(argc, argv); }
