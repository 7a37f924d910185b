// AdamW's two moments of every parameter, as they are stored between steps.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/ops.h"
#include "model/model.h"

namespace hone::learner {

// One of the two. Move-only; not thread-safe.
class Moments {
 public:
  using Format = kernels::MomentFormat;

  Moments() = default;
  // All zero.
  Moments(const model::ModelConfig& config, Format format);

  Format format() const { return format_; }
  bool empty() const { return values_.empty(); }
  // Of the layout's parameter `index`.
  kernels::MomentView View(size_t index);
  // The same parameter's values as stored, and its scales (kF8 alone, else empty).
  std::span<std::byte> values(size_t index);
  std::span<const std::byte> values(size_t index) const;
  std::span<float> scales(size_t index);
  std::span<const float> scales(size_t index) const;
  const std::vector<int64_t>& elements() const { return elements_; }  // of each parameter

  // The same contents, in memory that is kept from call to call where it suffices.
  void CopyFrom(const Moments& other);
  static int64_t Bytes(const model::ModelConfig& config, Format format);
  static int64_t ValueBytes(Format format);  // of one element

 private:
  Format format_ = Format::kF32;
  std::vector<int64_t> elements_;
  std::vector<size_t> value_at_, scale_at_;  // of each parameter, in bytes and in floats
  kernels::AlignedBuffer<std::byte> values_;
  kernels::AlignedBuffer<float> scales_;
};

}  // namespace hone::learner
