#include "learner/testing/fake_rollout.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "kernels/random.h"

namespace hone::learner {
namespace {

// log pi(tokens[i] | tokens[0, i)) for i in [first, size).
std::vector<float> DecodeLogprobs(const kernels::KernelContext& context, const model::ComputeWeights& weights,
                                  const std::vector<int32_t>& tokens, size_t first, float temperature) {
  const model::ModelConfig& config = weights.config();
  model::KvCache cache(config, weights.dtype(), kernels::kBlockTokens, 8);
  model::InferenceModel inference(context, weights);
  const std::vector<int32_t> pages = {3, 1, 4, 0, 5, 2, 7, 6};
  std::vector<float> hidden(static_cast<size_t>(config.hidden_size)), logits(static_cast<size_t>(config.vocab_size));
  std::vector<float> logprobs;
  size_t position = 0;
  while (logprobs.size() < tokens.size() - first) {
    // The prompt as one chunk, then token by token.
    const size_t count = position == 0 ? first : 1;
    const model::Chunk chunk{std::span<const int32_t>(tokens).subspan(position, count), static_cast<int32_t>(position),
                             pages.data()};
    const int64_t row = static_cast<int64_t>(count) - 1;
    inference.Forward(std::span(&chunk, 1), std::span(&row, 1), &cache, hidden.data());
    inference.Logits(hidden.data(), 1, logits.data());
    position += count;
    float logprob = 0;
    kernels::LogProb(context, logits.data(), config.vocab_size, 1, config.vocab_size, temperature, &tokens[position],
                     &logprob, nullptr, nullptr);
    logprobs.push_back(logprob);
  }
  return logprobs;
}

}  // namespace

std::vector<v1::Group> FakeRollout(const kernels::KernelContext& context, const model::ComputeWeights& weights,
                                   const FakeRolloutOptions& options) {
  const uint32_t vocab = static_cast<uint32_t>(weights.config().vocab_size);
  const uint64_t key = kernels::StreamKey(options.stream, "fake rollout");
  std::vector<v1::Group> groups;
  for (int g = 0; g < options.groups; ++g) {
    v1::Group& group = groups.emplace_back();
    group.set_group_id(static_cast<uint64_t>(g) + 1);
    group.set_prompt_id(absl::StrCat(g));
    group.set_state(v1::GROUP_STATE_COMPLETE);
    std::vector<int32_t> prompt;
    prompt.reserve(static_cast<size_t>(options.prompt_tokens) + 3);
    const int prompt_tokens = options.prompt_tokens > 0 ? options.prompt_tokens : 2 + g % 2;
    for (int i = 0; i < prompt_tokens; ++i) prompt.push_back(2 + (g * 5 + i) % static_cast<int>(vocab - 2));
    group.mutable_prompt_tokens()->Assign(prompt.begin(), prompt.end());
    for (int s = 0; s < options.group_size; ++s) {
      v1::Trajectory& trajectory = *group.add_trajectories();
      trajectory.set_sample_index(s);
      const auto draw = [&](uint32_t i) {
        return kernels::Philox4x32(key, {static_cast<uint32_t>(g), static_cast<uint32_t>(s), i, 0})[0];
      };
      std::vector<int32_t> tokens = prompt;
      const uint32_t length = 1 + draw(100) % 6;
      double reward = 0;
      for (uint32_t i = 0; i < length; ++i) {
        tokens.push_back(static_cast<int32_t>(draw(i) % vocab));
        trajectory.add_tokens(tokens.back());
        reward += tokens.back() < 20 ? 1 : 0;
      }
      for (const float logprob : DecodeLogprobs(context, weights, tokens, prompt.size(), options.temperature)) {
        trajectory.add_rollout_logprobs(logprob);
      }
      v1::SourceRun& source = *trajectory.add_sources();
      source.set_source(v1::TOKEN_SOURCE_SAMPLED);
      source.set_count(static_cast<int32_t>(length));
      v1::VersionSegment& segment = *trajectory.add_segments();
      segment.set_version(options.version);
      segment.set_root_hash(options.root_hash);
      segment.set_count(static_cast<int32_t>(length));
      trajectory.set_finish_reason(v1::FINISH_REASON_END_OF_SEQUENCE);
      trajectory.mutable_verdict()->set_state(v1::REWARD_STATE_SCORED);
      trajectory.mutable_verdict()->set_reward(reward);
    }
  }
  return groups;
}

}  // namespace hone::learner
