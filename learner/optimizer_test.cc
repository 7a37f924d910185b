#include "learner/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "kernels/random.h"
#include "learner/testing/tiny_world.h"

namespace hone::learner {
namespace {

model::FlatTensor Constant(size_t size, float value) {
  model::FlatTensor tensor(size);
  std::fill_n(tensor.data(), size, value);
  return tensor;
}

model::FlatTensor ValuesOf(const Moments& stored, kernels::Moment moment) {
  Moments copy;
  copy.CopyFrom(stored);
  return learner::ValuesOf(copy, moment);
}
model::FlatTensor FirstOf(const AdamW& optimizer) {
  return ValuesOf(optimizer.first_moment(), kernels::Moment::kFirst);
}
model::FlatTensor SecondOf(const AdamW& optimizer) {
  return ValuesOf(optimizer.second_moment(), kernels::Moment::kSecond);
}

class OptimizerTest : public testing::Test {
 protected:
  const model::ModelConfig config_ = TinyConfig();
  const size_t size_ = static_cast<size_t>(model::ParameterLayout(config_).total_size());
  const std::unique_ptr<kernels::KernelContext> kernels_ = kernels::KernelContext::Create(2);
  OptimizerOptions options_{.schedule = {.peak = 0.01}, .max_grad_norm = 0};
};

TEST_F(OptimizerTest, FirstStepMovesByTheLearningRateAgainstTheSign) {
  AdamW optimizer(*kernels_, config_, options_);
  model::FlatTensor masters = Constant(size_, 1), gradients = Constant(size_, 0.5f);
  gradients[3] = -0.5f;
  const AdamW::StepResult result = optimizer.Step(1, gradients, &masters);
  EXPECT_TRUE(result.applied);
  EXPECT_NEAR(result.gradient_norm, 0.5 * std::sqrt(static_cast<double>(size_)), 1e-6);
  EXPECT_NEAR(masters[0], 0.99, 1e-6);  // m / c1 = g, sqrt(v / c2) = |g|
  EXPECT_NEAR(masters[3], 1.01, 1e-6);
  EXPECT_EQ(optimizer.updates(), 1);
}

TEST_F(OptimizerTest, DecayAppliesToMatricesAlone) {
  options_.weight_decay = 0.1;
  AdamW optimizer(*kernels_, config_, options_);
  model::FlatTensor masters = Constant(size_, 1), gradients = Constant(size_, 0);
  EXPECT_TRUE(optimizer.Step(1, gradients, &masters).applied);
  int decayed = 0, kept = 0;
  for (const model::ParameterInfo& parameter : model::ParameterLayout(config_).entries()) {
    for (int64_t i = 0; i < parameter.size; ++i) {
      EXPECT_FLOAT_EQ(masters[static_cast<size_t>(parameter.offset + i)], parameter.decays ? 0.999f : 1.0f)
          << parameter.name;
    }
    ++(parameter.decays ? decayed : kept);
  }
  EXPECT_GT(decayed, 0);
  EXPECT_GT(kept, 0);
}

TEST_F(OptimizerTest, ClippingScalesTheGradientAndReportsTheNormBefore) {
  options_.max_grad_norm = 1;
  AdamW clipped(*kernels_, config_, options_);
  model::FlatTensor masters = Constant(size_, 1), gradients = Constant(size_, 3);
  const double norm = 3 * std::sqrt(static_cast<double>(size_));
  EXPECT_NEAR(clipped.Step(1, gradients, &masters).gradient_norm, norm, 1e-5);
  EXPECT_NEAR(FirstOf(clipped)[0], 0.1 * 3 / norm, 1e-7);
  options_.max_grad_norm = 1e9;
  AdamW free(*kernels_, config_, options_);
  free.Step(1, gradients, &masters);
  EXPECT_NEAR(FirstOf(free)[0], 0.3, 1e-6);
}

TEST_F(OptimizerTest, NonFiniteGradientsAreSkippedAndCounted) {
  AdamW optimizer(*kernels_, config_, options_);
  model::FlatTensor masters = Constant(size_, 1);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    model::FlatTensor gradients = Constant(size_, 1);
    gradients[size_ / 2] = bad;
    EXPECT_FALSE(optimizer.Step(1, gradients, &masters).applied);
  }
  EXPECT_EQ(optimizer.skipped(), 2);
  EXPECT_EQ(optimizer.updates(), 0);
  const model::FlatTensor first = FirstOf(optimizer), second = SecondOf(optimizer);
  for (size_t i = 0; i < size_; ++i) {
    ASSERT_EQ(masters[i], 1.0f);
    ASSERT_EQ(first[i], 0.0f);
    ASSERT_EQ(second[i], 0.0f);
  }
}

TEST_F(OptimizerTest, RestoredStateGoesOnBitForBit) {
  for (const auto format : {kernels::MomentFormat::kF32, kernels::MomentFormat::kBf16, kernels::MomentFormat::kF8}) {
    options_.moments = format;
    model::FlatTensor masters = model::RandomParameters(config_, 1), again = model::RandomParameters(config_, 1);
    const model::FlatTensor gradients = model::RandomParameters(config_, 2);
    AdamW straight(*kernels_, config_, options_), first(*kernels_, config_, options_),
        second(*kernels_, config_, options_);
    for (int step = 1; step <= 4; ++step) straight.Step(step, gradients, &masters);
    for (int step = 1; step <= 2; ++step) first.Step(step, gradients, &again);
    Moments m, v;
    m.CopyFrom(first.first_moment());
    v.CopyFrom(first.second_moment());
    second.Restore(std::move(m), std::move(v), first.updates(), first.skipped());
    for (int step = 3; step <= 4; ++step) second.Step(step, gradients, &again);
    EXPECT_EQ(model::RootHash(config_, masters), model::RootHash(config_, again));
  }
}

// Least squares with noise in every gradient: with moments in few bits it comes as close as with fp32 ones, also where
// beta2 moves the second moment by less than half of a last bit a step.
TEST_F(OptimizerTest, NarrowMomentsFindTheSameMinimum) {
  const auto distance_after = [&](kernels::MomentFormat format) {
    OptimizerOptions options{
        .schedule = {.kind = ScheduleKind::kLinear, .peak = 0.03, .total_steps = 600, .final_ratio = 0.02},
        .beta2 = 0.999,
        .max_grad_norm = 0,
        .moments = format};
    AdamW optimizer(*kernels_, config_, options);
    model::FlatTensor target = Constant(size_, 0), masters = Constant(size_, 0), gradients = Constant(size_, 0);
    kernels::NormalDraws(1, static_cast<int64_t>(size_), target.data());
    std::vector<float> noise(size_);
    double distance = 0;
    for (int step = 1; step <= 600; ++step) {
      kernels::NormalDraws(uint64_t{100} + static_cast<uint64_t>(step), static_cast<int64_t>(size_), noise.data());
      distance = 0;
      for (size_t i = 0; i < size_; ++i) {
        const double error = double{masters[i]} - target[i];
        distance += error * error;
        // Slopes from 1 to 1e-3, as in a real model.
        const float slope = std::pow(10.0f, -3.0f * static_cast<float>(i % 97) / 96);
        gradients[i] = slope * (static_cast<float>(error) + 0.1f * noise[i]);
      }
      optimizer.Step(step, gradients, &masters);
    }
    return std::sqrt(distance / static_cast<double>(size_));
  };
  const double full = distance_after(kernels::MomentFormat::kF32);
  EXPECT_LT(full, 0.02);  // the start is 1 away
  EXPECT_LT(distance_after(kernels::MomentFormat::kBf16), 1.1 * full);
  EXPECT_LT(distance_after(kernels::MomentFormat::kF8), 1.3 * full);
}

TEST_F(OptimizerTest, NarrowMomentsTakeWhatIsPlanned) {
  const int64_t size = static_cast<int64_t>(size_);
  EXPECT_EQ(Moments::Bytes(config_, kernels::MomentFormat::kF32), 4 * size);
  EXPECT_EQ(Moments::Bytes(config_, kernels::MomentFormat::kBf16), 2 * size);
  EXPECT_GE(Moments::Bytes(config_, kernels::MomentFormat::kF8), size + 4 * (size / 256));
  EXPECT_LT(Moments::Bytes(config_, kernels::MomentFormat::kF8), 2 * size);
}

}  // namespace
}  // namespace hone::learner
