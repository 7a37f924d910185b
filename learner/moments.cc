#include "learner/moments.h"

#include <cstring>

#include "base/check.h"

namespace hone::learner {
namespace {

int64_t Scales(int64_t elements, Moments::Format format) {
  return format == Moments::Format::kF8 ? (elements + kernels::kMomentBlock - 1) / kernels::kMomentBlock : 0;
}

}  // namespace

int64_t Moments::ValueBytes(Format format) {
  switch (format) {
    case Format::kF32:
      return 4;
    case Format::kBf16:
      return 2;
    case Format::kF8:
      return 1;
  }
  HONE_CHECK(false) << "no such format";
  return 0;
}

Moments::Moments(const model::ModelConfig& config, Format format) : format_(format) {
  size_t bytes = 0, scales = 0;
  const model::ParameterLayout layout(config);
  for (const model::ParameterInfo& parameter : layout.entries()) {
    elements_.push_back(parameter.size);
    value_at_.push_back(bytes);
    scale_at_.push_back(scales);
    bytes += static_cast<size_t>(parameter.size * ValueBytes(format));
    scales += static_cast<size_t>(Scales(parameter.size, format));
  }
  values_.Resize(bytes);
  scales_.Resize(scales);
  if (bytes > 0) std::memset(values_.data(), 0, bytes);
  if (scales > 0) std::memset(scales_.data(), 0, scales * sizeof(float));
}

std::span<std::byte> Moments::values(size_t index) {
  return values_.span().subspan(value_at_[index], static_cast<size_t>(elements_[index] * ValueBytes(format_)));
}
std::span<const std::byte> Moments::values(size_t index) const {
  return values_.span().subspan(value_at_[index], static_cast<size_t>(elements_[index] * ValueBytes(format_)));
}
std::span<float> Moments::scales(size_t index) {
  return scales_.span().subspan(scale_at_[index], static_cast<size_t>(Scales(elements_[index], format_)));
}
std::span<const float> Moments::scales(size_t index) const {
  return scales_.span().subspan(scale_at_[index], static_cast<size_t>(Scales(elements_[index], format_)));
}

kernels::MomentView Moments::View(size_t index) { return {values(index).data(), scales(index).data()}; }

void Moments::CopyFrom(const Moments& other) {
  format_ = other.format_;
  elements_ = other.elements_;
  value_at_ = other.value_at_;
  scale_at_ = other.scale_at_;
  values_.Resize(other.values_.size());
  scales_.Resize(other.scales_.size());
  if (!values_.empty()) std::memcpy(values_.data(), other.values_.data(), values_.size());
  if (!scales_.empty()) std::memcpy(scales_.data(), other.scales_.data(), scales_.size() * sizeof(float));
}

int64_t Moments::Bytes(const model::ModelConfig& config, Format format) {
  int64_t bytes = 0;
  const model::ParameterLayout layout(config);
  for (const model::ParameterInfo& parameter : layout.entries()) {
    bytes += parameter.size * ValueBytes(format) + Scales(parameter.size, format) * int64_t{sizeof(float)};
  }
  return bytes;
}

}  // namespace hone::learner
