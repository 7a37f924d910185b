// What kernel tests share: data, contexts for every instruction path of this machine, and a comparator that names the
// worst element.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu/context.h"
#include "kernels/ops.h"

namespace hone::kernels::testing {

inline constexpr double kEpsilon = 0x1p-24;  // half an ulp of 1 in fp32: the relative error of one rounding

// Standard normal values, a function of (key, n).
inline std::vector<float> Normal(uint64_t key, int64_t n, float scale = 1.0f) {
  std::vector<float> x(static_cast<size_t>(n));
  NormalDraws(key, n, x.data());
  for (float& v : x) v *= scale;
  return x;
}

inline std::vector<float> Absolute(std::vector<float> x) {
  for (float& v : x) v = std::fabs(v);
  return x;
}

inline std::vector<IsaPath> AvailablePaths() {
  std::vector<IsaPath> paths;
  for (IsaPath path : cpu::kAllPaths) {
    if (cpu::CpuHas(path)) paths.push_back(path);
  }
  return paths;
}

// |actual - expected| <= tolerance[i], NaN meeting NaN only and infinities themselves only. A failure names the element
// that exceeds its tolerance most, with its row and column for `columns` > 0.
inline ::testing::AssertionResult Near(std::span<const float> actual, std::span<const float> expected,
                                       std::span<const double> tolerance, int64_t columns = 0) {
  if (actual.size() != expected.size() || actual.size() != tolerance.size()) {
    return ::testing::AssertionFailure() << "sizes: actual " << actual.size() << ", expected " << expected.size()
                                         << ", tolerance " << tolerance.size();
  }
  double worst = 1.0;
  size_t worst_index = actual.size(), failures = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = actual[i], e = expected[i];
    double excess;  // how many tolerances apart
    if (std::isnan(a) || std::isnan(e)) {
      excess = std::isnan(a) && std::isnan(e) ? 0 : INFINITY;
    } else if (std::isinf(a) || std::isinf(e)) {
      excess = a == e ? 0 : INFINITY;
    } else {
      const double distance = std::fabs(a - e);
      excess = distance == 0 ? 0 : distance / tolerance[i];
    }
    if (excess > 1.0) ++failures;
    if (excess > worst) {
      worst = excess;
      worst_index = i;
    }
  }
  if (failures == 0) return ::testing::AssertionSuccess();
  auto result = ::testing::AssertionFailure()
                << failures << " of " << actual.size() << " elements differ, worst at " << worst_index;
  if (columns > 0) {
    result << " (row " << worst_index / static_cast<size_t>(columns) << ", column "
           << worst_index % static_cast<size_t>(columns) << ")";
  }
  return result << ": actual " << actual[worst_index] << ", expected " << expected[worst_index] << ", tolerance "
                << tolerance[worst_index];
}

// One tolerance for all: absolute + relative |expected|.
inline ::testing::AssertionResult Near(std::span<const float> actual, std::span<const float> expected, double absolute,
                                       double relative, int64_t columns = 0) {
  std::vector<double> tolerance(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) tolerance[i] = absolute + relative * std::fabs(expected[i]);
  return Near(actual, expected, tolerance, columns);
}

// The same bits, element by element.
inline ::testing::AssertionResult SameBits(std::span<const float> actual, std::span<const float> expected,
                                           int64_t columns = 0) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure() << "sizes: actual " << actual.size() << ", expected " << expected.size();
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::bit_cast<uint32_t>(actual[i]) == std::bit_cast<uint32_t>(expected[i])) continue;
    auto result = ::testing::AssertionFailure() << "bits differ first at " << i;
    if (columns > 0)
      result << " (row " << i / static_cast<size_t>(columns) << ", column " << i % static_cast<size_t>(columns) << ")";
    return result << ": " << actual[i] << " and " << expected[i];
  }
  return ::testing::AssertionSuccess();
}

// Runs a test body on every instruction path of this machine.
class OnEveryPath : public ::testing::TestWithParam<IsaPath> {
 protected:
  std::unique_ptr<KernelContext> Context(int threads = 2) { return KernelContext::Create(threads, GetParam()); }
};

inline std::string PathName(const ::testing::TestParamInfo<IsaPath>& info) { return cpu::TableOf(info.param).name; }

}  // namespace hone::kernels::testing

#define HONE_ON_EVERY_PATH(suite)                                                                         \
  INSTANTIATE_TEST_SUITE_P(Paths, suite, ::testing::ValuesIn(::hone::kernels::testing::AvailablePaths()), \
                           ::hone::kernels::testing::PathName)
