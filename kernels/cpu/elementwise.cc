// AddInPlace, SumOfSquares, AdamW and the bf16 casts: memory-bound walks over long arrays.
#include <cmath>

#include "kernels/cpu/context.h"

namespace hone::kernels {
namespace {

constexpr int64_t kGrain = 32768;  // elements per chunk: 128 KiB, well above the cost of handing it out
constexpr int64_t kSquaresBlock =
    4096;  // elements summed on their own before the blocks are added: part of the contract

}  // namespace

void AddInPlace(const KernelContext& ctx, const float* x, int64_t n, float* y) {
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) { table.add(x + begin, end - begin, y + begin); });
}

double SumOfSquares(const KernelContext& ctx, const float* x, int64_t n) {
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  const int64_t blocks = cpu::CeilDiv(n, kSquaresBlock);
  auto* partial = reinterpret_cast<double*>(cpu::Scratch(cpu::ScratchUse::kPartials, static_cast<size_t>(2 * blocks)));
  ctx.pool().ParallelFor(blocks, kGrain / kSquaresBlock, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      partial[b] = table.sum_of_squares(x + b * kSquaresBlock, std::min(kSquaresBlock, n - b * kSquaresBlock));
    }
  });
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += partial[b];
  return sum;
}

cpu::AdamWStep cpu::MakeAdamWStep(const AdamWParams& params) {
  AdamWStep step;
  step.gradient_scale = params.gradient_scale;
  step.beta1 = params.beta1;
  step.one_minus_beta1 = static_cast<float>(1.0 - static_cast<double>(params.beta1));
  step.beta2 = params.beta2;
  step.one_minus_beta2 = static_cast<float>(1.0 - static_cast<double>(params.beta2));
  step.decay = static_cast<float>(1.0 - static_cast<double>(params.learning_rate) * params.weight_decay);
  step.step_size = static_cast<float>(params.learning_rate / params.bias_correction1);
  step.inverse_sqrt_correction2 = static_cast<float>(1.0 / std::sqrt(params.bias_correction2));
  step.epsilon = params.epsilon;
  return step;
}

void AdamW(const KernelContext& ctx, const AdamWParams& params, int64_t n, const float* gradient, float* weight,
           float* m, float* v) {
  const cpu::AdamWStep step = cpu::MakeAdamWStep(params);
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    table.adamw(step, end - begin, gradient + begin, weight + begin, m + begin, v + begin);
  });
}

void RoundToBf16(const KernelContext& ctx, const float* x, int64_t n, uint16_t* y) {
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(n, kGrain,
                         [&](int64_t begin, int64_t end) { table.round_to_bf16(x + begin, end - begin, y + begin); });
}

void ExpandBf16(const KernelContext& ctx, const uint16_t* x, int64_t n, float* y) {
  const cpu::KernelTable& table = cpu::TableOf(ctx);
  ctx.pool().ParallelFor(n, kGrain,
                         [&](int64_t begin, int64_t end) { table.expand_bf16(x + begin, end - begin, y + begin); });
}

}  // namespace hone::kernels
