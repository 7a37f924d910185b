#include <limits>
#include <map>
#include <numeric>

#include "kernels/reference/reference.h"
#include "kernels/testing.h"

namespace hone::kernels {
namespace {

using testing::kEpsilon;
using testing::Near;
using testing::Normal;
using testing::SameBits;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Model {
  int heads, kv_heads, head_dim;
  DType dtype;
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }
  int64_t q_width() const { return int64_t{heads} * head_dim; }
  int64_t kv_width() const { return int64_t{kv_heads} * head_dim; }
};

// Sequences of the given lengths in one batch, keys and values in shuffled pages whose every byte starts as NaN.
struct Batch {
  Batch(const Model& model, std::vector<int64_t> lengths, int page_tokens, uint64_t key = 1) : model(model) {
    starts.push_back(0);
    for (int64_t length : lengths) starts.push_back(starts.back() + length);
    q = Normal(key, rows() * model.q_width());
    k = Normal(key + 1, rows() * model.kv_width());
    v = Normal(key + 2, rows() * model.kv_width());
    layout = {page_tokens, model.kv_heads, model.head_dim, model.dtype};
    int32_t next = 0;
    for (int64_t length : lengths) {
      auto& list = pages.emplace_back();
      for (int64_t p = 0; p < (length + page_tokens - 1) / page_tokens; ++p) list.push_back(next++);
    }
    for (size_t s = 0; s < pages.size(); ++s) {  // a sequence's pages lie backwards
      for (auto& page : pages[s]) page = next - 1 - page;
    }
    memory.resize(layout.page_bytes() * static_cast<size_t>(next), std::byte{0xff});  // 0xffff and 0xffffffff are NaN
  }
  int64_t rows() const { return starts.back(); }
  // Tokens [begin, end) of sequence s, as a call with only those rows in the batch would name them.
  AttentionSequence Part(size_t s, int64_t begin, int64_t end) const {
    return {starts[s] + begin, static_cast<int32_t>(end - begin), static_cast<int32_t>(begin), pages[s].data()};
  }
  // Writes and attends in steps of `chunk` tokens of all sequences together.
  void Run(const KernelContext& ctx, int64_t chunk, std::vector<float>* o, std::vector<float>* lse) {
    std::fill(memory.begin(), memory.end(), std::byte{0xff});
    o->assign(static_cast<size_t>(rows() * model.q_width()), kNan);
    lse->assign(static_cast<size_t>(rows() * model.heads), kNan);
    int64_t longest = 0;
    for (size_t s = 0; s + 1 < starts.size(); ++s) longest = std::max(longest, starts[s + 1] - starts[s]);
    for (int64_t begin = 0; begin < longest; begin += chunk) {
      std::vector<AttentionSequence> parts;
      for (size_t s = 0; s + 1 < starts.size(); ++s) {
        const int64_t end = std::min(begin + chunk, starts[s + 1] - starts[s]);
        if (end > begin) parts.push_back(Part(s, begin, end));
      }
      KvWrite(ctx, layout, k.data(), v.data(), model.kv_width(), parts, memory.data());
      Attention(ctx, layout, model.heads, model.scale(), q.data(), model.q_width(), parts, memory.data(), o->data(),
                lse->data());
    }
  }
  Model model;
  std::vector<int64_t> starts;
  std::vector<float> q, k, v;
  KvLayout layout;
  std::vector<std::vector<int32_t>> pages;
  std::vector<std::byte> memory;
};

using AttentionTest = testing::OnEveryPath;

std::vector<PackedSegment> WholeSequences(std::span<const int64_t> starts) {
  std::vector<PackedSegment> segments;
  for (size_t s = 0; s + 1 < starts.size(); ++s) segments.push_back({starts[s], starts[s + 1] - starts[s], -1});
  return segments;
}

const Model kModels[] = {{1, 1, 2, DType::kF32},   {4, 4, 32, DType::kF32},  {9, 3, 64, DType::kBf16},
                         {6, 2, 10, DType::kBf16}, {14, 2, 16, DType::kF32}, {32, 1, 8, DType::kBf16},
                         {3, 1, 100, DType::kF32}, {2, 2, 80, DType::kBf16}};

// Scores are off by (E + 2) epsilon sum |q k| scale <= (E + 2) epsilon |q| |k| scale, probabilities by as much relative
// to themselves (e^x has slope e^x) plus the exponential's own error; o is a mean of v with those weights, summed over
// T terms.
double ForwardTolerance(const Model& model, int64_t tokens) {
  const double norms = 2.0 * model.head_dim;  // |q| |k|, with room for the largest of many
  return 4 * kEpsilon * ((model.head_dim + 2) * norms * model.scale() / 4 + static_cast<double>(tokens) + 8);
}

// As forward, times |dp| <= |do| |v| about 2 E, the sums over queries and heads. On AMX dO, P and dS are rounded to
// bf16: 2^-9 of each term, of sums whose terms partly cancel.
double BackwardTolerance(const Model& model, int64_t tokens, IsaPath path, const std::vector<float>& expected) {
  const int group = model.heads / model.kv_heads;
  const double fp32 = ForwardTolerance(model, tokens) * 2 * model.head_dim * group;
  if (path != IsaPath::kAmxBf16 || model.dtype != DType::kBf16) return fp32;
  double largest = 0;
  for (const float x : expected) largest = std::max(largest, std::fabs(double{x}));
  return fp32 + 0x1p-7 * largest;
}

TEST_P(AttentionTest, MatchesTheReference) {
  const std::vector<int64_t> lengths = {1, 15, 16, 17, 40, 290};
  struct Expected {
    std::vector<float> o, lse;
  };
  static auto* all_expected = new std::map<size_t, Expected>();  // shared by the paths: the reference takes seconds
  for (size_t m = 0; m < std::size(kModels); ++m) {
    const Model& model = kModels[m];
    Expected& expected = (*all_expected)[m];
    for (int page_tokens : {16, 48, 512}) {
      Batch batch(model, lengths, page_tokens);
      if (expected.o.empty()) {
        expected.o.resize(static_cast<size_t>(batch.rows() * model.q_width()));
        expected.lse.resize(static_cast<size_t>(batch.rows() * model.heads));
        reference::Attention(model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(), batch.q.data(),
                             model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(), batch.starts,
                             expected.o.data(), expected.lse.data());
      }
      std::vector<float> o, lse;
      batch.Run(*Context(), 1000, &o, &lse);
      const double tolerance = ForwardTolerance(model, 290);
      EXPECT_TRUE(Near(o, expected.o, tolerance, 0, model.head_dim))
          << "E " << model.head_dim << ", page " << page_tokens;
      EXPECT_TRUE(Near(lse, expected.lse, tolerance, 4 * kEpsilon, model.heads));
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST_P(AttentionTest, DecodeEqualsPrefillForAnyChunkPageAndThreadCount) {
  for (const Model& model :
       {Model{9, 3, 64, DType::kBf16}, Model{4, 4, 32, DType::kF32}, Model{6, 2, 10, DType::kBf16}}) {
    const std::vector<int64_t> lengths = {1, 33, 300, 530};
    std::vector<float> expected_o, expected_lse;
    Batch(model, lengths, 16).Run(*Context(1), 1, &expected_o, &expected_lse);
    for (const auto& [chunk, page_tokens, threads] :
         {std::array{1, 32, 2}, std::array{7, 16, 2}, std::array{16, 64, 3}, std::array{100, 48, 1},
          std::array{1000, 16, 3}, std::array{1000, 1024, 2}}) {
      std::vector<float> o, lse;
      Batch(model, lengths, page_tokens).Run(*Context(threads), chunk, &o, &lse);
      EXPECT_TRUE(SameBits(o, expected_o, model.head_dim))
          << "chunk " << chunk << ", page " << page_tokens << ", threads " << threads;
      EXPECT_TRUE(SameBits(lse, expected_lse, model.heads))
          << "chunk " << chunk << ", page " << page_tokens << ", threads " << threads;
    }
  }
}

TEST_P(AttentionTest, ASequenceAloneEqualsItselfInTheBatch) {
  const Model model{9, 3, 64, DType::kBf16};
  Batch batch(model, {20, 300, 5}, 32);
  std::vector<float> o, lse, alone_o(o), alone_lse;
  batch.Run(*Context(), 1000, &o, &lse);
  alone_o.assign(o.size(), kNan);
  alone_lse.assign(lse.size(), kNan);
  for (size_t s = 0; s < 3; ++s) {
    const AttentionSequence part[] = {batch.Part(s, 0, batch.starts[s + 1] - batch.starts[s])};
    Attention(*Context(1), batch.layout, model.heads, model.scale(), batch.q.data(), model.q_width(), part,
              batch.memory.data(), alone_o.data(), alone_lse.data());
  }
  EXPECT_TRUE(SameBits(alone_o, o, model.head_dim));
  EXPECT_TRUE(SameBits(alone_lse, lse, model.heads));
}

TEST_P(AttentionTest, LaterTokensInThePageLeaveNoTraceEvenIfInfinite) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    const Model model{4, 2, 16, dtype};
    Batch batch(model, {40}, 16);
    std::vector<float> o, lse;
    batch.Run(*Context(), 1000, &o, &lse);
    // The same first 25 tokens, followed by poison.
    for (int64_t i = 25 * model.kv_width(); i < 40 * model.kv_width(); ++i) {
      batch.k[static_cast<size_t>(i)] = kNan;
      batch.v[static_cast<size_t>(i)] = std::numeric_limits<float>::infinity();
    }
    std::vector<float> poisoned_o, poisoned_lse;
    batch.Run(*Context(), 1000, &poisoned_o, &poisoned_lse);
    const size_t kept = static_cast<size_t>(25 * model.q_width());
    EXPECT_TRUE(SameBits(std::span(poisoned_o).first(kept), std::span(o).first(kept), model.head_dim));
    for (size_t i = kept; i < poisoned_o.size(); ++i) EXPECT_TRUE(std::isnan(poisoned_o[i]));  // and NaN does not hide
  }
}

TEST_P(AttentionTest, BackwardMatchesTheReference) {
  for (const Model& model : kModels) {
    const std::vector<int64_t> lengths = {1, 15, 33, 0, 70};
    Batch batch(model, lengths, 16);
    std::vector<float> o, lse;
    batch.Run(*Context(), 1000, &o, &lse);
    const auto d_o = Normal(9, batch.rows() * model.q_width());
    std::vector<float> dq(batch.q.size(), kNan), dk(batch.k.size(), kNan), dv(batch.v.size(), kNan), edq(dq), edk(dk),
        edv(dv);
    AttentionBackward(*Context(), model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(),
                      batch.q.data(), model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(), o.data(),
                      lse.data(), d_o.data(), WholeSequences(batch.starts), dq.data(), dk.data(), dv.data());
    reference::AttentionBackward(model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(),
                                 batch.q.data(), model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(),
                                 d_o.data(), batch.starts, edq.data(), edk.data(), edv.data());
    for (const auto& [actual, expected] : {std::pair{&dq, &edq}, std::pair{&dk, &edk}, std::pair{&dv, &edv}}) {
      EXPECT_TRUE(Near(*actual, *expected, BackwardTolerance(model, 70, GetParam(), *expected), 0, model.head_dim))
          << "E " << model.head_dim;
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST_P(AttentionTest, BackwardIsTheSameForAnyThreadCountAndBatch) {
  const Model model{9, 3, 64, DType::kBf16};
  Batch batch(model, {100, 33, 290}, 16);
  std::vector<float> o, lse;
  batch.Run(*Context(), 1000, &o, &lse);
  const auto d_o = Normal(9, batch.rows() * model.q_width());
  std::vector<float> first_dq, first_dk;
  for (int threads : {1, 2, 3}) {
    std::vector<float> dq(batch.q.size()), dk(batch.k.size()), dv(batch.v.size());
    auto ctx = Context(threads);
    auto run = [&](std::span<const int64_t> starts) {
      AttentionBackward(*ctx, model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(), batch.q.data(),
                        model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(), o.data(), lse.data(),
                        d_o.data(), WholeSequences(starts), dq.data(), dk.data(), dv.data());
    };
    if (threads < 3) {
      run(batch.starts);
    } else {
      for (size_t s = 0; s < 3; ++s) run(std::span(batch.starts).subspan(s, 2));
    }
    if (first_dq.empty()) {
      first_dq = dq;
      first_dk = dk;
    }
    EXPECT_TRUE(SameBits(dq, first_dq, model.head_dim));
    EXPECT_TRUE(SameBits(dk, first_dk, model.head_dim));
  }
}

// A prefix that several segments follow: what the reference says of each sequence written out in full, the prefix's
// gradients summed. `written_out` begins with the prefix alone; then the prefix and each follower's own tokens.
struct SharedBatch {
  SharedBatch(const Model& model, int64_t prefix, const std::vector<int64_t>& counts)
      : written_out(model, Lengths(prefix, counts), 16) {
    const int64_t q = model.q_width(), kv = model.kv_width();
    segments.push_back({0, prefix, -1});
    for (size_t s = 1; s + 1 < written_out.starts.size(); ++s) {
      const int64_t row = written_out.starts[s];
      std::copy_n(written_out.q.begin(), prefix * q, written_out.q.begin() + row * q);
      std::copy_n(written_out.k.begin(), prefix * kv, written_out.k.begin() + row * kv);
      std::copy_n(written_out.v.begin(), prefix * kv, written_out.v.begin() + row * kv);
      segments.push_back({segments.back().row + segments.back().count, counts[s - 1], 0});
    }
  }
  static std::vector<int64_t> Lengths(int64_t prefix, const std::vector<int64_t>& counts) {
    std::vector<int64_t> lengths = {prefix};
    for (const int64_t count : counts) lengths.push_back(prefix + count);
    return lengths;
  }
  // Rows of each segment, of `width` floats, from where its sequence is written out.
  std::vector<float> Packed(const std::vector<float>& x, int64_t width) const {
    std::vector<float> packed;
    for (size_t s = 0; s < segments.size(); ++s) {
      const int64_t row = written_out.starts[s + 1] - segments[s].count;
      packed.insert(packed.end(), x.begin() + row * width, x.begin() + (row + segments[s].count) * width);
    }
    return packed;
  }
  Batch written_out;
  std::vector<PackedSegment> segments;
};

TEST_P(AttentionTest, BackwardOfASharedPrefixIsTheSumOverItsFollowers) {
  for (const Model& model : kModels) {
    for (const int64_t prefix : {5, 16, 70}) {
      SharedBatch shared(model, prefix, {1, 33, 0, 20});
      Batch& full = shared.written_out;
      const int64_t q_width = model.q_width(), kv_width = model.kv_width();
      std::vector<float> o, lse;
      full.Run(*Context(), 1000, &o, &lse);
      auto d_o = Normal(9, full.rows() * q_width);
      for (size_t s = 1; s < shared.segments.size(); ++s) {
        std::fill_n(d_o.begin() + full.starts[s] * q_width, prefix * q_width, 0.0f);
      }
      std::vector<float> edq(full.q.size()), edk(full.k.size()), edv(full.v.size());
      reference::AttentionBackward(model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(),
                                   full.q.data(), q_width, full.k.data(), full.v.data(), kv_width, d_o.data(),
                                   full.starts, edq.data(), edk.data(), edv.data());
      for (size_t s = 1; s < shared.segments.size(); ++s) {
        for (int64_t i = 0; i < prefix * kv_width; ++i) {
          edk[static_cast<size_t>(i)] += edk[static_cast<size_t>(full.starts[s] * kv_width + i)];
          edv[static_cast<size_t>(i)] += edv[static_cast<size_t>(full.starts[s] * kv_width + i)];
        }
      }
      const auto q = shared.Packed(full.q, q_width), k = shared.Packed(full.k, kv_width),
                 v = shared.Packed(full.v, kv_width), packed_o = shared.Packed(o, q_width),
                 packed_lse = shared.Packed(lse, model.heads), packed_d_o = shared.Packed(d_o, q_width);
      std::vector<float> first_dk;
      for (const int threads : {1, 3}) {
        std::vector<float> dq(q.size(), kNan), dk(k.size(), kNan), dv(v.size(), kNan);
        AttentionBackward(*Context(threads), model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(),
                          q.data(), q_width, k.data(), v.data(), kv_width, packed_o.data(), packed_lse.data(),
                          packed_d_o.data(), shared.segments, dq.data(), dk.data(), dv.data());
        const auto check = [&](const std::vector<float>& actual, const std::vector<float>& expected) {
          EXPECT_TRUE(
              Near(actual, expected, BackwardTolerance(model, 5 * 103, GetParam(), expected), 0, model.head_dim))
              << "E " << model.head_dim << ", prefix " << prefix;
        };
        check(dq, shared.Packed(edq, q_width));
        check(dk, shared.Packed(edk, kv_width));
        check(dv, shared.Packed(edv, kv_width));
        if (first_dk.empty()) first_dk = dk;
        EXPECT_TRUE(SameBits(dk, first_dk, model.head_dim)) << threads << " threads";
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// Keys that other rows may not attend to: some, none, all of a sequence, and whole KV segments of 256: the first, a
// later one, two in a row, so that a row's own key may be its only one.
TEST_P(AttentionTest, MaskedKeysMatchTheReferenceForwardAndBackward) {
  for (const Model& model :
       {Model{4, 2, 16, DType::kF32}, Model{3, 1, 32, DType::kBf16}, Model{1, 1, 10, DType::kBf16}}) {
    const std::vector<int64_t> lengths = {1, 40, 290, 530, 530, 33};
    Batch batch(model, lengths, 16);
    std::vector<float> o, lse;
    batch.Run(*Context(), 1000, &o, &lse);
    std::vector<float> bias(static_cast<size_t>(batch.rows()), 0.0f);
    constexpr float kMasked = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < 40; i += 3) bias[static_cast<size_t>(1 + i)] = kMasked;
    std::fill_n(bias.begin() + 41, 290, kMasked);
    std::fill_n(bias.begin() + batch.starts[3], 512, kMasked);
    std::fill_n(bias.begin() + batch.starts[4] + 256, 256, kMasked);
    std::vector<AttentionSequence> all;
    for (size_t s = 0; s < lengths.size(); ++s) all.push_back(batch.Part(s, 0, lengths[s]));
    const std::vector<float> plain_o = o;
    Attention(*Context(), batch.layout, model.heads, model.scale(), batch.q.data(), model.q_width(), all,
              batch.memory.data(), o.data(), lse.data(), bias.data());
    std::vector<float> expected_o(o.size()), expected_lse(lse.size());
    reference::Attention(model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(), batch.q.data(),
                         model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(), batch.starts,
                         expected_o.data(), expected_lse.data(), bias.data());
    const double tolerance = ForwardTolerance(model, 530);
    EXPECT_TRUE(Near(o, expected_o, tolerance, 0, model.head_dim)) << "E " << model.head_dim;
    EXPECT_TRUE(Near(lse, expected_lse, tolerance, 4 * kEpsilon, model.heads));
    // Of the last sequence nothing is masked: it has the bits that it has without a mask.
    const size_t last = static_cast<size_t>(batch.starts[lengths.size() - 1] * model.q_width());
    EXPECT_TRUE(SameBits(std::span(o).subspan(last), std::span(plain_o).subspan(last), model.head_dim));

    const auto d_o = Normal(9, batch.rows() * model.q_width());
    std::vector<float> dq(batch.q.size(), kNan), dk(batch.k.size(), kNan), dv(batch.v.size(), kNan), edq(dq), edk(dk),
        edv(dv);
    AttentionBackward(*Context(), model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(),
                      batch.q.data(), model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(), o.data(),
                      lse.data(), d_o.data(), WholeSequences(batch.starts), dq.data(), dk.data(), dv.data(),
                      bias.data());
    reference::AttentionBackward(model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(),
                                 batch.q.data(), model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(),
                                 d_o.data(), batch.starts, edq.data(), edk.data(), edv.data(), bias.data());
    // Each sequence alone, on other numbers of threads: the same bits.
    std::vector<float> alone_o(o.size(), kNan), alone_lse(lse.size(), kNan), alone_dq(dq.size(), kNan),
        alone_dk(dk.size(), kNan), alone_dv(dv.size(), kNan);
    for (size_t s = 0; s < lengths.size(); ++s) {
      const auto ctx = Context(s % 2 == 0 ? 1 : 3);
      Attention(*ctx, batch.layout, model.heads, model.scale(), batch.q.data(), model.q_width(), std::span(&all[s], 1),
                batch.memory.data(), alone_o.data(), alone_lse.data(), bias.data());
      AttentionBackward(*ctx, model.dtype, model.heads, model.kv_heads, model.head_dim, model.scale(), batch.q.data(),
                        model.q_width(), batch.k.data(), batch.v.data(), model.kv_width(), o.data(), lse.data(),
                        d_o.data(), WholeSequences(std::span(batch.starts).subspan(s, 2)), alone_dq.data(),
                        alone_dk.data(), alone_dv.data(), bias.data());
    }
    EXPECT_TRUE(SameBits(alone_o, o, model.head_dim));
    EXPECT_TRUE(SameBits(alone_lse, lse, model.heads));
    EXPECT_TRUE(SameBits(alone_dq, dq, model.head_dim));
    EXPECT_TRUE(SameBits(alone_dk, dk, model.head_dim));
    EXPECT_TRUE(SameBits(alone_dv, dv, model.head_dim));
    for (const auto& [actual, expected] : {std::pair{&dq, &edq}, std::pair{&dk, &edk}, std::pair{&dv, &edv}}) {
      EXPECT_TRUE(Near(*actual, *expected, BackwardTolerance(model, 530, GetParam(), *expected), 0, model.head_dim))
          << "E " << model.head_dim;
    }
    if (::testing::Test::HasFailure()) return;
  }
}

// The reference's own gradients against difference quotients of its forward pass.
TEST(AttentionReference, GradientIsTheSlopeOfTheForwardPass) {
  const int heads = 4, kv_heads = 2, head_dim = 4;
  const int64_t tokens = 5, q_width = heads * head_dim, kv_width = kv_heads * head_dim;
  const std::vector<int64_t> starts = {0, tokens};
  auto q = Normal(1, tokens * q_width), k = Normal(2, tokens * kv_width), v = Normal(3, tokens * kv_width);
  const auto d_o = Normal(4, tokens * q_width);
  auto loss = [&] {
    std::vector<float> o(static_cast<size_t>(tokens * q_width));
    reference::Attention(DType::kF32, heads, kv_heads, head_dim, 0.5f, q.data(), q_width, k.data(), v.data(), kv_width,
                         starts, o.data(), nullptr);
    return std::inner_product(o.begin(), o.end(), d_o.begin(), 0.0);
  };
  std::vector<float> dq(q.size()), dk(k.size()), dv(v.size());
  reference::AttentionBackward(DType::kF32, heads, kv_heads, head_dim, 0.5f, q.data(), q_width, k.data(), v.data(),
                               kv_width, d_o.data(), starts, dq.data(), dk.data(), dv.data());
  for (auto [x, dx] : {std::pair{&q, &dq}, std::pair{&k, &dk}, std::pair{&v, &dv}}) {
    for (size_t i = 0; i < x->size(); ++i) {
      const float saved = (*x)[i];
      (*x)[i] = saved + 0x1p-7f;
      const double up = loss();
      (*x)[i] = saved - 0x1p-7f;
      const double down = loss();
      (*x)[i] = saved;
      ASSERT_NEAR((*dx)[i], (up - down) * 0x1p6, 2e-4);  // o is fp32: 6e-8 of noise over 2^-6, and the third derivative
    }
  }
}

HONE_ON_EVERY_PATH(AttentionTest);

}  // namespace
}  // namespace hone::kernels
