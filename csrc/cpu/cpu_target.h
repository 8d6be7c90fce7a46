// Which copy of a kernel runs: every kernel is compiled for each instruction set below, from one
// source (see foreach_target.h), and the best that the processor has is chosen at run time.
#pragma once

#if (defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)) && !defined(HTC_PORTABLE_ONLY)
#  define HTC_X86_TARGETS 1
#else
#  define HTC_X86_TARGETS 0
#endif
// Whether the compiler and its assembler know the instructions that multiply bfloat16 numbers.
#if HTC_X86_TARGETS && __GNUC__ >= 11
#  define HTC_BF16_TARGET 1
#else
#  define HTC_BF16_TARGET 0
#endif

namespace htc {

// The last two are of use to the kernels alone that multiply bfloat16 numbers, vectors or matrices
// of them; the others take the one before.
enum class CpuTarget { kPortable = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Bf16 = 3, kAmxBf16 = 4 };

// The best target of this processor, or a lower one named by
// HTC_OPS_TARGET=portable|avx2|avx512|avx512_bf16|amx_bf16. Decided once.
CpuTarget cpu_target();

// The best target of this processor.
CpuTarget best_cpu_target();

const char* cpu_target_name(CpuTarget target);

}  // namespace htc

// Inside `namespace htc::cpu`, in the run-once part of a kernel file: calls the copy of
// `function` (arguments in parentheses follow) that suits the processor.
#if HTC_X86_TARGETS
#  define HTC_DISPATCH(function)                                         \
    (::htc::cpu_target() >= ::htc::CpuTarget::kAvx512 ? avx512::function \
     : ::htc::cpu_target() == ::htc::CpuTarget::kAvx2 ? avx2::function   \
                                                      : portable::function)
#else
#  define HTC_DISPATCH(function) (portable::function)
#endif
// The same in files that are compiled for avx512_bf16 and amx_bf16 too (foreach_target.h).
#if HTC_BF16_TARGET
#  define HTC_DISPATCH_BF16(function)                                               \
    (::htc::cpu_target() == ::htc::CpuTarget::kAmxBf16      ? amx_bf16::function    \
     : ::htc::cpu_target() == ::htc::CpuTarget::kAvx512Bf16 ? avx512_bf16::function \
                                                            : HTC_DISPATCH(function))
#else
#  define HTC_DISPATCH_BF16(function) HTC_DISPATCH(function)
#endif
