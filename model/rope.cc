#include "model/rope.h"

#include <algorithm>
#include <cmath>

#include "kernels/math.h"

namespace hone::model {
namespace {

constexpr double kPi = 3.14159265358979323846;

// Llama 3.1: long waves are stretched by the factor, short ones kept, those between interpolated.
float ScaleLlama3(const ModelConfig& config, float frequency) {
  const double original = config.rope_original_positions;
  const double wavelength = 2.0 * kPi / frequency;
  if (wavelength < original / config.rope_high_freq_factor) return frequency;
  if (wavelength > original / config.rope_low_freq_factor) {
    return static_cast<float>(frequency / config.rope_factor);
  }
  const double smooth = (original / wavelength - config.rope_low_freq_factor) /
                        (config.rope_high_freq_factor - config.rope_low_freq_factor);
  return static_cast<float>((1.0 - smooth) * frequency / config.rope_factor + smooth * frequency);
}

// The (fractional) dimension whose wave makes `rotations` turns within the original context (YaRN, arXiv:2309.00071).
double YarnDimension(const ModelConfig& config, double rotations) {
  return config.head_dim * kernels::Log(config.rope_original_positions / (rotations * 2.0 * kPi)) /
         (2.0 * kernels::Log(config.rope_theta));
}

// YaRN: waves with many turns are kept, those with few are interpolated, a linear ramp over the dimensions between.
void ScaleYarn(const ModelConfig& config, std::vector<float>* frequencies) {
  const double low = std::max(std::floor(YarnDimension(config, config.rope_beta_fast)), 0.0);
  double high = std::min(std::ceil(YarnDimension(config, config.rope_beta_slow)), config.head_dim - 1.0);
  if (high == low) high += 0.001;  // as transformers does: no division by zero
  for (size_t i = 0; i < frequencies->size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double frequency = (*frequencies)[i];
    (*frequencies)[i] = static_cast<float>(frequency / config.rope_factor * ramp + frequency * (1.0 - ramp));
  }
}

}  // namespace

std::vector<float> RopeInverseFrequencies(const ModelConfig& config) {
  std::vector<float> frequencies(config.head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    frequencies[i] = 1.0f / static_cast<float>(kernels::Pow(config.rope_theta, exponent));
  }
  switch (config.rope_scaling) {
    case RopeScaling::kNone:
    case RopeScaling::kDynamicNtk:
      break;
    case RopeScaling::kLinear:
      for (float& frequency : frequencies) frequency /= static_cast<float>(config.rope_factor);
      break;
    case RopeScaling::kYarn:
      ScaleYarn(config, &frequencies);
      break;
    case RopeScaling::kLlama3:
      for (float& frequency : frequencies) frequency = ScaleLlama3(config, frequency);
      break;
  }
  return frequencies;
}

double RopeAttentionFactor(const ModelConfig& config) {
  if (config.rope_scaling != RopeScaling::kYarn) return 1.0;
  if (config.rope_attention_factor != 0.0) return config.rope_attention_factor;
  return config.rope_factor <= 1.0 ? 1.0 : 0.1 * kernels::Log(config.rope_factor) + 1.0;
}

RopeTables::RopeTables(kernels::ThreadPool& pool, const ModelConfig& config) {
  const std::vector<float> frequencies = RopeInverseFrequencies(config);
  const double factor = RopeAttentionFactor(config);
  const size_t half = frequencies.size();
  cos_.Resize(config.max_positions * half);
  sin_.Resize(config.max_positions * half);
  pool.ParallelFor(config.max_positions, 256, [&](int64_t begin, int64_t end) {
    for (int64_t position = begin; position < end; ++position) {
      for (size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(position) * frequencies[i];
        cos_[position * half + i] = static_cast<float>(kernels::Cos(angle) * factor);
        sin_[position * half + i] = static_cast<float>(kernels::Sin(angle) * factor);
      }
    }
  });
}

}  // namespace hone::model
