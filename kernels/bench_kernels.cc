// Times the ops at the shapes of SmolLM2-135M (bf16) and of the small world (fp32).
//
// A row: median, fastest and slowest of repeated runs, the rate, and for products its share of the measured limit: the
// same path's tiles on operands that stay in L1, all threads at once. Operands of memory-bound rows are larger than the
// caches. JSON rows carry name, value, unit, min, max, peer, peer_value, ratio; the peer of a product is that limit.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/flags.h"
#include "kernels/cpu/context.h"
#include "kernels/ops.h"

namespace hone::kernels {
namespace {

struct Options {
  int threads = 0;
  std::string path;
  double seconds = 0.15;
  std::string filter;
  std::string json;
};

struct Row {
  std::string name;
  double value, min, max;  // rate: GFLOP/s, GB/s or million rows/s
  const char* unit;
  double peer_value;  // 0: none
};

// Wall time, or with --clock cpu the processor time of all threads: on a shared machine, with one thread, the steadier
// figure.
bool cpu_clock = false;

double Seconds() {
  timespec t;
  clock_gettime(cpu_clock ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

class Bench {
 public:
  Bench(const Options& options, const KernelContext& ctx) : options_(options), ctx_(ctx) {}

  // Runs `body` until the row's time is spent (at least three times); `work` per run in units of 1e9 of `unit`.
  void Run(const std::string& name, double work, const char* unit, double peak, const std::function<void()>& body) {
    if (name.find(options_.filter) == std::string::npos) return;
    body();  // warm-up: scratch grows, pages appear
    std::vector<double> times;
    const double start = Seconds();
    while (times.size() < 3 || (Seconds() - start < options_.seconds && times.size() < 1000)) {
      const double begin = Seconds();
      body();
      times.push_back(Seconds() - begin);
    }
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    Row row{name, work / median, work / times.back(), work / times.front(), unit, peak};
    std::printf("%-44s %10.1f us %10.1f %-8s [%.1f, %.1f]", name.c_str(), median * 1e6, row.value, unit, row.min,
                row.max);
    if (peak > 0) std::printf("  %3.0f %%", 100 * row.value / peak);
    std::printf("\n");
    std::fflush(stdout);
    rows_.push_back(row);
  }

  // Product tiles on operands in L1, every thread on its own: what the instructions themselves reach.
  double Peak(DType dtype) {
    const int64_t m = 32, n = 96, k = dtype == DType::kF32 ? 64 : 128, rounds = 400;
    const cpu::KernelTable& table = cpu::TableOf(ctx_);
    double best = 0;
    for (int attempt = 0; attempt < 5; ++attempt) {
      const double begin = Seconds();
      ctx_.pool().ParallelFor(ctx_.pool().threads(), 1, [&](int64_t first, int64_t last) {
        AlignedBuffer<float> a(m * k), b(n * k), c(m * n);
        std::fill_n(a.data(), a.size(), 0.0f);
        std::fill_n(b.data(), b.size(), 0.0f);
        const int64_t steps = dtype == DType::kF32 ? k : cpu::Bf16Steps(k);
        const int64_t stride = dtype == DType::kBf16 && table.bf16_operand == cpu::Bf16Operand::kFloatRows ? k : steps;
        const cpu::GemmBlock block{a.data(), stride, b.data(), steps * 16, 16,      m,
                                   n,        steps,  c.data(), n,          nullptr, cpu::CMode::kStore};
        for (int64_t i = first; i < last; ++i) {
          for (int64_t r = 0; r < rounds; ++r) (dtype == DType::kF32 ? table.gemm_f32 : table.gemm_bf16)(block, false);
        }
      });
      best =
          std::max(best, 2e-9 * static_cast<double>(ctx_.pool().threads() * rounds * m * n * k) / (Seconds() - begin));
    }
    return best;
  }

  bool WriteJson() const {
    if (options_.json.empty()) return true;
    FILE* file = std::fopen(options_.json.c_str(), "w");
    if (file == nullptr) return false;
    std::fprintf(file, "[\n");
    for (size_t i = 0; i < rows_.size(); ++i) {
      const Row& r = rows_[i];
      std::fprintf(file, "  {\"name\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", \"min\": %.4g, \"max\": %.4g, ",
                   r.name.c_str(), r.value, r.unit, r.min, r.max);
      if (r.peer_value > 0) {
        std::fprintf(file, "\"peer\": \"L1-resident tiles\", \"peer_value\": %.4g, \"ratio\": %.3g}", r.peer_value,
                     r.value / r.peer_value);
      } else {
        std::fprintf(file, "\"peer\": null, \"peer_value\": null, \"ratio\": null}");
      }
      std::fprintf(file, i + 1 < rows_.size() ? ",\n" : "\n");
    }
    std::fprintf(file, "]\n");
    return std::fclose(file) == 0;
  }

 private:
  const Options& options_;
  const KernelContext& ctx_;
  std::vector<Row> rows_;
};

std::vector<float> Normal(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  NormalDraws(1, n, x.data());
  return x;
}

const char* Name(DType dtype) { return dtype == DType::kF32 ? "f32" : "bf16"; }

void Products(Bench& bench, const KernelContext& ctx, DType dtype,
              const std::vector<std::pair<int64_t, int64_t>>& shapes, const std::vector<int64_t>& rows, double peak) {
  for (const auto& shape_of_weight : shapes) {
    const int64_t n = shape_of_weight.first, k = shape_of_weight.second;
    const auto w = Normal(n * k), a = Normal(rows.back() * std::max(n, k));
    PackedMatrix packed;
    bench.Run(std::string("pack ") + Name(dtype) + " N=" + std::to_string(n) + " K=" + std::to_string(k),
              1e-9 * static_cast<double>(n * k * (dtype == DType::kF32 ? 8 : 6)), "GB/s", 0,
              [&] { packed.Pack(ctx, w.data(), n, k, k, dtype); });
    packed.Pack(ctx, w.data(), n, k, k, dtype);
    std::vector<float> c(static_cast<size_t>(rows.back() * n));
    for (int64_t m : rows) {
      const std::string shape =
          std::string(Name(dtype)) + " N=" + std::to_string(n) + " K=" + std::to_string(k) + " M=" + std::to_string(m);
      const double work = 2e-9 * static_cast<double>(m * n * k);
      bench.Run("gemm " + shape, work, "GFLOP/s", peak,
                [&] { Gemm(ctx, a.data(), k, m, packed, nullptr, false, c.data(), n); });
      if (m >= 1024 && n * k < 10 * 1000 * 1000) {
        std::vector<float> dw(static_cast<size_t>(n * k));
        bench.Run("weight gradient " + shape, work, "GFLOP/s", peak,
                  [&] { GemmWeightGradient(ctx, c.data(), n, a.data(), k, m, n, k, dtype, dw.data()); });
      }
    }
  }
}

// `sequences` of `length` tokens; decode: one more query each.
void Attentions(Bench& bench, const KernelContext& ctx, DType dtype, int heads, int kv_heads, int head_dim,
                int64_t sequences, int64_t length) {
  const KvLayout layout{64, kv_heads, head_dim, dtype};
  const int64_t rows = sequences * length, q_width = heads * head_dim, kv_width = kv_heads * head_dim;
  const auto q = Normal(rows * q_width), k = Normal(rows * kv_width), v = Normal(rows * kv_width);
  const int64_t pages_each = cpu::CeilDiv(length, 64);
  std::vector<int32_t> pages(static_cast<size_t>(sequences * pages_each));
  std::iota(pages.begin(), pages.end(), 0);
  std::vector<std::byte> memory(pages.size() * layout.page_bytes());
  std::vector<AttentionSequence> all, last;
  std::vector<PackedSegment> segments;
  for (int64_t s = 0; s < sequences; ++s) {
    const auto count = static_cast<int32_t>(length);
    all.push_back({s * length, count, 0, &pages[static_cast<size_t>(s * pages_each)]});
    last.push_back({s * length, 1, count - 1, &pages[static_cast<size_t>(s * pages_each)]});
    segments.push_back({s * length, length, -1});
  }
  std::vector<float> o(q.size()), lse(static_cast<size_t>(rows * heads)), dq(q.size()), dk(k.size()), dv(v.size());
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const std::string shape = std::string(Name(dtype)) + " H=" + std::to_string(heads) + "/" + std::to_string(kv_heads) +
                            " E=" + std::to_string(head_dim) + " " + std::to_string(sequences) + "x" +
                            std::to_string(length);
  const double pairs = static_cast<double>(sequences * heads * length) * static_cast<double>(length + 1) / 2;
  bench.Run("kv write " + shape, 1e-9 * static_cast<double>(rows * kv_width * 8), "GB/s", 0,
            [&] { KvWrite(ctx, layout, k.data(), v.data(), kv_width, all, memory.data()); });
  KvWrite(ctx, layout, k.data(), v.data(), kv_width, all, memory.data());
  bench.Run("attention prefill " + shape, 4e-9 * pairs * head_dim, "GFLOP/s", 0,
            [&] { Attention(ctx, layout, heads, scale, q.data(), q_width, all, memory.data(), o.data(), lse.data()); });
  bench.Run("attention decode " + shape, 1e-9 * static_cast<double>(memory.size()), "GB/s", 0,
            [&] { Attention(ctx, layout, heads, scale, q.data(), q_width, last, memory.data(), o.data(), nullptr); });
  Attention(ctx, layout, heads, scale, q.data(), q_width, all, memory.data(), o.data(), lse.data());
  bench.Run("attention backward " + shape, 10e-9 * pairs * head_dim, "GFLOP/s", 0, [&] {
    AttentionBackward(ctx, dtype, heads, kv_heads, head_dim, scale, q.data(), q_width, k.data(), v.data(), kv_width,
                      o.data(), lse.data(), q.data(), segments, dq.data(), dk.data(), dv.data());
  });
}

void Rows(Bench& bench, const KernelContext& ctx, int64_t rows, int64_t d, int64_t f, int64_t vocab,
          int64_t vocab_rows) {
  const std::string shape = " T=" + std::to_string(rows) + " D=" + std::to_string(d);
  const auto x = Normal(rows * 2 * f);
  std::vector<float> y(x.size()), w(static_cast<size_t>(d), 1.0f), dw(w.size()), inverse(static_cast<size_t>(rows)),
      z(x.size());
  bench.Run("rms norm" + shape, 8e-9 * static_cast<double>(rows * d), "GB/s", 0,
            [&] { RmsNorm(ctx, x.data(), d, w.data(), 1e-5f, rows, d, y.data(), d, inverse.data()); });
  bench.Run("rms norm backward" + shape, 12e-9 * static_cast<double>(rows * d), "GB/s", 0, [&] {
    RmsNormBackward(ctx, x.data(), d, w.data(), inverse.data(), x.data(), d, rows, d, false, y.data(), d, dw.data());
  });
  bench.Run("swiglu" + shape, 12e-9 * static_cast<double>(rows * f), "GB/s", 0,
            [&] { SwiGlu(ctx, x.data(), rows, f, y.data()); });
  bench.Run("swiglu backward" + shape, 20e-9 * static_cast<double>(rows * f), "GB/s", 0,
            [&] { SwiGluBackward(ctx, x.data(), y.data(), rows, f, z.data()); });
  auto logits = Normal(vocab_rows * vocab);
  std::vector<int32_t> targets(static_cast<size_t>(vocab_rows), 3);
  std::vector<float> lp(targets.size()), h(targets.size()), lse(targets.size());
  const std::string lshape = " T=" + std::to_string(vocab_rows) + " V=" + std::to_string(vocab);
  bench.Run("log prob" + lshape, 4e-9 * static_cast<double>(vocab_rows * vocab), "GB/s", 0, [&] {
    LogProb(ctx, logits.data(), vocab, vocab_rows, vocab, 1.0f, targets.data(), lp.data(), h.data(), lse.data());
  });
  bench.Run("sample" + lshape, 4e-9 * static_cast<double>(vocab), "GB/s", 0,
            [&] { targets[0] = Sample(logits.data(), vocab, {}, 0.7, nullptr); });
  bench.Run("log prob backward" + lshape, 8e-9 * static_cast<double>(vocab_rows * vocab), "GB/s", 0, [&] {
    LogProbBackward(ctx, logits.data(), vocab, vocab_rows, vocab, 1.0f, targets.data(), lse.data(), nullptr, lp.data(),
                    nullptr);
  });
}

void Optimizer(Bench& bench, const KernelContext& ctx, int64_t n) {
  std::vector<float> g = Normal(n), w(g), m(g.size()), v(g.size());
  const AdamWParams params{1e-3f, 0.9f, 0.95f, 1e-8f, 0.01f, 0.1, 0.05, 1.0f};
  const std::string size = " n=" + std::to_string(n);
  bench.Run("adamw" + size, 28e-9 * static_cast<double>(n), "GB/s", 0,
            [&] { AdamW(ctx, params, n, g.data(), w.data(), m.data(), v.data()); });
  bench.Run("sum of squares" + size, 4e-9 * static_cast<double>(n), "GB/s", 0,
            [&] { w[0] = static_cast<float>(SumOfSquares(ctx, g.data(), n)); });
}

int Main(int argc, char** argv) {
  Options options;
  std::string clock = "wall";
  FlagParser flags("bench_kernels",
                   "Measures the rate of every kernel at the shapes of SmolLM2-135M and of the small world.");
  flags.Add("threads", &options.threads, "compute threads; 0 = one per core");
  flags.Add("path", &options.path,
            "instruction path: baseline, avx2, avx512, avx512bf16 or amxbf16; default the best one here");
  flags.Add("seconds", &options.seconds, "measuring time of each row");
  flags.Add("filter", &options.filter, "only rows whose name contains this");
  flags.Add("clock", &clock, "wall, or cpu: the time that this program had a processor");
  flags.Add("json", &options.json, "JSON file for the rows");
  absl::Status status = flags.Parse(argc, argv);
  if (status.ok() && clock != "wall" && clock != "cpu") status = absl::InvalidArgumentError("--clock: wall or cpu");
  if (!status.ok()) return FlagParser::Exit(status);
  cpu_clock = clock == "cpu";
  IsaPath path = KernelContext::BestPath();
  for (IsaPath candidate : cpu::kAllPaths) {
    if (options.path == cpu::TableOf(candidate).name && cpu::CpuHas(candidate)) path = candidate;
  }
  const auto ctx = KernelContext::Create(options.threads, path);
  if (!options.path.empty() && options.path != cpu::TableOf(path).name) {
    std::fprintf(stderr, "--path %s: this processor has no such path\n", options.path.c_str());
    return 2;
  }
  Bench bench(options, *ctx);
  const double peak_f32 = bench.Peak(DType::kF32), peak_bf16 = bench.Peak(DType::kBf16);
  std::printf("path %s, %d threads; limit (L1-resident tiles) f32 %.0f, bf16 %.0f GFLOP/s\n", cpu::TableOf(path).name,
              ctx->pool().threads(), peak_f32, peak_bf16);
  // SmolLM2-135M: qkv, attention output, gate and up, down, LM head.
  Products(bench, *ctx, DType::kBf16, {{960, 576}, {576, 576}, {3072, 576}, {576, 1536}}, {1, 8, 32, 64, 256, 2048},
           peak_bf16);
  Products(bench, *ctx, DType::kBf16, {{49152, 576}}, {1, 8, 32, 64, 256}, peak_bf16);
  Attentions(bench, *ctx, DType::kBf16, 9, 3, 64, 8, 256);
  Attentions(bench, *ctx, DType::kBf16, 9, 3, 64, 64, 200);
  Rows(bench, *ctx, 2048, 576, 1536, 49152, 256);
  Optimizer(bench, *ctx, 20 * 1000 * 1000);
  // The small world.
  Products(bench, *ctx, DType::kF32, {{384, 128}, {128, 128}, {512, 128}, {128, 256}, {54, 128}}, {32, 256, 3000},
           peak_f32);
  Attentions(bench, *ctx, DType::kF32, 4, 4, 32, 64, 47);
  Rows(bench, *ctx, 3000, 128, 256, 54, 3000);
  Optimizer(bench, *ctx, 499328);
  if (!bench.WriteJson()) {
    std::fprintf(stderr, "cannot write %s\n", options.json.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace hone::kernels

int main(int argc, char** argv) { return hone::kernels::Main(argc, argv); }
