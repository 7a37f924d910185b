#include <limits>

#include "kernels/math.h"
#include "kernels/reference/reference.h"
#include "kernels/testing.h"

namespace hone::kernels {
namespace {

using testing::kEpsilon;
using testing::Near;
using testing::Normal;
using testing::SameBits;

using LogProbTest = testing::OnEveryPath;

std::vector<int32_t> Targets(int64_t rows, int64_t vocab) {
  std::vector<int32_t> targets(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r)
    targets[static_cast<size_t>(r)] = r % 5 == 4 ? -1 : static_cast<int32_t>((r * 7919) % vocab);
  return targets;
}

TEST_P(LogProbTest, MatchesTheReference) {
  for (int64_t vocab : {1, 2, 15, 54, 1024, 1025, 5000}) {
    for (float temperature : {1.0f, 0.7f, 2.5f}) {
      const int64_t rows = 13, ld = vocab + 2;
      const auto logits = Normal(1, rows * ld, 5.0f);
      const auto targets = Targets(rows, vocab);
      std::vector<float> lp(rows), h(rows), z(rows), elp(rows), eh(rows), ez(rows);
      LogProb(*Context(), logits.data(), ld, rows, vocab, temperature, targets.data(), lp.data(), h.data(), z.data());
      reference::LogProb(logits.data(), ld, rows, vocab, temperature, targets.data(), elp.data(), eh.data(), ez.data());
      // x/T is rounded twice (values up to 25 / T), sums of up to 64 vectors per tile.
      const double absolute = kEpsilon * (2 * 25 / temperature + 80);
      EXPECT_TRUE(Near(lp, elp, absolute, 2 * kEpsilon));
      EXPECT_TRUE(Near(h, eh, 4 * absolute, 80 * kEpsilon));
      EXPECT_TRUE(Near(z, ez, absolute, 2 * kEpsilon));
    }
  }
}

TEST_P(LogProbTest, ARowAloneEqualsItselfInTheBatchForAnyThreadCount) {
  const int64_t rows = 70, vocab = 3000;
  const auto logits = Normal(1, rows * vocab, 3.0f);
  const auto targets = Targets(rows, vocab);
  std::vector<float> alone(rows);
  for (int64_t r = 0; r < rows; ++r) {
    LogProb(*Context(1), logits.data() + r * vocab, vocab, 1, vocab, 0.9f, &targets[static_cast<size_t>(r)],
            &alone[static_cast<size_t>(r)], nullptr, nullptr);
  }
  for (int threads : {1, 2, 3}) {
    std::vector<float> lp(rows), h(rows);
    LogProb(*Context(threads), logits.data(), vocab, rows, vocab, 0.9f, targets.data(), lp.data(), h.data(), nullptr);
    EXPECT_TRUE(SameBits(lp, alone));
  }
}

TEST_P(LogProbTest, BannedAndExtremeLogits) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const int64_t vocab = 2100;
  std::vector<float> logits(vocab, -inf);  // the middle tile has no mass at all
  logits[3] = 1.0f;
  logits[2099] = 1.0f;
  int32_t target = 3;
  float lp, h, z;
  LogProb(*Context(), logits.data(), vocab, 1, vocab, 1.0f, &target, &lp, &h, &z);
  EXPECT_FLOAT_EQ(lp, -static_cast<float>(Log(2.0)));
  EXPECT_FLOAT_EQ(h, static_cast<float>(Log(2.0)));
  const float one = 1.0f, half = 0.5f;
  auto gradient = logits;
  LogProbBackward(*Context(), gradient.data(), vocab, 1, vocab, 1.0f, &target, &z, &h, &one, &half);
  for (int64_t j = 0; j < vocab; ++j)
    EXPECT_NEAR(gradient[static_cast<size_t>(j)], j == 3 ? 0.5 : j == 2099 ? -0.5 : 0.0, 1e-6);
  logits[1500] = nan;
  LogProb(*Context(), logits.data(), vocab, 1, vocab, 1.0f, &target, &lp, nullptr, nullptr);
  EXPECT_TRUE(std::isnan(lp));
  logits[1500] = 300.0f;  // far above the rest: e^-299 is 0
  LogProb(*Context(), logits.data(), vocab, 1, vocab, 1.0f, &target, &lp, &h, nullptr);
  EXPECT_FLOAT_EQ(lp, -299.0f);
  EXPECT_FLOAT_EQ(h, 0.0f);
}

TEST_P(LogProbTest, BackwardMatchesTheReference) {
  for (int64_t vocab : {1, 17, 54, 1025, 3000}) {
    for (bool with_entropy : {false, true}) {
      const int64_t rows = 23, ld = vocab + 1;
      auto x = Normal(1, rows * ld, 3.0f), expected = x;
      const auto targets = Targets(rows, vocab);
      const auto dlp = Normal(2, rows), dh = Normal(3, rows);
      std::vector<float> h(rows), z(rows);
      auto ctx = Context();
      LogProb(*ctx, x.data(), ld, rows, vocab, 0.8f, targets.data(), nullptr, h.data(), z.data());
      LogProbBackward(*ctx, x.data(), ld, rows, vocab, 0.8f, targets.data(), z.data(), h.data(), dlp.data(),
                      with_entropy ? dh.data() : nullptr);
      reference::LogProbBackward(expected.data(), ld, rows, vocab, 0.8f, targets.data(), dlp.data(),
                                 with_entropy ? dh.data() : nullptr);
      // p is off by the error of x/T - z (40 epsilon relative); the entropy's term multiplies by up to |log p + H| of
      // about 25.
      EXPECT_TRUE(Near(x, expected, (with_entropy ? 1000 : 200) * kEpsilon, 200 * kEpsilon, ld));
    }
  }
}

TEST_P(LogProbTest, GradientIsTheSlope) {
  const int64_t vocab = 9;
  const int32_t target = 4;
  const auto logits = Normal(5, vocab);
  const float dlp = 1.0f, dh = 0.3f;
  auto loss = [&](const std::vector<float>& x) {
    float lp, h, z;
    reference::LogProb(x.data(), vocab, 1, vocab, 0.6f, &target, &lp, &h, &z);
    return double{dlp} * lp + double{dh} * h;
  };
  float h, z;
  auto x = logits;
  auto ctx = Context();
  LogProb(*ctx, x.data(), vocab, 1, vocab, 0.6f, &target, nullptr, &h, &z);
  LogProbBackward(*ctx, x.data(), vocab, 1, vocab, 0.6f, &target, &z, &h, &dlp, &dh);
  for (size_t i = 0; i < 9; ++i) {
    auto up = logits, down = logits;
    up[i] += 0x1p-7f;
    down[i] -= 0x1p-7f;
    EXPECT_NEAR(x[i], (loss(up) - loss(down)) * 0x1p6, 1e-4);
  }
}

HONE_ON_EVERY_PATH(LogProbTest);

}  // namespace
}  // namespace hone::kernels
