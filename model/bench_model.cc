// Tokens per second of training and of generation, of a model folder or of random weights of a named shape.
//
// Training: forward, backward, AdamW and packing of new weights, --sequences of --length tokens a step. Generation: at
// 1, 8, 32 and 64 sequences, a prompt of --prompt tokens in chunks of 512, then --new tokens by --repeat runs; every
// step ends with log-probs and a draw for each sequence. A row gives median, least and most over the repeats, after one
// run that does not count.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/flags.h"
#include "model/formats/json.h"
#include "model/model.h"

namespace hone::model {
namespace {

struct Options {
  std::string model, shape = "small_world", dtype = "bf16", only, out;
  int threads = 0, sequences = 0, length = 0, prompt = 0, new_tokens = 0, repeat = 3;
};

struct Row {
  std::string name;
  double median, least, most;
};

ModelConfig SmallWorld() {
  ModelConfig config;
  config.vocab_size = 54;
  config.hidden_size = 128;
  config.layers = 3;
  config.heads = config.kv_heads = 4;
  config.head_dim = 32;
  config.ffn_size = 256;
  config.max_positions = 256;
  config.tied_embeddings = true;
  return config;
}

ModelConfig SmolLm2() {
  ModelConfig config;
  config.vocab_size = 49152;
  config.hidden_size = 576;
  config.layers = 30;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.ffn_size = 1536;
  config.max_positions = 8192;
  config.rope_theta = 1e5;
  config.tied_embeddings = true;
  return config;
}

// Tokens per second of `run`, which handles `tokens` of them.
Row Measure(const std::string& name, int repeat, double tokens, const std::function<void()>& run) {
  std::vector<double> rates;
  for (int i = 0; i <= repeat; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    if (i > 0) rates.push_back(tokens / seconds.count());
  }
  std::sort(rates.begin(), rates.end());
  const Row row{name, rates[rates.size() / 2], rates.front(), rates.back()};
  std::cout << name << ": " << row.median << " tokens/s (" << row.least << " to " << row.most << ")" << std::endl;
  return row;
}

std::vector<int32_t> Tokens(int64_t count, int32_t vocab) {
  std::vector<int32_t> tokens(count);
  uint32_t state = 1;
  for (int32_t& token : tokens) {
    state = state * 1664525u + 1013904223u;
    token = static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(vocab));
  }
  return tokens;
}

Row BenchTraining(const kernels::KernelContext& ctx, const ModelConfig& config, const FlatTensor& initial,
                  kernels::DType dtype, const Options& options) {
  FlatTensor masters(initial.size()), gradients(initial.size()), m(initial.size()), v(initial.size());
  std::copy_n(initial.data(), initial.size(), masters.data());
  for (FlatTensor* tensor : {&m, &v}) std::memset(tensor->data(), 0, tensor->size() * sizeof(float));
  ComputeWeights weights(ctx, config, dtype, /*for_training=*/true);
  weights.LoadAll(masters);
  TrainingModel model(ctx, weights);
  PackedSequences batch;
  batch.tokens = Tokens(int64_t{options.sequences} * options.length, config.vocab_size);
  batch.starts.push_back(0);
  for (int s = 0; s < options.sequences; ++s) {
    for (int i = 0; i < options.length; ++i) {
      const int64_t row = int64_t{s} * options.length + i;
      batch.targets.push_back(i + 1 < options.length ? batch.tokens[row + 1] : -1);
    }
    batch.starts.push_back(static_cast<int64_t>(batch.targets.size()));
  }
  std::vector<float> logprobs, entropies;
  const kernels::AdamWParams adamw{1e-4f, 0.9f, 0.999f, 1e-8f, 0.0f, 0.1, 0.001, 1.0f};
  return Measure("train", options.repeat, static_cast<double>(batch.tokens.size()), [&] {
    std::memset(gradients.data(), 0, gradients.size() * sizeof(float));
    model.Forward(batch, 1.0f, /*keep=*/true, &logprobs, &entropies);
    const std::vector<float> d_logprob(logprobs.size(), -1.0f / static_cast<float>(logprobs.size()));
    model.Backward(d_logprob, {}, &gradients);
    kernels::SumOfSquares(ctx, gradients.data(), static_cast<int64_t>(gradients.size()));
    kernels::AdamW(ctx, adamw, static_cast<int64_t>(masters.size()), gradients.data(), masters.data(), m.data(),
                   v.data());
    weights.LoadAll(masters);
  });
}

// A batch of sequences that all have the same length: prompt, then one token at a time.
class Generator {
 public:
  Generator(const kernels::KernelContext& ctx, const ComputeWeights& weights, int sequences, const Options& options)
      : ctx_(ctx),
        config_(weights.config()),
        options_(options),
        model_(ctx, weights),
        pages_per_sequence_((options.prompt + options.new_tokens + kPageTokens - 1) / kPageTokens),
        cache_(config_, weights.dtype(), kPageTokens, sequences * pages_per_sequence_) {
    const std::vector<int32_t> tokens = Tokens(int64_t{sequences} * options.prompt, config_.vocab_size);
    for (int s = 0; s < sequences; ++s) {
      prompts_.emplace_back(tokens.begin() + s * options.prompt, tokens.begin() + (s + 1) * options.prompt);
      pages_.emplace_back();
      for (int p = 0; p < pages_per_sequence_; ++p) pages_.back().push_back(s * pages_per_sequence_ + p);
    }
    next_.resize(sequences);
    logits_.resize(static_cast<size_t>(sequences) * config_.vocab_size);
    hidden_.resize(static_cast<size_t>(sequences) * config_.hidden_size);
    logprobs_.resize(sequences);
  }

  void Prefill() {
    for (size_t s = 0; s < prompts_.size(); ++s) {
      for (int begin = 0; begin < options_.prompt; begin += kPrefillChunk) {
        const int count = std::min(kPrefillChunk, options_.prompt - begin);
        const Chunk chunk{std::span<const int32_t>(prompts_[s]).subspan(begin, count), begin, pages_[s].data()};
        const int64_t last = count - 1;
        const bool end = begin + count == options_.prompt;
        model_.Forward({&chunk, 1}, {&last, end ? size_t{1} : size_t{0}}, &cache_,
                       hidden_.data() + s * config_.hidden_size);
      }
    }
    Draw(0);
  }

  void Decode() {
    std::vector<Chunk> chunks(prompts_.size());
    std::vector<int64_t> rows(prompts_.size());
    for (int i = 0; i < options_.new_tokens; ++i) {
      for (size_t s = 0; s < prompts_.size(); ++s) {
        chunks[s] = {std::span<const int32_t>(&next_[s], 1), options_.prompt + i, pages_[s].data()};
        rows[s] = static_cast<int64_t>(s);
      }
      model_.Forward(chunks, rows, &cache_, hidden_.data());
      Draw(static_cast<uint32_t>(i) + 1);
    }
  }

 private:
  static constexpr int kPageTokens = 32;
  static constexpr int kPrefillChunk = 512;

  void Draw(uint32_t position) {
    const int64_t vocab = config_.vocab_size, rows = static_cast<int64_t>(next_.size());
    model_.Logits(hidden_.data(), rows, logits_.data());
    ctx_.pool().ParallelFor(rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        const double uniform = kernels::SamplingUniform(1, 2, static_cast<uint32_t>(s), position);
        next_[s] = kernels::Sample(logits_.data() + s * vocab, vocab, {}, uniform, nullptr);
      }
    });
    kernels::LogProb(ctx_, logits_.data(), vocab, rows, vocab, 1.0f, next_.data(), logprobs_.data(), nullptr, nullptr);
  }

  const kernels::KernelContext& ctx_;
  const ModelConfig& config_;
  const Options& options_;
  InferenceModel model_;
  const int pages_per_sequence_;
  KvCache cache_;
  std::vector<std::vector<int32_t>> prompts_, pages_;
  std::vector<int32_t> next_;
  std::vector<float> logits_, hidden_, logprobs_;
};

void BenchGeneration(const kernels::KernelContext& ctx, const ModelConfig& config, const FlatTensor& masters,
                     kernels::DType dtype, const Options& options, std::vector<Row>* rows) {
  ComputeWeights weights(ctx, config, dtype, /*for_training=*/false);
  weights.LoadAll(masters);
  for (int sequences : {1, 8, 32, 64}) {
    Generator generator(ctx, weights, sequences, options);
    if (sequences == 8) {
      rows->push_back(Measure("prefill", options.repeat, double{8} * options.prompt, [&] { generator.Prefill(); }));
    } else {
      generator.Prefill();
    }
    rows->push_back(Measure(absl::StrCat("decode_", sequences), options.repeat,
                            static_cast<double>(sequences) * options.new_tokens, [&] { generator.Decode(); }));
  }
}

absl::Status WriteRows(const std::vector<Row>& rows, const std::string& path) {
  nlohmann::json list = nlohmann::json::array();
  for (const Row& row : rows) {
    list.push_back({{"name", row.name},
                    {"value", row.median},
                    {"unit", "tokens/s"},
                    {"min", row.least},
                    {"max", row.most},
                    {"peer", nullptr},
                    {"peer_value", nullptr},
                    {"ratio", nullptr}});
  }
  return WriteFileAtomic(path, DumpJson(list) + "\n");
}

absl::Status ParseOptions(int argc, char** argv, Options* options) {
  FlagParser flags("bench_model", "Measures training and generation of a model folder or of random weights.");
  flags.Add("model", &options->model, "Hugging Face folder; default random weights of --shape");
  flags.Add("shape", &options->shape, "small_world or smollm2");
  flags.Add("dtype", &options->dtype, "f32 or bf16");
  flags.Add("only", &options->only, "train or decode; default both");
  flags.Add("threads", &options->threads, "compute threads; 0 = one per core");
  flags.Add("sequences", &options->sequences, "sequences of a training step; 0 = by shape");
  flags.Add("length", &options->length, "tokens of each of them; 0 = by shape");
  flags.Add("prompt", &options->prompt, "prompt tokens of a generation; 0 = by shape");
  flags.Add("new", &options->new_tokens, "tokens generated after it; 0 = by shape");
  flags.Add("repeat", &options->repeat, "measured runs for each row");
  flags.Add("out", &options->out, "JSON file for the rows");
  HONE_RETURN_IF_ERROR(flags.Parse(argc, argv));
  if (options->repeat < 1) return absl::InvalidArgumentError("--repeat: at least 1");
  for (const int size : {options->sequences, options->length, options->prompt, options->new_tokens}) {
    if (size < 0) return absl::InvalidArgumentError("--sequences, --length, --prompt, --new: not below 0");
  }
  if (!options->only.empty() && options->only != "train" && options->only != "decode") {
    return absl::InvalidArgumentError("--only: train or decode");
  }
  if (options->dtype != "f32" && options->dtype != "bf16") return absl::InvalidArgumentError("--dtype: f32 or bf16");
  const bool small = options->model.empty() && options->shape == "small_world";
  if (!small && options->model.empty() && options->shape != "smollm2") {
    return absl::InvalidArgumentError("--shape: small_world or smollm2");
  }
  if (options->sequences == 0) options->sequences = small ? 80 : 8;
  if (options->length == 0) options->length = small ? 32 : 256;
  if (options->prompt == 0) options->prompt = small ? 16 : 128;
  if (options->new_tokens == 0) options->new_tokens = small ? 32 : 128;
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  ModelConfig config = options.shape == "small_world" ? SmallWorld() : SmolLm2();
  FlatTensor masters;
  if (options.model.empty()) {
    masters = RandomParameters(config, 1);
  } else {
    HONE_ASSIGN_OR_RETURN(config, LoadModelConfig(options.model));
    HONE_ASSIGN_OR_RETURN(masters, LoadParameters(config, options.model));
  }
  const auto ctx = kernels::KernelContext::Create(options.threads);
  const kernels::DType dtype = options.dtype == "f32" ? kernels::DType::kF32 : kernels::DType::kBf16;
  std::cout << ctx->NumericsKey(dtype) << ", " << ctx->pool().threads() << " threads, " << config.parameter_count()
            << " parameters" << std::endl;
  std::vector<Row> rows;
  if (options.only != "decode") rows.push_back(BenchTraining(*ctx, config, masters, dtype, options));
  if (options.only != "train") BenchGeneration(*ctx, config, masters, dtype, options, &rows);
  return options.out.empty() ? absl::OkStatus() : WriteRows(rows, options.out);
}

}  // namespace
}  // namespace hone::model

int main(int argc, char** argv) {
  hone::model::Options options;
  absl::Status status = hone::model::ParseOptions(argc, argv, &options);
  if (!status.ok()) return hone::FlagParser::Exit(status);
  status = hone::model::Run(options);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
