// Norms, SwiGLU, rotary embedding, embedding, element-wise ops and the optimizer against reference/.
#include <limits>

#include "kernels/bf16.h"
#include "kernels/math.h"
#include "kernels/reference/reference.h"
#include "kernels/testing.h"

namespace hone::kernels {
namespace {

using testing::kEpsilon;
using testing::Near;
using testing::Normal;
using testing::SameBits;

using RowsTest = testing::OnEveryPath;

TEST_P(RowsTest, RmsNormForwardAndBackward) {
  for (int64_t d : {1, 5, 16, 31, 32, 64, 100, 576}) {
    for (int64_t rows : {1, 3, 200}) {
      SCOPED_TRACE(::testing::Message() << "d " << d << " rows " << rows);
      const int64_t ldx = d + 3, ldy = d + 1;
      const auto x = Normal(1, rows * ldx), w = Normal(2, d), dy = Normal(3, rows * ldy);
      auto ctx = Context();
      std::vector<float> y(rows * ldy, 7.0f), inverse(rows), expected_y = y, expected_inverse(rows);
      RmsNorm(*ctx, x.data(), ldx, w.data(), 1e-5f, rows, d, y.data(), ldy, inverse.data());
      reference::RmsNorm(x.data(), ldx, w.data(), 1e-5f, rows, d, expected_y.data(), ldy, expected_inverse.data());
      // d squares each rounded and added: d / 2 + 4 roundings on the root.
      const double relative = kEpsilon * (0.5 * static_cast<double>(d) + 6);
      EXPECT_TRUE(Near(inverse, expected_inverse, 0, relative));
      EXPECT_TRUE(Near(y, expected_y, 0, relative + 3 * kEpsilon, ldy));
      for (bool accumulate : {false, true}) {
        auto dx = Normal(4, rows * ldx), dw = Normal(5, d), expected_dx = dx, expected_dw = dw;
        RmsNormBackward(*ctx, x.data(), ldx, w.data(), inverse.data(), dy.data(), ldy, rows, d, accumulate, dx.data(),
                        ldx, dw.data());
        reference::RmsNormBackward(x.data(), ldx, w.data(), inverse.data(), dy.data(), ldy, rows, d, accumulate,
                                   expected_dx.data(), ldx, expected_dw.data());
        // Values are normal: |g|, |x| below about 5, inverse up to 5 for tiny d; cancellation is bounded by the terms'
        // size.
        double largest = 1;
        for (float r : inverse) largest = std::max(largest, static_cast<double>(r));
        EXPECT_TRUE(Near(dx, expected_dx, kEpsilon * static_cast<double>(d + 8) * 16 * largest * largest * largest,
                         4 * kEpsilon, ldx));
        EXPECT_TRUE(Near(dw, expected_dw, kEpsilon * static_cast<double>(rows + 4) * 25 * largest, 0));
      }
    }
  }
}

TEST_P(RowsTest, RmsNormGradientIsTheSlopeOfTheNorm) {
  const int64_t d = 7;
  auto x = Normal(1, d), w = Normal(2, d), dy = Normal(3, d);
  auto loss = [&](const std::vector<float>& at) {  // in double, so that the difference quotient is good to 1e-6
    double squares = 0, sum = 0;
    for (float v : at) squares += double{v} * v;
    for (int64_t i = 0; i < d; ++i) sum += at[i] / std::sqrt(squares / d + 1e-5) * w[i] * dy[i];
    return sum;
  };
  auto ctx = Context();
  std::vector<float> y(d), inverse(1), dx(d), dw(d);
  RmsNorm(*ctx, x.data(), d, w.data(), 1e-5f, 1, d, y.data(), d, inverse.data());
  RmsNormBackward(*ctx, x.data(), d, w.data(), inverse.data(), dy.data(), d, 1, d, false, dx.data(), d, dw.data());
  for (int64_t i = 0; i < d; ++i) {
    auto up = x, down = x;
    up[i] += 0x1p-8f;
    down[i] -= 0x1p-8f;
    EXPECT_NEAR(dx[i], (loss(up) - loss(down)) * 0x1p7, 1e-4);
  }
}

TEST_P(RowsTest, RmsNormInPlaceAndForAnyNumberOfThreads) {
  const int64_t rows = 1000, d = 130;
  const auto x = Normal(1, rows * d), w = Normal(2, d), dy = Normal(3, rows * d);
  std::vector<float> y(rows * d), inverse(rows), first_dw, first_dx;
  RmsNorm(*Context(1), x.data(), d, w.data(), 1e-5f, rows, d, y.data(), d, inverse.data());
  for (int threads : {1, 2, 3}) {
    auto ctx = Context(threads);
    auto in_place = x;
    RmsNorm(*ctx, in_place.data(), d, w.data(), 1e-5f, rows, d, in_place.data(), d, nullptr);
    EXPECT_TRUE(SameBits(in_place, y, d));
    std::vector<float> dx(rows * d), dw(d);
    RmsNormBackward(*ctx, x.data(), d, w.data(), inverse.data(), dy.data(), d, rows, d, false, dx.data(), d, dw.data());
    if (first_dw.empty()) {
      first_dw = dw;
      first_dx = dx;
    }
    EXPECT_TRUE(SameBits(dw, first_dw));
    EXPECT_TRUE(SameBits(dx, first_dx));
  }
}

TEST_P(RowsTest, SwiGluForwardAndBackward) {
  for (int64_t f : {1, 15, 16, 33, 256}) {
    for (int64_t rows : {1, 9, 300}) {
      const auto gate_up = Normal(1, rows * 2 * f, 4.0f), dy = Normal(2, rows * f);
      std::vector<float> y(rows * f), expected(rows * f), d(rows * 2 * f), expected_d(rows * 2 * f);
      auto ctx = Context();
      SwiGlu(*ctx, gate_up.data(), rows, f, y.data());
      reference::SwiGlu(gate_up.data(), rows, f, expected.data());
      EXPECT_TRUE(Near(y, expected, 1e-37, 10 * kEpsilon, f));  // exp 3, sum, quotient, two products
      SwiGluBackward(*ctx, gate_up.data(), dy.data(), rows, f, d.data());
      reference::SwiGluBackward(gate_up.data(), dy.data(), rows, f, expected_d.data());
      // 1 + g (1 - s) cancels near its zero at g = -1.28: absolute error there, scaled by |dy up|.
      EXPECT_TRUE(Near(d, expected_d, 16 * kEpsilon * 16, 16 * kEpsilon, 2 * f));
    }
  }
}

TEST_P(RowsTest, SwiGluAtTheEnds) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> gate_up = {-1000, 1000, -88, inf, nan, 2, 3, 4, 5, 6};
  std::vector<float> y(5), d(10);
  const std::vector<float> dy = {1, 1, 1, 1, 1};
  auto ctx = Context();
  SwiGlu(*ctx, gate_up.data(), 1, 5, y.data());
  SwiGluBackward(*ctx, gate_up.data(), dy.data(), 1, 5, d.data());
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[1], 3000.0f);
  EXPECT_NEAR(y[2], 0.0f, 1e-30);
  EXPECT_EQ(y[3], inf);
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_EQ(d[0], 0.0f);
  EXPECT_EQ(d[1], 3.0f);
  EXPECT_EQ(d[6], 1000.0f);
  EXPECT_TRUE(std::isnan(d[4]));
}

TEST_P(RowsTest, RopeRotatesAndTurnsBack) {
  for (int head_dim : {2, 10, 32, 64, 80}) {
    const int64_t rows = 40, max_position = 500, half = head_dim / 2;
    const int heads = 3;
    const int64_t ldx = heads * head_dim + 5;
    std::vector<float> cos_table(max_position * half), sin_table(max_position * half);
    for (int64_t i = 0; i < max_position * half; ++i) {
      const int64_t position = i / half, frequency = i % half;
      const double angle =
          static_cast<double>(position) * Pow(10000.0, -static_cast<double>(frequency) / static_cast<double>(half));
      cos_table[i] = static_cast<float>(Cos(angle));
      sin_table[i] = static_cast<float>(Sin(angle));
    }
    std::vector<int32_t> positions(rows);
    for (int64_t t = 0; t < rows; ++t) positions[t] = static_cast<int32_t>((t * 37) % max_position);
    const auto original = Normal(1, rows * ldx);
    auto x = original, expected = original;
    auto ctx = Context();
    Rope(*ctx, x.data(), ldx, rows, heads, head_dim, positions.data(), cos_table.data(), sin_table.data(), false);
    reference::Rope(expected.data(), ldx, rows, heads, head_dim, positions.data(), cos_table.data(), sin_table.data(),
                    false);
    EXPECT_TRUE(Near(x, expected, 3 * kEpsilon * 8, 2 * kEpsilon, ldx));
    Rope(*ctx, x.data(), ldx, rows, heads, head_dim, positions.data(), cos_table.data(), sin_table.data(), true);
    EXPECT_TRUE(Near(x, original, 8 * kEpsilon * 8, 0, ldx));
  }
}

TEST_P(RowsTest, EmbeddingGatherAndGradient) {
  const int64_t vocab = 50, d = 70, rows = 300;
  const auto weights = Normal(1, vocab * d), dy = Normal(2, rows * d);
  std::vector<int32_t> ids(rows);
  for (int64_t t = 0; t < rows; ++t) ids[t] = static_cast<int32_t>((t * t) % vocab);
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    auto ctx = Context();
    PackedMatrix table;
    table.Pack(*ctx, weights.data(), vocab, d, d, dtype);
    std::vector<float> y(rows * d), expected(rows * d);
    EmbeddingGather(*ctx, table, ids.data(), rows, y.data());
    reference::EmbeddingGather(weights.data(), d, dtype, ids.data(), rows, expected.data());
    EXPECT_TRUE(SameBits(y, expected, d));
  }
  for (int threads : {1, 3}) {  // plain fp32 sums in row order: the reference's own bits
    auto dtable = weights, expected = weights;
    EmbeddingGradient(*Context(threads), dy.data(), ids.data(), rows, d, dtable.data());
    reference::EmbeddingGradient(dy.data(), ids.data(), rows, d, expected.data());
    EXPECT_TRUE(SameBits(dtable, expected, d));
  }
}

TEST_P(RowsTest, CastsRoundToNearestEvenLikeTheScalarRule) {
  std::vector<float> x = Normal(1, 1003);
  const float inf = std::numeric_limits<float>::infinity();
  for (float special : {0.0f, -0.0f, inf, -inf, 3.4e38f, 1e-40f, -1e-45f}) x.push_back(special);
  for (uint32_t bits : {0x3f808000u, 0x3f818000u, 0x3f808001u, 0x3f807fffu, 0x7fc00001u, 0x7f800001u, 0xffffffffu}) {
    x.push_back(std::bit_cast<float>(bits));  // ties to even both ways, just off a tie, NaNs of every kind
  }
  const auto n = static_cast<int64_t>(x.size());
  auto ctx = Context();
  std::vector<uint16_t> rounded(x.size());
  RoundToBf16(*ctx, x.data(), n, rounded.data());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(rounded[i], FloatToBf16(x[i])) << x[i];
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  std::vector<float> back(x.size());
  ExpandBf16(*ctx, rounded.data(), n, back.data());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::bit_cast<uint32_t>(back[i]), uint32_t{rounded[i]} << 16);
}

TEST_P(RowsTest, AddInPlaceAndSumOfSquares) {
  for (int64_t n : {0, 1, 15, 16, 17, 4095, 4097, 100003}) {
    const auto x = Normal(1, n), y0 = Normal(2, n);
    double first = 0;
    for (int threads : {1, 2, 3}) {
      auto ctx = Context(threads);
      auto y = y0;
      AddInPlace(*ctx, x.data(), n, y.data());
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], y0[i] + x[i]);
      const double sum = SumOfSquares(*ctx, x.data(), n);
      EXPECT_NEAR(sum, reference::SumOfSquares(x.data(), n), 1e-13 * static_cast<double>(n));
      if (threads == 1) first = sum;
      EXPECT_EQ(sum, first);
    }
  }
}

TEST_P(RowsTest, AdamWMatchesTheReferenceOverSteps) {
  const int64_t n = 70001;
  const auto w0 = Normal(1, n);
  auto w = w0, expected_w = w0;
  std::vector<float> m(n), v(n), expected_m(n), expected_v(n);
  auto ctx = Context(3);
  for (int step = 1; step <= 3; ++step) {
    const auto g = Normal(10 + static_cast<uint64_t>(step), n);
    const AdamWParams params{1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1 - std::pow(0.9, step), 1 - std::pow(0.95, step), 0.5f};
    AdamW(*ctx, params, n, g.data(), w.data(), m.data(), v.data());
    reference::AdamW(params, n, g.data(), expected_w.data(), expected_m.data(), expected_v.data());
  }
  EXPECT_TRUE(Near(m, expected_m, 12 * kEpsilon, 0));
  EXPECT_TRUE(Near(v, expected_v, 12 * kEpsilon, 12 * kEpsilon));
  EXPECT_TRUE(Near(w, expected_w, 3 * 16 * kEpsilon * 1e-2, 6 * kEpsilon));
  // Elements are independent of their place in the array.
  auto tail_w = std::vector<float>(w0.begin() + 5, w0.begin() + 12);
  std::vector<float> tail_m(7), tail_v(7), all_m(n), all_v(n);
  auto all_w = w0;
  const auto g = Normal(10, n);
  const AdamWParams params{1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.1, 0.05, 1.0f};
  AdamW(*ctx, params, 7, g.data() + 5, tail_w.data(), tail_m.data(), tail_v.data());
  AdamW(*ctx, params, n, g.data(), all_w.data(), all_m.data(), all_v.data());
  EXPECT_TRUE(SameBits(tail_w, std::span(all_w).subspan(5, 7)));
}

HONE_ON_EVERY_PATH(RowsTest);

}  // namespace
}  // namespace hone::kernels
