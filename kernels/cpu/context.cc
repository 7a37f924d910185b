#include "kernels/cpu/context.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "base/check.h"

namespace hone::kernels {
namespace {

// Raised whenever a change alters any op's bits on any path.
constexpr int kKernelRevision = 2;

class CpuContext final : public KernelContext {
 public:
  CpuContext(int threads, IsaPath path) : pool_(threads), path_(path) {}
  ThreadPool& pool() const override { return pool_; }
  IsaPath path() const override { return path_; }

 private:
  mutable ThreadPool pool_;
  const IsaPath path_;
};

}  // namespace

namespace cpu {
namespace {

// AMX needs the processor's bits and the kernel's leave to use 8 KiB of tile state in this process (Linux,
// arch_prctl(2)).
bool MayUseAmx() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kAmxBf16Bit = 1u << 22, kAmxTileBit = 1u << 24;
  if ((edx & kAmxBf16Bit) == 0 || (edx & kAmxTileBit) == 0) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool CpuHas(IsaPath path) {
  __builtin_cpu_init();
  switch (path) {
    case IsaPath::kBaseline:
      return true;
    case IsaPath::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case IsaPath::kAvx512:
      return CpuHas(IsaPath::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case IsaPath::kAvx512Bf16:
      return CpuHas(IsaPath::kAvx512) && __builtin_cpu_supports("avx512bf16");
    case IsaPath::kAmxBf16:
      static const bool permitted = CpuHas(IsaPath::kAvx512Bf16) && MayUseAmx();
      return permitted;
  }
  return false;
}

const KernelTable& TableOf(IsaPath path) {
  switch (path) {
    case IsaPath::kBaseline:
      return baseline::kTable;
    case IsaPath::kAvx2:
      return avx2::kTable;
    case IsaPath::kAvx512:
      return avx512::kTable;
    case IsaPath::kAvx512Bf16:
      return avx512bf16::kTable;
    case IsaPath::kAmxBf16:
      return amxbf16::kTable;
  }
  HONE_CHECK(false) << "unknown instruction path " << static_cast<int>(path);
  return baseline::kTable;
}

int64_t L2Bytes() {
  static const int64_t bytes = [] {
    const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return size > 0 ? int64_t{size} : int64_t{512} << 10;
  }();
  return bytes;
}

float* Scratch(ScratchUse use, size_t floats) {
  thread_local AlignedBuffer<float> buffers[static_cast<int>(ScratchUse::kSample) + 1];
  AlignedBuffer<float>& buffer = buffers[static_cast<int>(use)];
  buffer.Resize(floats);
  return buffer.data();
}

}  // namespace cpu

IsaPath KernelContext::BestPath() {
  for (IsaPath path : {IsaPath::kAmxBf16, IsaPath::kAvx512Bf16, IsaPath::kAvx512, IsaPath::kAvx2}) {
    if (cpu::CpuHas(path)) return path;
  }
  return IsaPath::kBaseline;
}

std::unique_ptr<KernelContext> KernelContext::Create(int threads) { return Create(threads, BestPath()); }

std::unique_ptr<KernelContext> KernelContext::Create(int threads, IsaPath path) {
  HONE_CHECK(cpu::CpuHas(path)) << "this processor lacks the instructions of path " << cpu::TableOf(path).name;
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  return std::make_unique<CpuContext>(threads, path);
}

std::string KernelContext::NumericsKey(DType dtype) const {
  // In fp32 the AVX-512 paths run the same instructions.
  const IsaPath numerics = dtype == DType::kF32 && path() > IsaPath::kAvx512 ? IsaPath::kAvx512 : path();
  return std::string("cpu/") + cpu::TableOf(numerics).name + (dtype == DType::kF32 ? "/f32/" : "/bf16/") +
         std::to_string(kKernelRevision);
}

}  // namespace hone::kernels
