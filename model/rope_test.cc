#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/model.h"

namespace hone::model {
namespace {

ModelConfig SmallConfig(RopeScaling scaling) {
  ModelConfig config;
  config.head_dim = 16;
  config.max_positions = 256;
  config.rope_scaling = scaling;
  config.rope_original_positions = 64;
  return config;
}

struct Case {
  const char* name;
  ModelConfig config;
  std::vector<float> frequencies;  // as transformers 5.23 computes them
  double attention_factor;
  std::vector<float> cos_200, sin_200;  // at position 200
};

std::vector<Case> Cases() {
  ModelConfig none = SmallConfig(RopeScaling::kNone), linear = SmallConfig(RopeScaling::kLinear);
  ModelConfig yarn = SmallConfig(RopeScaling::kYarn), llama3 = SmallConfig(RopeScaling::kLlama3);
  ModelConfig dynamic = SmallConfig(RopeScaling::kDynamicNtk);
  linear.rope_factor = yarn.rope_factor = 4.0;
  llama3.rope_factor = 8.0;
  llama3.rope_theta = 500000.0;
  dynamic.rope_factor = 2.0;
  const std::vector<float> plain = {1.0f,           0.316227764f,   0.100000001f,   0.0316227786f,
                                    0.00999999978f, 0.00316227786f, 0.00100000005f, 0.000316227786f};
  const std::vector<float> plain_cos = {0.487187684f,  0.915640116f, 0.408082068f, 0.999144375f,
                                        -0.416146845f, 0.806578398f, 0.980066597f, 0.998000681f};
  const std::vector<float> plain_sin = {-0.873297274f, 0.401999027f, 0.912945271f, 0.0413587652f,
                                        0.909297407f,  0.591127157f, 0.198669329f, 0.0632034019f};
  return {
      {"none", none, plain, 1.0, plain_cos, plain_sin},
      {"dynamic", dynamic, plain, 1.0, plain_cos, plain_sin},
      {"linear",
       linear,
       {0.25f, 0.079056941f, 0.0250000004f, 0.00790569466f, 0.00249999994f, 0.000790569466f, 0.000250000012f,
        7.90569466e-05f},
       1.0,
       {0.964966059f, -0.994656444f, 0.2836622f, -0.0103424573f, 0.87758255f, 0.987526f, 0.998750269f, 0.999875009f},
       {-0.262374848f, -0.10324046f, -0.958924294f, 0.999946535f, 0.47942555f, 0.157455906f, 0.0499791689f,
        0.0158107299f}},
      {"yarn",
       yarn,
       {1.0f, 0.237170815f, 0.049999997f, 0.00790569466f, 0.00249999994f, 0.000790569466f, 0.000250000012f,
        7.90569466e-05f},
       1.138629436111989,
       {0.554726243f, -1.08426046f, -0.955392122f, -0.0117762266f, 0.999241352f, 1.12442613f, 1.13720644f, 1.1384871f},
       {-0.994361997f, -0.347644031f, -0.619437516f, 1.13856852f, 0.545888066f, 0.179283932f, 0.0569077544f,
        0.0180025622f}},
      {"llama3",
       llama3,
       {1.0f, 0.079403013f, 0.00470075384f, 0.000911583134f, 0.000176776681f, 3.42810235e-05f, 6.64786967e-06f,
        1.28917316e-06f},
       1.0,
       {0.487187684f, -0.98513478f, 0.589666307f, 0.983426332f, 0.999375045f, 0.999976516f, 0.999999106f, 1.0f},
       {-0.873297274f, -0.171783268f, 0.80764699f, 0.181308299f, 0.0353479721f, 0.00685615139f, 0.00132957357f,
        0.000257834618f}},
  };
}

TEST(RopeTest, AgreesWithTransformers) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    kernels::ThreadPool pool(2);
    const RopeTables tables(pool, c.config);
    const std::vector<float> frequencies = RopeInverseFrequencies(c.config);
    ASSERT_EQ(frequencies.size(), 8u);
    EXPECT_NEAR(RopeAttentionFactor(c.config), c.attention_factor, 1e-12);
    for (int i = 0; i < 8; ++i) {
      // Two units in the last place: transformers rounds after each of three operations.
      EXPECT_NEAR(frequencies[i], c.frequencies[i], 2.4e-7f * c.frequencies[i]) << i;
      // An angle of up to 200 rounded to fp32 is off by 8e-6 at most; frequencies that differ by an ulp add as much
      // again.
      EXPECT_NEAR(tables.cos()[200 * 8 + i], c.cos_200[i], 4e-5f) << i;
      EXPECT_NEAR(tables.sin()[200 * 8 + i], c.sin_200[i], 4e-5f) << i;
    }
    EXPECT_EQ(tables.cos()[0], static_cast<float>(c.attention_factor));
    EXPECT_EQ(tables.sin()[0], 0.0f);
  }
}

TEST(RopeTest, AGivenAttentionFactorIsTaken) {
  ModelConfig config = SmallConfig(RopeScaling::kYarn);
  config.rope_factor = 4.0;
  config.rope_attention_factor = 1.5;
  EXPECT_EQ(RopeAttentionFactor(config), 1.5);
}

TEST(RopeTest, TablesAreTheSameForEveryThreadCount) {
  ModelConfig config = SmallConfig(RopeScaling::kNone);
  config.max_positions = 3000;
  kernels::ThreadPool one(1), three(3);
  const RopeTables a(one, config), b(three, config);
  for (int i = 0; i < 3000 * 8; ++i) {
    ASSERT_EQ(a.cos()[i], b.cos()[i]);
    ASSERT_EQ(a.sin()[i], b.sin()[i]);
    // Correct to fp32 against the C library, which serves as the judge here only.
    const int position = i / 8;
    const float angle = static_cast<float>(position) * RopeInverseFrequencies(config)[i % 8];
    ASSERT_NEAR(a.cos()[i], std::cos(static_cast<double>(angle)), 6e-8);
    ASSERT_NEAR(a.sin()[i], std::sin(static_cast<double>(angle)), 6e-8);
  }
}

}  // namespace
}  // namespace hone::model
