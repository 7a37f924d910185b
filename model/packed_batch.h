// PackedSequences as the layers see them: rows with positions, pages of keys and values, segments, ranges of sums.
#pragma once

#include <cstdint>
#include <vector>

#include "model/layer.h"
#include "model/model.h"

namespace hone::model {

struct PackedBatch {
  // Checks and takes over `packed`. Pages are numbered from 0 on; page_count of them are needed.
  void Set(const PackedSequences& packed, const ModelConfig& config, int page_tokens);
  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
  int64_t out_rows() const { return static_cast<int64_t>(picked.size()); }
  LayerBatch View(const kernels::KvLayout& layout) const {
    return {rows(), positions.data(), sequences, kv_writes, layout, segments, sums, out_sums};
  }

  std::vector<int32_t> tokens, positions, targets;  // targets of the picked rows
  std::vector<int64_t> picked;                      // rows with a target
  std::vector<int32_t> pages;                       // lists of the sequences' pages, one after another
  int64_t page_count = 0;
  std::vector<kernels::AttentionSequence> sequences, kv_writes;
  std::vector<kernels::PackedSegment> segments;
  std::vector<RowRange> sums, out_sums;  // of rows, and of picked rows
  bool sums_apart = false;               // the caller named the sums
  std::vector<uint8_t> masked_keys;      // [layers, T], or empty

 private:
  void SetSegments(const PackedSequences& packed, const ModelConfig& config);
  void SetPages(int64_t page_tokens);
  void SetSums(const PackedSequences& packed);
};

}  // namespace hone::model
