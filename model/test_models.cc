#include "model/test_models.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "kernels/random.h"

namespace hone::model {
namespace {

using Rows = std::vector<std::vector<double>>;

class Reference {
 public:
  Reference(const ModelConfig& config, const std::vector<double>& parameters)
      : config_(config), layout_(config), parameters_(parameters) {}

  // masked(layer, j): no later row attends to row j there.
  using Masked = std::function<bool(int layer, size_t j)>;

  Rows Hidden(const std::vector<int32_t>& tokens, const Masked& masked) const {
    Rows x;
    const double* table = Parameter("model.embed_tokens.weight");
    for (int32_t token : tokens) {
      x.emplace_back(table + int64_t{token} * config_.hidden_size, table + (int64_t{token} + 1) * config_.hidden_size);
    }
    for (int layer = 0; layer < config_.layers; ++layer) {
      Layer(
          absl::StrCat("model.layers.", layer, "."), [&](size_t j) { return masked(layer, j); }, &x);
    }
    for (auto& row : x) row = Norm(row.data(), config_.hidden_size, Parameter("model.norm.weight"));
    return x;
  }

  std::vector<double> Logits(const std::vector<double>& hidden) const {
    return Project(hidden, config_.tied_embeddings ? "model.embed_tokens" : "lm_head", config_.vocab_size);
  }

 private:
  const double* Parameter(const std::string& name) const {
    const ParameterInfo* entry = layout_.Find(name);
    return entry == nullptr ? nullptr : parameters_.data() + entry->offset;
  }

  std::vector<double> Project(const std::vector<double>& x, const std::string& name, int64_t n) const {
    const double* w = Parameter(name + ".weight");
    const double* bias = Parameter(name + ".bias");
    std::vector<double> y(n);
    for (int64_t j = 0; j < n; ++j) {
      for (size_t k = 0; k < x.size(); ++k) y[j] += x[k] * w[j * x.size() + k];
      if (bias != nullptr) y[j] += bias[j];
    }
    return y;
  }

  std::vector<double> Norm(const double* x, int64_t d, const double* w) const {
    double sum = 0.0;
    for (int64_t i = 0; i < d; ++i) sum += x[i] * x[i];
    const double inverse = 1.0 / std::sqrt(sum / d + config_.rms_epsilon);
    std::vector<double> y(d);
    for (int64_t i = 0; i < d; ++i) y[i] = x[i] * inverse * w[i];
    return y;
  }

  // Norm (where the model has it) and rotation of every head of a row.
  void Heads(std::vector<double>* row, const double* norm, int64_t position) const {
    const int64_t e = config_.head_dim, half = e / 2;
    for (size_t begin = 0; begin < row->size(); begin += e) {
      double* x = row->data() + begin;
      if (norm != nullptr) {
        const std::vector<double> normed = Norm(x, e, norm);
        std::copy(normed.begin(), normed.end(), x);
      }
      for (int64_t i = 0; i < half; ++i) {
        const double angle = position * std::pow(config_.rope_theta, -2.0 * i / e);
        const double a = x[i], b = x[i + half];
        x[i] = a * std::cos(angle) - b * std::sin(angle);
        x[i + half] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  std::vector<double> Attend(const std::vector<double>& q, const Rows& k, const Rows& v, size_t position,
                             const std::function<bool(size_t)>& masked) const {
    const int64_t e = config_.head_dim, group = config_.heads / config_.kv_heads;
    std::vector<double> out(q.size());
    for (int64_t h = 0; h < config_.heads; ++h) {
      const int64_t kv = h / group * e;
      std::vector<double> p(position + 1);
      double largest = -1e300, sum = 0.0;
      for (size_t j = 0; j <= position; ++j) {
        for (int64_t i = 0; i < e; ++i) p[j] += q[h * e + i] * k[j][kv + i];
        p[j] /= std::sqrt(static_cast<double>(e));
        largest = std::max(largest, p[j]);
      }
      for (size_t j = 0; j <= position; ++j) {
        sum += p[j] = j < position && masked(j) ? 0.0 : std::exp(p[j] - largest);
      }
      for (size_t j = 0; j <= position; ++j) {
        for (int64_t i = 0; i < e; ++i) out[h * e + i] += p[j] / sum * v[j][kv + i];
      }
    }
    return out;
  }

  void Layer(const std::string& prefix, const std::function<bool(size_t)>& masked, Rows* x) const {
    const int64_t d = config_.hidden_size, q_width = int64_t{config_.heads} * config_.head_dim;
    const int64_t kv_width = int64_t{config_.kv_heads} * config_.head_dim;
    Rows q, k, v;
    for (size_t t = 0; t < x->size(); ++t) {
      const std::vector<double> normed = Norm((*x)[t].data(), d, Parameter(prefix + "input_layernorm.weight"));
      q.push_back(Project(normed, prefix + "self_attn.q_proj", q_width));
      k.push_back(Project(normed, prefix + "self_attn.k_proj", kv_width));
      v.push_back(Project(normed, prefix + "self_attn.v_proj", kv_width));
      Heads(&q.back(), Parameter(prefix + "self_attn.q_norm.weight"), t);
      Heads(&k.back(), Parameter(prefix + "self_attn.k_norm.weight"), t);
    }
    for (size_t t = 0; t < x->size(); ++t) {
      std::vector<double>& row = (*x)[t];
      Add(Project(Attend(q[t], k, v, t, masked), prefix + "self_attn.o_proj", d), &row);
      const std::vector<double> normed = Norm(row.data(), d, Parameter(prefix + "post_attention_layernorm.weight"));
      std::vector<double> gate = Project(normed, prefix + "mlp.gate_proj", config_.ffn_size);
      const std::vector<double> up = Project(normed, prefix + "mlp.up_proj", config_.ffn_size);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
      Add(Project(gate, prefix + "mlp.down_proj", d), &row);
    }
  }

  static void Add(const std::vector<double>& from, std::vector<double>* to) {
    for (size_t i = 0; i < from.size(); ++i) (*to)[i] += from[i];
  }

  const ModelConfig& config_;
  const ParameterLayout layout_;
  const std::vector<double>& parameters_;
};

}  // namespace

std::vector<NamedConfig> TinyConfigs(int hidden, int heads, int kv_heads, int head_dim, int ffn, int vocab,
                                     int layers) {
  ModelConfig base;
  base.hidden_size = hidden;
  base.heads = heads;
  base.kv_heads = kv_heads;
  base.head_dim = head_dim;
  base.ffn_size = ffn;
  base.vocab_size = vocab;
  base.layers = layers;
  base.max_positions = 512;
  ModelConfig llama = base;
  llama.tied_embeddings = true;
  ModelConfig biased = base;
  biased.qkv_bias = biased.output_bias = biased.mlp_bias = true;
  ModelConfig qwen2 = base;
  qwen2.family = Family::kQwen2;
  qwen2.qkv_bias = true;
  ModelConfig qwen3 = base;
  qwen3.family = Family::kQwen3;
  qwen3.qk_norm = true;
  qwen3.tied_embeddings = true;
  return {{"llama", llama}, {"llama_biased", biased}, {"qwen2", qwen2}, {"qwen3", qwen3}};
}

FlatTensor LivelyParameters(const ModelConfig& config, uint64_t seed) {
  FlatTensor parameters = RandomParameters(config, seed);
  std::vector<float> noise(parameters.size());
  kernels::NormalDraws(kernels::StreamKey(seed, "lively"), noise.size(), noise.data());
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i] += 0.2f * noise[i];
  return parameters;
}

std::vector<int32_t> RandomTokens(std::mt19937* random, int count, int vocab) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>((*random)() % static_cast<uint32_t>(vocab));
  return tokens;
}

PackedSequences Pack(const std::vector<std::vector<int32_t>>& sequences, int unpredicted) {
  PackedSequences packed;
  packed.starts.push_back(0);
  for (const std::vector<int32_t>& sequence : sequences) {
    for (size_t i = 0; i < sequence.size(); ++i) {
      packed.tokens.push_back(sequence[i]);
      const bool predicts = i + 1 < sequence.size() && static_cast<int>(i) >= unpredicted;
      packed.targets.push_back(predicts ? sequence[i + 1] : -1);
    }
    packed.starts.push_back(static_cast<int64_t>(packed.tokens.size()));
  }
  return packed;
}

Predictions ReferencePredict(const ModelConfig& config, const std::vector<double>& parameters,
                             const PackedSequences& batch, double temperature) {
  const Reference reference(config, parameters);
  Predictions out;
  for (size_t s = 0; s + 1 < batch.starts.size(); ++s) {
    const Rows hidden = reference.Hidden(
        std::vector<int32_t>(batch.tokens.begin() + batch.starts[s], batch.tokens.begin() + batch.starts[s + 1]),
        [&](int layer, size_t j) {
          return !batch.masked_keys.empty() &&
                 batch.masked_keys[layer * batch.tokens.size() + batch.starts[s] + j] != 0;
        });
    for (int64_t t = batch.starts[s]; t < batch.starts[s + 1]; ++t) {
      if (batch.targets[t] < 0) continue;
      std::vector<double> logits = reference.Logits(hidden[t - batch.starts[s]]);
      double largest = -1e300, sum = 0.0, mean = 0.0;
      for (double& logit : logits) largest = std::max(largest, logit /= temperature);
      for (double logit : logits) {
        sum += std::exp(logit - largest);
        mean += std::exp(logit - largest) * (logit - largest);
      }
      out.logprobs.push_back(logits[batch.targets[t]] - largest - std::log(sum));
      out.entropies.push_back(std::log(sum) - mean / sum);
    }
  }
  return out;
}

}  // namespace hone::model
