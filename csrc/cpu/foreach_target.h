// Compiles one kernel source for every instruction set of cpu_target.h. A kernel file reads:
//
//     #include ...every other header first...          (they are compiled once, for the baseline)
//     #define HTC_TARGET_SOURCE "cpu/nms_cpu.cpp"      (its own name)
//     #include "cpu/foreach_target.h"                   (from here on the file is read per target)
//     #include "cpu/simd.h"
//     namespace htc::cpu::HTC_TARGET { ...kernels, written with simd.h... }
//     #if HTC_RUN_ONCE
//     namespace htc::cpu { ...public functions, each `return HTC_DISPATCH(kernel)(...)` }
//     #endif
//
// No include guard: that is the point.
//
// A file that multiplies bfloat16 numbers also defines HTC_TARGET_WITH_BF16 before, is read twice
// more, for avx512_bf16 and amx_bf16, and calls those functions by HTC_DISPATCH_BF16.
//
// HTC_TARGET_LEVEL is the value of CpuTarget. Kernels and simd.h ask it, and not __AVX2__ and the
// like: g++ 12 leaves those macros as they are on the command line within `#pragma GCC target`.
#ifndef HTC_TARGET_SOURCE
#  error "define HTC_TARGET_SOURCE as the name of the including file first"
#endif

#ifndef HTC_TARGET
#  include "cpu/cpu_target.h"
#  if HTC_X86_TARGETS
#    include <immintrin.h>

#    define HTC_RUN_ONCE 0

#    define HTC_TARGET avx2
#    define HTC_TARGET_LEVEL 1
#    pragma GCC push_options
#    pragma GCC target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")
#    include HTC_TARGET_SOURCE
#    pragma GCC pop_options
#    undef HTC_TARGET
#    undef HTC_TARGET_LEVEL

#    define HTC_TARGET avx512
#    define HTC_TARGET_LEVEL 2
#    pragma GCC push_options
#    pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")
#    include HTC_TARGET_SOURCE
#    pragma GCC pop_options
#    undef HTC_TARGET
#    undef HTC_TARGET_LEVEL

#    if HTC_BF16_TARGET && defined(HTC_TARGET_WITH_BF16)
#      define HTC_TARGET avx512_bf16
#      define HTC_TARGET_LEVEL 3
#      pragma GCC push_options
#      pragma GCC target( \
          "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")
#      include HTC_TARGET_SOURCE
#      undef HTC_TARGET
#      undef HTC_TARGET_LEVEL

#      define HTC_TARGET amx_bf16  // its few instructions are written out in cpu/tiles.h
#      define HTC_TARGET_LEVEL 4
#      include HTC_TARGET_SOURCE
#      pragma GCC pop_options
#      undef HTC_TARGET
#      undef HTC_TARGET_LEVEL
#    endif

#    undef HTC_RUN_ONCE
#  endif  // HTC_X86_TARGETS

// Last the baseline, compiled where the including file itself goes on.
#  define HTC_TARGET portable
#  define HTC_TARGET_LEVEL 0
#  define HTC_RUN_ONCE 1
#endif  // HTC_TARGET
