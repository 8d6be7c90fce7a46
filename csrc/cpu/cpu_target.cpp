#include "cpu/cpu_target.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

#if HTC_BF16_TARGET && defined(__linux__)
#  include <cpuid.h>
#  include <sys/syscall.h>
#  include <unistd.h>
#endif

namespace htc {
namespace {

CpuTarget decide() {
  const CpuTarget best = best_cpu_target();
  if (const char* wanted = std::getenv("HTC_OPS_TARGET")) {
    for (const CpuTarget target : {CpuTarget::kPortable, CpuTarget::kAvx2, CpuTarget::kAvx512,
                                   CpuTarget::kAvx512Bf16, CpuTarget::kAmxBf16}) {
      if (std::strcmp(wanted, cpu_target_name(target)) == 0 && target <= best) return target;
    }
  }
  return best;
}

#if HTC_BF16_TARGET
// Whether the processor multiplies tiles of bfloat16 numbers and this process may have it do so:
// Linux hands their large registers to those alone who ask.
bool may_use_tiles() {
#  if defined(HTC_SOFTWARE_TILES)
  return true;
#  elif defined(__linux__) && defined(SYS_arch_prctl)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTiles = 1u << 24, kBf16 = 1u << 22;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTiles) == 0 || (d & kBf16) == 0) {
    return false;
  }
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#  else
  return false;
#  endif
}
#endif

}  // namespace

CpuTarget best_cpu_target() {
#if HTC_X86_TARGETS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
#  if HTC_BF16_TARGET
  if (avx512 && __builtin_cpu_supports("avx512bf16")) {
    if (may_use_tiles()) return CpuTarget::kAmxBf16;
    // Intel's vectors of bfloat16 numbers take twice as long as those of float32 (benchmarks).
    if (!__builtin_cpu_is("intel")) return CpuTarget::kAvx512Bf16;
  }
#  endif
  return avx512 ? CpuTarget::kAvx512 : avx2 ? CpuTarget::kAvx2 : CpuTarget::kPortable;
#else
  return CpuTarget::kPortable;
#endif
}

CpuTarget cpu_target() {
  static const CpuTarget target = decide();
  return target;
}

const char* cpu_target_name(CpuTarget target) {
  switch (target) {
    case CpuTarget::kAmxBf16:
      return "amx_bf16";
    case CpuTarget::kAvx512Bf16:
      return "avx512_bf16";
    case CpuTarget::kAvx512:
      return "avx512";
    case CpuTarget::kAvx2:
      return "avx2";
    default:
      return "portable";
  }
}

}  // namespace htc
