// Tokens per second of what the learner does with a batch, on a model folder:
//
//   train             forward, backward and AdamW with fp32 masters over --sequences of --length tokens
//   shared, unshared  the same over --prompts x --samples sequences of --prompt + --completion tokens, where the
//   samples of a
//                     prompt share its rows, and where they do not; tokens are counted as fed, so that the ratio is
//                     that of times
//   grpo_update       a GRPO step's learner part with a reference model on the former: reference log-probs, forward,
//                     backward, AdamW
//
// A row gives median, least and most over the repeats, after one run that does not count; the last row is the process's
// peak memory up to then, in MiB.
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/flags.h"
#include "learner/packing.h"
#include "learner/policy.h"
#include "learner/rl_step.h"

namespace hone::learner {
namespace {

struct Options {
  std::string model, dtype = "bf16", only, out, recompute = "none", moments = "fp32";
  bool invariant = false;
  int64_t micro_batch_tokens = 0;
  int threads = 0, sequences = 8, length = 256, prompts = 4, samples = 8, prompt = 128, completion = 64, repeat = 3;
};

const std::map<std::string, model::Recompute> kRecompute = {
    {"none", model::Recompute::kNone}, {"mlp", model::Recompute::kMlp}, {"layer", model::Recompute::kLayer}};
const std::map<std::string, kernels::MomentFormat> kMoments = {
    {"fp32", kernels::MomentFormat::kF32}, {"bf16", kernels::MomentFormat::kBf16}, {"fp8", kernels::MomentFormat::kF8}};

struct Row {
  std::string name, unit;
  double median, least, most;
};

class Bench {
 public:
  Bench(const Options& options, const kernels::KernelContext& context, LoadedModel model)
      : options_(options),
        dtype_(options.dtype == "f32" ? kernels::DType::kF32 : kernels::DType::kBf16),
        context_(context),
        vocab_(model.config.vocab_size) {
    if (Wanted("grpo_update")) reference_ = std::make_unique<ReferenceModel>(context_, model, dtype_);
    PolicyOptions policy = {.dtype = dtype_,
                            .recompute = kRecompute.at(options_.recompute),
                            .micro_batch_tokens = options_.micro_batch_tokens,
                            .micro_batch_invariant = options_.invariant};
    policy.optimizer.schedule.peak = 1e-6;
    policy.optimizer.moments = kMoments.at(options_.moments);
    policy_ = std::make_unique<Policy>(context_, std::move(model), policy);
  }

  std::vector<Row> Run() {
    if (Wanted("train")) {
      std::vector<TrainingSequence> sequences;
      sequences.reserve(static_cast<size_t>(options_.sequences));
      for (int i = 0; i < options_.sequences; ++i) sequences.push_back(Sequence(-1, 1, options_.length));
      Measure("train", Fed(sequences), [&] { Train(sequences); });
    }
    for (const bool shared : {true, false}) {
      const std::string name = shared ? "shared" : "unshared";
      if (!Wanted(name)) continue;
      const std::vector<TrainingSequence> sequences = Groups(shared);
      Measure(name, Fed(sequences), [&] { Train(sequences); });
    }
    if (Wanted("grpo_update")) {
      const RlBatch batch = MakeBatch();
      RlOptions rl;
      rl.objective.kl_coefficient = 0.04;
      rl.max_new_tokens = options_.completion;
      RlStep step(policy_.get(), reference_.get(), rl);
      Measure("grpo_update", Fed(batch.sequences), [&] { step.Run(batch, ++updates_); });
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const double mib = static_cast<double>(usage.ru_maxrss) / 1024;
    rows_.push_back({"peak_rss", "MiB", mib, mib, mib});
    return rows_;
  }

 private:
  bool Wanted(const std::string& name) const { return options_.only.empty() || options_.only == name; }

  // Random tokens, the first ones from `prefix`; a target for each from `first_target` on.
  TrainingSequence Sequence(int32_t group, int first_target, int length, const std::vector<int32_t>& prefix = {}) {
    TrainingSequence sequence{.tokens = prefix, .group = group};
    while (static_cast<int>(sequence.tokens.size()) < length) {
      random_ = random_ * 1664525u + 1013904223u;
      sequence.tokens.push_back(static_cast<int32_t>((random_ >> 8) % static_cast<uint32_t>(vocab_)));
    }
    for (int32_t p = first_target; p < length; ++p) sequence.targets.push_back(p);
    return sequence;
  }

  std::vector<TrainingSequence> Groups(bool shared) {
    std::vector<TrainingSequence> sequences;
    for (int p = 0; p < options_.prompts; ++p) {
      const std::vector<int32_t> prompt = Sequence(-1, options_.prompt, options_.prompt).tokens;
      for (int s = 0; s < options_.samples; ++s) {
        sequences.push_back(Sequence(shared ? p : -1, options_.prompt, options_.prompt + options_.completion, prompt));
      }
    }
    return sequences;
  }

  RlBatch MakeBatch() {
    RlBatch batch;
    batch.sequences = Groups(true);
    batch.group_count = options_.prompts;
    for (size_t i = 0; i < batch.sequences.size(); ++i) {
      const size_t targets = batch.sequences[i].targets.size();
      batch.samples.push_back({.rollout_logprobs = std::vector<float>(targets, -1.0f),
                               .reward = static_cast<double>(i % 2),
                               .in_loss = true,
                               .group = batch.sequences[i].group});
    }
    return batch;
  }

  static double Fed(const std::vector<TrainingSequence>& sequences) {
    double tokens = 0;
    for (const TrainingSequence& sequence : sequences) tokens += static_cast<double>(sequence.tokens.size() - 1);
    return tokens;
  }

  void Train(const std::vector<TrainingSequence>& sequences) {
    std::vector<int32_t> order(sequences.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    policy_->ZeroGradients();
    std::vector<float> logprobs, entropies;
    for (const MicroBatch& micro : PackMicroBatches(sequences, order, policy_->micro_batch_rule())) {
      policy_->model().Forward(micro.packed, 1.0f, /*keep=*/true, &logprobs, &entropies);
      const std::vector<float> d_logprob(logprobs.size(), -1.0f / static_cast<float>(logprobs.size()));
      policy_->model().Backward(d_logprob, {}, policy_->gradients());
    }
    policy_->Update(++updates_);
  }

  void Measure(const std::string& name, double tokens, const std::function<void()>& run) {
    std::vector<double> rates;
    for (int i = 0; i <= options_.repeat; ++i) {
      const absl::Time begin = absl::Now();
      run();
      if (i > 0) rates.push_back(tokens / absl::ToDoubleSeconds(absl::Now() - begin));
    }
    std::sort(rates.begin(), rates.end());
    rows_.push_back({name, "tokens/s", rates[rates.size() / 2], rates.front(), rates.back()});
    std::cout << name << ": " << rows_.back().median << " tokens/s (" << rates.front() << " to " << rates.back() << ")"
              << std::endl;
  }

  const Options options_;
  const kernels::DType dtype_;
  const kernels::KernelContext& context_;
  const int64_t vocab_;
  std::unique_ptr<ReferenceModel> reference_;
  std::unique_ptr<Policy> policy_;
  uint32_t random_ = 1;
  int64_t updates_ = 0;
  std::vector<Row> rows_;
};

absl::Status ParseOptions(int argc, char** argv, Options* options) {
  FlagParser flags("bench_learner", "Measures training, shared prompts and a GRPO update on a model folder.");
  flags.Add("model", &options->model, "Hugging Face folder; required");
  flags.Add("dtype", &options->dtype, "f32 or bf16");
  flags.Add("only", &options->only, "train, shared, unshared or grpo_update; default all");
  flags.Add("threads", &options->threads, "compute threads; 0 = one per core");
  flags.Add("sequences", &options->sequences, "of `train`");
  flags.Add("length", &options->length, "tokens of each of them");
  flags.Add("prompts", &options->prompts, "groups of the others");
  flags.Add("samples", &options->samples, "of each group");
  flags.Add("prompt", &options->prompt, "tokens of a prompt");
  flags.Add("completion", &options->completion, "tokens of a completion");
  flags.Add("repeat", &options->repeat, "measured runs for each row");
  flags.Add("recompute", &options->recompute, "none, mlp or layer");
  flags.Add("moments", &options->moments, "fp32, bf16 or fp8");
  flags.Add("micro_batch_tokens", &options->micro_batch_tokens, "0 = as much as 1 GiB of kept activations hold");
  flags.Add("invariant", &options->invariant, "gradients that do not depend on micro-batches");
  flags.Add("out", &options->out, "JSON file for the rows");
  HONE_RETURN_IF_ERROR(flags.Parse(argc, argv));
  if (options->model.empty()) return absl::InvalidArgumentError("--model: required");
  if (options->dtype != "f32" && options->dtype != "bf16") return absl::InvalidArgumentError("--dtype: f32 or bf16");
  if (!kRecompute.contains(options->recompute)) return absl::InvalidArgumentError("--recompute: none, mlp or layer");
  if (!kMoments.contains(options->moments)) return absl::InvalidArgumentError("--moments: fp32, bf16 or fp8");
  for (const int value : {options->sequences, options->length - 1, options->prompts, options->samples, options->prompt,
                          options->completion, options->repeat}) {
    if (value < 1) return absl::InvalidArgumentError("sizes and --repeat: at least 1, --length at least 2");
  }
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  LoadedModel model;
  HONE_ASSIGN_OR_RETURN(model.config, model::LoadModelConfig(options.model));
  HONE_ASSIGN_OR_RETURN(model.masters, model::LoadParameters(model.config, options.model));
  const auto context = kernels::KernelContext::Create(options.threads);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : Bench(options, *context, std::move(model)).Run()) {
    list.push_back({{"name", row.name},
                    {"value", row.median},
                    {"unit", row.unit},
                    {"min", row.least},
                    {"max", row.most},
                    {"peer", nullptr},
                    {"peer_value", nullptr},
                    {"ratio", nullptr}});
  }
  return options.out.empty() ? absl::OkStatus() : WriteFileAtomic(options.out, list.dump(1) + "\n");
}

}  // namespace
}  // namespace hone::learner

int main(int argc, char** argv) {
  hone::learner::Options options;
  absl::Status status = hone::learner::ParseOptions(argc, argv, &options);
  if (!status.ok()) return hone::FlagParser::Exit(status);
  status = hone::learner::Run(options);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
