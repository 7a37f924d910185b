#include "weight_sync/weight_channel.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/sha256.h"

namespace hone {

std::string ContentHash(std::span<const WeightTensor> tensors) {
  Sha256 hash;
  for (const WeightTensor& tensor : tensors) {
    std::string line = absl::StrCat(tensor.name, tensor.dtype == kernels::DType::kBf16 ? " BF16 " : " F32 ");
    for (size_t d = 0; d < tensor.shape.size(); ++d) absl::StrAppend(&line, d == 0 ? "" : "x", tensor.shape[d]);
    absl::StrAppend(&line, " ", tensor.sha256, "\n");
    hash.Update(line);
  }
  return hash.FinishHex();
}

std::string ModelFilesHash(const ModelFiles& files) {
  Sha256 hash;
  for (const auto& [name, contents] : files) hash.Update(absl::StrCat(name, " ", Sha256Hex(contents), "\n"));
  return hash.FinishHex();
}

WeightSnapshot::WeightSnapshot(WeightVersion version, ModelFiles files, std::vector<WeightTensor> tensors,
                               kernels::AlignedBuffer<std::byte> storage)
    : version_(std::move(version)),
      files_(std::move(files)),
      files_hash_(ModelFilesHash(files_)),
      tensors_(std::move(tensors)),
      storage_(std::move(storage)),
      content_hash_(ContentHash(tensors_)) {
  for (const WeightTensor& tensor : tensors_) {
    HONE_CHECK(tensor.bytes.empty() || (tensor.bytes.data() >= storage_.data() &&
                                        tensor.bytes.data() + tensor.bytes.size() <= storage_.data() + storage_.size()))
        << tensor.name << " lies outside of the snapshot's storage";
  }
}

absl::Status WeightSnapshot::VisitTensors(const kernels::KernelContext& context, const Visitor& visitor) const {
  kernels::AlignedBuffer<float> values;
  for (const WeightTensor& tensor : tensors_) {
    const bool bf16 = tensor.dtype == kernels::DType::kBf16;
    const size_t count = tensor.bytes.size() / (bf16 ? 2 : 4);
    values.Resize(count);
    if (bf16) {
      kernels::ExpandBf16(context, reinterpret_cast<const uint16_t*>(tensor.bytes.data()), static_cast<int64_t>(count),
                          values.data());
    } else if (count > 0) {
      std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    }
    HONE_RETURN_IF_ERROR(visitor(tensor.name, std::span<const float>(values.data(), count)));
  }
  return absl::OkStatus();
}

}  // namespace hone
