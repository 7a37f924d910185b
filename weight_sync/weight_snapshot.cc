#include "weight_sync/weight_snapshot.h"

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/sha256.h"

namespace hone {
namespace {

constexpr size_t kAlignment = 64;  // of each tensor in the storage: a cache line

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::shared_ptr<const WeightSnapshot> MakeSnapshot(const kernels::KernelContext& context,
                                                   const model::ModelConfig& config, const model::FlatTensor& masters,
                                                   kernels::DType dtype, WeightVersion version, ModelFiles files) {
  const model::ParameterLayout layout(config);
  const auto sent_dtype = [dtype](const model::ParameterInfo& parameter) {
    return parameter.shape.size() > 1 ? dtype : kernels::DType::kF32;
  };
  const auto size_bytes = [&](const model::ParameterInfo& parameter) {
    return static_cast<size_t>(parameter.size) * (sent_dtype(parameter) == kernels::DType::kBf16 ? 2 : 4);
  };
  std::vector<size_t> offsets;
  size_t total = 0;
  for (const model::ParameterInfo& parameter : layout.entries()) {
    offsets.push_back(total);
    total += (size_bytes(parameter) + kAlignment - 1) / kAlignment * kAlignment;
  }
  kernels::AlignedBuffer<std::byte> storage(total);
  std::vector<WeightTensor> tensors(offsets.size());
  for (size_t i = 0; i < offsets.size(); ++i) {
    const model::ParameterInfo& parameter = layout.entries()[i];
    const float* values = masters.data() + parameter.offset;
    std::byte* bytes = storage.data() + offsets[i];
    if (sent_dtype(parameter) == kernels::DType::kBf16) {
      kernels::RoundToBf16(context, values, parameter.size, reinterpret_cast<uint16_t*>(bytes));
    } else {
      std::memcpy(bytes, values, static_cast<size_t>(parameter.size) * sizeof(float));
    }
    tensors[i] = {.name = parameter.name,
                  .shape = parameter.shape,
                  .dtype = sent_dtype(parameter),
                  .bytes = {bytes, size_bytes(parameter)}};
  }
  context.pool().ParallelFor(static_cast<int64_t>(tensors.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) tensors[i].sha256 = Sha256Hex(AsText(tensors[i].bytes));
  });
  if (dtype == kernels::DType::kF32 && version.root_hash.empty()) version.root_hash = ContentHash(tensors);
  return std::make_shared<const WeightSnapshot>(std::move(version), std::move(files), std::move(tensors),
                                                std::move(storage));
}

absl::StatusOr<model::FlatTensor> ValuesOf(const kernels::KernelContext& context, const model::ModelConfig& config,
                                           const WeightSnapshot& snapshot) {
  const model::ParameterLayout layout(config);
  model::FlatTensor values(static_cast<size_t>(layout.total_size()));
  HONE_RETURN_IF_ERROR(snapshot.VisitTensors(context, [&](std::string_view name, std::span<const float> tensor) {
    const model::ParameterInfo* parameter = layout.Find(name);
    if (parameter == nullptr || parameter->size != std::ssize(tensor)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", std::string(name), "' of ", tensor.size(), " values does not fit the model"));
    }
    std::memcpy(values.data() + parameter->offset, tensor.data(), tensor.size_bytes());
    return absl::OkStatus();
  }));
  return values;
}

}  // namespace hone
