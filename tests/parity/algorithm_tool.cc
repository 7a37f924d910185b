// What algorithm_parity.py asks Hone to compute: one minibatch's advantages, loss and derivatives from its log-probs.
//
//   algorithm_tool <cases.json> <results.json>
//
// cases.json: a list of {"algorithm": AlgorithmSpec as YAML between braces, "max_new_tokens": .., "sequences":
// [{"group", "reward" (or null), "in_loss", "steps": [[token, reward], ...], "logprobs", "old", "rollout", "reference",
// "entropies"}, ...]}. results.json: a list of
// {"advantages", "d_logprob", "d_entropy": a list for each sequence, "loss"}.
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/yaml_reader.h"
#include "learner/rl_options.h"

namespace hone::learner {
namespace {

using nlohmann::json;

absl::StatusOr<RlOptions> OptionsOf(const json& test) {
  const std::string yaml = absl::StrCat(
      "name: parity\nmodel: {path: m}\ndatasets: {d: {sources: [{path: a}]}}\nstages:\n  - name: rl\n",
      "    rl: {dataset: d, steps: 1, rewards: [{format: {}}, {arithmetic: {}}], optimizer: {learning_rate: 1},\n",
      "      sampling: {max_new_tokens: ", test.at("max_new_tokens").get<int>(), "},\n      algorithm: {",
      test.at("algorithm").get<std::string>(), "}}\n");
  HONE_ASSIGN_OR_RETURN(const v1::RunSpec spec, ParseRunYaml(yaml, "case"));
  HONE_ASSIGN_OR_RETURN(const v1::RunSpec resolved, ResolveRunSpec(spec));
  return MakeRlOptions(resolved.stages(0).rl());
}

std::vector<float> Floats(const json& sequence, const char* key) { return sequence.at(key).get<std::vector<float>>(); }

std::vector<OutcomeSample> OutcomesOf(const json& sequences, const RlOptions& options) {
  std::vector<OutcomeSample> outcomes;
  for (const json& sequence : sequences) {
    OutcomeSample outcome{.group = sequence.at("group").get<int32_t>(), .in_loss = sequence.at("in_loss").get<bool>()};
    if (!sequence.at("reward").is_null()) outcome.reward = sequence.at("reward").get<double>();
    const std::vector<float> old = Floats(sequence, "old"), reference = Floats(sequence, "reference");
    outcome.tokens = static_cast<int64_t>(old.size());
    for (size_t t = 0; t < old.size() && options.kl_in_reward(); ++t) {
      outcome.penalties.push_back(options.objective.kl_coefficient *
                                  EstimateKl(options.objective.kl_estimator, old[t], reference[t]).value);
    }
    for (const json& step : sequence.at("steps")) {
      outcome.steps.push_back({.token = step[0].get<int64_t>(), .reward = step[1].get<double>()});
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

absl::StatusOr<json> Compute(const json& test) {
  HONE_ASSIGN_OR_RETURN(const RlOptions options, OptionsOf(test));
  const json& sequences = test.at("sequences");
  const auto advantages =
      EstimateAdvantages(OutcomesOf(sequences, options), {.advantage = options.advantage,
                                                          .kl_placement = options.objective.kl_placement,
                                                          .discount = options.discount,
                                                          .process = options.process});
  LossExtent extent{.max_new_tokens = options.max_new_tokens};
  for (const json& sequence : sequences) {
    const size_t tokens = sequence.at("logprobs").size();
    if (!sequence.at("in_loss").get<bool>() || tokens == 0) continue;
    ++extent.sequences;
    extent.tokens += static_cast<int64_t>(tokens);
  }
  LossTotals totals;
  json d_logprobs = json::array(), d_entropies = json::array();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<float> logprobs = Floats(sequences[i], "logprobs"), old = Floats(sequences[i], "old"),
                             rollout = Floats(sequences[i], "rollout"), reference = Floats(sequences[i], "reference"),
                             entropies = Floats(sequences[i], "entropies");
    std::vector<float> d_logprob(logprobs.size()), d_entropy(logprobs.size());
    if (sequences[i].at("in_loss").get<bool>()) {
      SequenceTokens tokens{.logprobs = logprobs,
                            .old_logprobs = options.rollout_is_old_policy ? rollout : old,
                            .rollout_logprobs = rollout,
                            .entropies = entropies,
                            .advantages = advantages[i]};
      if (options.has_reference()) tokens.reference_logprobs = reference;
      SequenceLoss(options.objective, extent, tokens, d_logprob, d_entropy, &totals);
    }
    d_logprobs.push_back(d_logprob);
    d_entropies.push_back(d_entropy);
  }
  const double loss = totals.policy_loss + options.objective.kl_coefficient * totals.kl_loss -
                      options.objective.entropy_coefficient * totals.entropy;
  return json{{"advantages", advantages}, {"d_logprob", d_logprobs}, {"d_entropy", d_entropies}, {"loss", loss}};
}

absl::Status Run(const std::string& cases_path, const std::string& results_path) {
  HONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(cases_path));
  json results = json::array();
  for (const json& test : json::parse(text)) {
    absl::StatusOr<json> result = Compute(test);
    if (!result.ok()) return Annotate(result.status(), test.at("algorithm").get<std::string>());
    results.push_back(*std::move(result));
  }
  return WriteFileAtomic(results_path, results.dump());
}

}  // namespace
}  // namespace hone::learner

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: algorithm_tool cases.json results.json\n";
    return 2;
  }
  const absl::Status status = hone::learner::Run(argv[1], argv[2]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
