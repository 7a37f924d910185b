#include <limits>

#include "kernels/bf16.h"
#include "kernels/reference/reference.h"
#include "kernels/testing.h"

namespace hone::kernels {
namespace {

using testing::Absolute;
using testing::kEpsilon;
using testing::Near;
using testing::Normal;
using testing::SameBits;

struct Shape {
  int64_t m, n, k;
};

std::vector<float> Rounded(std::vector<float> x, DType dtype) {
  for (float& v : x) v = reference::Rounded(v, dtype);
  return x;
}

using GemmTest = testing::OnEveryPath;

// A sum of K products in any order with one rounding each is off by at most K epsilon sum |a w| (first order), plus
// bias and c.
TEST_P(GemmTest, MatchesTheReference) {
  const Shape shapes[] = {{1, 1, 1},      {1, 16, 32},  {2, 17, 3},   {3, 15, 31},   {5, 54, 128},  {8, 48, 64},
                          {9, 49, 65},    {16, 33, 32}, {17, 97, 33}, {31, 7, 100},  {33, 100, 96}, {70, 200, 77},
                          {300, 130, 50}, {9, 49, 129}, {7, 33, 256}, {17, 97, 257}, {20, 54, 352}};
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    for (const auto& [m, n, k] : shapes) {
      SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " bf16 "
                                        << (dtype == DType::kBf16));
      const int64_t lda = k + 3, ldw = k + 1, ldc = n + 5;
      const auto a = Normal(1, m * lda), w = Normal(2, n * ldw), bias = Normal(3, n);
      std::vector<float> dense_w;
      for (int64_t j = 0; j < n; ++j) dense_w.insert(dense_w.end(), w.begin() + j * ldw, w.begin() + j * ldw + k);
      auto ctx = Context();
      PackedMatrix packed;
      packed.Pack(*ctx, w.data(), n, k, ldw, dtype);
      for (bool accumulate : {false, true}) {
        const float* b = accumulate ? bias.data() : nullptr;
        auto c = Normal(4, m * ldc), expected = c, magnitude = Absolute(c);
        Gemm(*ctx, a.data(), lda, m, packed, b, accumulate, c.data(), ldc);
        reference::Gemm(a.data(), lda, m, dense_w.data(), n, k, dtype, b, accumulate, expected.data(), ldc);
        const auto abs_bias = Absolute(bias);
        reference::Gemm(Absolute(a).data(), lda, m, Absolute(dense_w).data(), n, k, dtype, abs_bias.data(), true,
                        magnitude.data(), ldc);
        std::vector<double> tolerance(c.size());
        for (size_t i = 0; i < c.size(); ++i) tolerance[i] = kEpsilon * static_cast<double>(k + 3) * magnitude[i];
        // Columns beyond n are not touched: there expected is what c was.
        EXPECT_TRUE(Near(c, expected, tolerance, ldc));
      }
    }
  }
}

TEST_P(GemmTest, ARowsBitsDependOnThatRowAlone) {
  const int64_t m = 75, n = 310, k = 290;
  const auto a = Normal(1, m * k), w = Normal(2, n * k), bias = Normal(3, n);
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    auto one = Context(1);
    PackedMatrix packed;
    packed.Pack(*one, w.data(), n, k, k, dtype);
    std::vector<float> alone(m * n);
    for (int64_t i = 0; i < m; ++i)
      Gemm(*one, a.data() + i * k, k, 1, packed, bias.data(), false, alone.data() + i * n, n);
    for (int threads : {1, 2, 3}) {
      auto ctx = Context(threads);
      for (int64_t chunk : {2, 7, 8, 16, 33, 75}) {
        std::vector<float> c(m * n);
        for (int64_t i = 0; i < m; i += chunk) {
          Gemm(*ctx, a.data() + i * k, k, std::min(chunk, m - i), packed, bias.data(), false, c.data() + i * n, n);
        }
        EXPECT_TRUE(SameBits(c, alone, n)) << "threads " << threads << ", chunk " << chunk;
      }
    }
  }
}

TEST_P(GemmTest, LargeMatricesSplitWithoutATrace) {
  const int64_t m = 600, n = 500, k = 64;
  const auto a = Normal(1, m * k), w = Normal(2, n * k);
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    std::vector<std::vector<float>> results;
    for (int threads : {1, 2, 3}) {
      auto ctx = Context(threads);
      PackedMatrix packed;
      packed.Pack(*ctx, w.data(), n, k, k, dtype);
      auto& c = results.emplace_back(m * n);
      Gemm(*ctx, a.data(), k, m, packed, nullptr, false, c.data(), n);
    }
    EXPECT_TRUE(SameBits(results[1], results[0], n));
    EXPECT_TRUE(SameBits(results[2], results[0], n));
    // Two rows alone against the same rows in the batch.
    auto ctx = Context();
    PackedMatrix packed;
    packed.Pack(*ctx, w.data(), n, k, k, dtype);
    std::vector<float> two(2 * n);
    Gemm(*ctx, a.data() + 511 * k, k, 2, packed, nullptr, false, two.data(), n);
    EXPECT_TRUE(SameBits(two, std::span(results[0]).subspan(511 * n, 2 * n), n));
  }
}

TEST_P(GemmTest, NanAndInfinityStayInTheirRows) {
  const int64_t m = 20, n = 40, k = 50;
  auto a = Normal(1, m * k);
  const auto w = Normal(2, n * k);
  a[3 * k + 7] = std::numeric_limits<float>::quiet_NaN();
  a[9 * k + 1] = std::numeric_limits<float>::infinity();
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    auto ctx = Context();
    PackedMatrix packed;
    packed.Pack(*ctx, w.data(), n, k, k, dtype);
    std::vector<float> c(m * n);
    Gemm(*ctx, a.data(), k, m, packed, nullptr, false, c.data(), n);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const float x = c[i * n + j];
        if (i == 3) {
          EXPECT_TRUE(std::isnan(x));
        } else if (i == 9) {
          EXPECT_TRUE(std::isinf(x) && (x > 0) == (w[j * k + 1] > 0));
        } else {
          EXPECT_TRUE(std::isfinite(x)) << i << " " << j;
        }
      }
    }
  }
}

TEST_P(GemmTest, PackTransposedIsPackOfTheTranspose) {
  for (const auto& [unused, n, k] : {Shape{0, 1, 1}, Shape{0, 33, 70}, Shape{0, 64, 32}, Shape{0, 17, 16}}) {
    const auto w = Normal(2, n * k);
    std::vector<float> transposed(n * k);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < k; ++j) transposed[j * n + i] = w[i * k + j];
    }
    for (DType dtype : {DType::kF32, DType::kBf16}) {
      auto ctx = Context();
      PackedMatrix direct, turned;
      direct.Pack(*ctx, transposed.data(), k, n, n, dtype);
      turned.PackTransposed(*ctx, w.data(), n, k, k, dtype);
      ASSERT_EQ(direct.size_bytes(), turned.size_bytes());
      EXPECT_EQ(std::memcmp(direct.data(), turned.data(), direct.size_bytes()), 0);
      EXPECT_EQ(turned.n(), k);
      EXPECT_EQ(turned.k(), n);
    }
  }
}

TEST_P(GemmTest, UnpackRowGivesTheRoundedWeights) {
  const int64_t n = 37, k = 45;
  const auto w = Normal(2, n * k);
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    auto ctx = Context();
    PackedMatrix packed;
    packed.Pack(*ctx, w.data(), n, k, k, dtype);
    std::vector<float> all(n * k);
    for (int64_t i = 0; i < n; ++i) packed.UnpackRow(i, all.data() + i * k);
    EXPECT_TRUE(SameBits(all, Rounded(w, dtype), k));
    // Packed again with other sizes: the object's memory is reused.
    packed.Pack(*ctx, w.data(), 3, 5, k, dtype);
    std::vector<float> row(5);
    packed.UnpackRow(2, row.data());
    EXPECT_TRUE(SameBits(row, Rounded({w.begin() + 2 * k, w.begin() + 2 * k + 5}, dtype)));
  }
}

TEST_P(GemmTest, WeightGradientMatchesTheReference) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    for (const auto& [m, n, k] : {Shape{1, 1, 1}, Shape{2, 17, 33}, Shape{33, 40, 20}, Shape{64, 16, 16},
                                  Shape{100, 150, 210}, Shape{513, 20, 30}, Shape{1100, 33, 17}}) {
      SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " bf16 "
                                        << (dtype == DType::kBf16));
      const int64_t ld_dy = n + 2, ld_x = k + 1;
      const auto dy = Normal(5, m * ld_dy), x = Normal(6, m * ld_x);
      auto dw = Normal(7, n * k), expected = dw, magnitude = Absolute(dw);
      auto ctx = Context();
      GemmWeightGradient(*ctx, dy.data(), ld_dy, x.data(), ld_x, m, n, k, dtype, dw.data());
      reference::GemmWeightGradient(dy.data(), ld_dy, x.data(), ld_x, m, n, k, dtype, expected.data());
      reference::GemmWeightGradient(Absolute(dy).data(), ld_dy, Absolute(x).data(), ld_x, m, n, k, dtype,
                                    magnitude.data());
      std::vector<double> tolerance(dw.size());
      for (size_t i = 0; i < dw.size(); ++i) tolerance[i] = kEpsilon * static_cast<double>(m + 4) * magnitude[i];
      EXPECT_TRUE(Near(dw, expected, tolerance, k));
    }
  }
}

TEST_P(GemmTest, WeightGradientIsTheSameForAnyNumberOfThreads) {
  const int64_t m = 700, n = 150, k = 210;
  const auto dy = Normal(5, m * n), x = Normal(6, m * k);
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    std::vector<std::vector<float>> results;
    for (int threads : {1, 2, 3}) {
      auto ctx = Context(threads);
      GemmWeightGradient(*ctx, dy.data(), n, x.data(), k, m, n, k, dtype, results.emplace_back(n * k).data());
    }
    EXPECT_TRUE(SameBits(results[1], results[0], k));
    EXPECT_TRUE(SameBits(results[2], results[0], k));
  }
}

TEST_P(GemmTest, BiasGradient) {
  const int64_t m = 333, n = 41, ld = 50;
  const auto dy = Normal(5, m * ld);
  auto expected = Normal(6, n);
  const auto start = expected;
  reference::BiasGradient(dy.data(), ld, m, n, expected.data());
  std::vector<float> first;
  for (int threads : {1, 2, 3}) {
    auto ctx = Context(threads);
    auto db = start;
    BiasGradient(*ctx, dy.data(), ld, m, n, db.data());
    EXPECT_TRUE(Near(db, expected, kEpsilon * m * m, 0.0));
    if (first.empty()) first = db;
    EXPECT_TRUE(SameBits(db, first));
  }
}

TEST_P(GemmTest, EmptyProblemsAreNoWork) {
  auto ctx = Context();
  const std::vector<float> w = {1, 2, 3, 4};
  PackedMatrix packed;
  packed.Pack(*ctx, w.data(), 2, 2, 2, DType::kF32);
  Gemm(*ctx, nullptr, 2, 0, packed, nullptr, false, nullptr, 2);
  std::vector<float> dw = {5, 6, 7, 8};
  GemmWeightGradient(*ctx, nullptr, 2, nullptr, 2, 0, 2, 2, DType::kBf16, dw.data());
  EXPECT_EQ(dw, (std::vector<float>{5, 6, 7, 8}));
}

HONE_ON_EVERY_PATH(GemmTest);

TEST(NumericsKey, NamesPathDtypeAndRevision) {
  const auto baseline = KernelContext::Create(1, IsaPath::kBaseline);
  EXPECT_EQ(baseline->NumericsKey(DType::kF32).rfind("cpu/baseline/f32/", 0), 0u);
  EXPECT_EQ(baseline->NumericsKey(DType::kBf16).rfind("cpu/baseline/bf16/", 0), 0u);
}

// Paths that share a key give the same bits.
TEST(NumericsKey, EqualKeysMeanEqualBits) {
  const int64_t m = 9, n = 50, k = 70;
  const auto a = Normal(1, m * k), w = Normal(2, n * k);
  std::vector<std::pair<std::string, std::vector<float>>> results;
  for (IsaPath path : testing::AvailablePaths()) {
    for (DType dtype : {DType::kF32, DType::kBf16}) {
      const auto ctx = KernelContext::Create(2, path);
      PackedMatrix packed;
      packed.Pack(*ctx, w.data(), n, k, k, dtype);
      std::vector<float> c(m * n);
      Gemm(*ctx, a.data(), k, m, packed, nullptr, false, c.data(), n);
      for (const auto& [key, other] : results) {
        if (key != ctx->NumericsKey(dtype)) continue;
        EXPECT_TRUE(SameBits(c, other, n)) << key;
      }
      results.emplace_back(ctx->NumericsKey(dtype), c);
    }
  }
}

}  // namespace
}  // namespace hone::kernels
