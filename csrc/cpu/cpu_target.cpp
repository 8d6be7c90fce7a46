#include "cpu/cpu_target.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace htc {
namespace {

CpuTarget decide() {
  const CpuTarget best = best_cpu_target();
  if (const char* wanted = std::getenv("HTC_OPS_TARGET")) {
    for (const CpuTarget target :
         {CpuTarget::kPortable, CpuTarget::kAvx2, CpuTarget::kAvx512, CpuTarget::kAvx512Bf16}) {
      if (std::strcmp(wanted, cpu_target_name(target)) == 0 && target <= best) return target;
    }
  }
  return best;
}

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
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return CpuTarget::kAvx512Bf16;
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
