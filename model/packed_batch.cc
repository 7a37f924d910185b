#include "model/packed_batch.h"

#include <algorithm>

#include "base/check.h"

namespace hone::model {

void PackedBatch::Set(const PackedSequences& packed, const ModelConfig& config, int page_tokens) {
  const int64_t count = static_cast<int64_t>(packed.tokens.size());
  HONE_CHECK(!packed.starts.empty() && packed.starts.front() == 0 && packed.starts.back() == count);
  HONE_CHECK_EQ(packed.targets.size(), packed.tokens.size());
  tokens = packed.tokens;
  positions.resize(tokens.size());
  picked.clear();
  targets.clear();
  for (int64_t t = 0; t < count; ++t) {
    HONE_CHECK(packed.tokens[t] >= 0 && packed.tokens[t] < config.vocab_size) << packed.tokens[t];
    if (packed.targets[t] < 0) continue;
    HONE_CHECK(packed.targets[t] < config.vocab_size) << packed.targets[t];
    picked.push_back(t);
    targets.push_back(packed.targets[t]);
  }
  SetSegments(packed, config);
  SetPages(page_tokens);
  SetSums(packed);
  masked_keys = packed.masked_keys;
  HONE_CHECK(masked_keys.empty() || masked_keys.size() == tokens.size() * static_cast<size_t>(config.layers));
  for (const kernels::PackedSegment& segment : segments) {
    HONE_CHECK(masked_keys.empty() || segment.prefix < 0) << "masked keys, and rows that are shared";
  }
}

void PackedBatch::SetSegments(const PackedSequences& packed, const ModelConfig& config) {
  segments.clear();
  const size_t total = packed.starts.size() - 1;
  HONE_CHECK(packed.prefixes.empty() || packed.prefixes.size() == total);
  for (size_t s = 0; s < total; ++s) {
    const int64_t row = packed.starts[s], count = packed.starts[s + 1] - row;
    const int32_t prefix = packed.prefixes.empty() ? -1 : packed.prefixes[s];
    HONE_CHECK(prefix < static_cast<int64_t>(s) && (prefix < 0 || segments[prefix].prefix < 0)) << prefix;
    const int64_t position = prefix < 0 ? 0 : segments[prefix].count;
    HONE_CHECK(count >= 0 && position + count <= config.max_positions)
        << "a sequence of " << position + count << " tokens; the context has " << config.max_positions;
    for (int64_t i = 0; i < count; ++i) positions[row + i] = static_cast<int32_t>(position + i);
    segments.push_back({row, count, prefix});
  }
}

// A follower's list of pages begins with the full pages of its prefix; the prefix's tokens in a page that is not full
// are written to the follower's first page too.
void PackedBatch::SetPages(int64_t page_tokens) {
  const auto position_of = [&](const kernels::PackedSegment& segment) {
    return segment.prefix < 0 ? 0 : segments[segment.prefix].count;
  };
  std::vector<size_t> lists;  // where each segment's list begins
  lists.reserve(segments.size());
  int32_t next_page = 0;
  pages.clear();
  for (const kernels::PackedSegment& segment : segments) {
    lists.push_back(pages.size());
    const int64_t position = position_of(segment), shared = position / page_tokens;
    for (int64_t p = 0; p < shared; ++p) pages.push_back(pages[lists[segment.prefix] + p]);
    const int64_t own = (position + segment.count + page_tokens - 1) / page_tokens - shared;
    for (int64_t p = 0; p < own; ++p) pages.push_back(next_page++);
  }
  page_count = next_page;
  sequences.clear();
  kv_writes.clear();
  for (size_t s = 0; s < segments.size(); ++s) {
    const kernels::PackedSegment& segment = segments[s];
    if (segment.count == 0) continue;
    const int64_t position = position_of(segment), tail = position % page_tokens;
    const int32_t* list = pages.data() + lists[s];
    sequences.push_back({segment.row, static_cast<int32_t>(segment.count), static_cast<int32_t>(position), list});
    kv_writes.push_back(sequences.back());
    if (tail == 0) continue;
    kv_writes.push_back({segments[segment.prefix].row + position - tail, static_cast<int32_t>(tail),
                         static_cast<int32_t>(position - tail), list});
  }
}

void PackedBatch::SetSums(const PackedSequences& packed) {
  sums_apart = !packed.sum_starts.empty();
  const std::vector<int64_t> whole = {0, rows()};
  const std::vector<int64_t>& starts = sums_apart ? packed.sum_starts : whole;
  HONE_CHECK(starts.front() == 0 && starts.back() == rows());
  sums.clear();
  out_sums.clear();
  for (size_t u = 0; u + 1 < starts.size(); ++u) {
    HONE_CHECK(starts[u] <= starts[u + 1]) << "sum_starts do not rise";
    HONE_CHECK(std::binary_search(packed.starts.begin(), packed.starts.end(), starts[u + 1])) << starts[u + 1];
    sums.push_back({starts[u], starts[u + 1] - starts[u]});
    const int64_t first = std::lower_bound(picked.begin(), picked.end(), starts[u]) - picked.begin();
    const int64_t last = std::lower_bound(picked.begin(), picked.end(), starts[u + 1]) - picked.begin();
    out_sums.push_back({first, last - first});
  }
}

}  // namespace hone::model
