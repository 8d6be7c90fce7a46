// Which copy of a kernel runs: every kernel is compiled for each instruction set below, from one
// source (see foreach_target.h), and the best that the processor has is chosen at run time.
#pragma once

#if (defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)) && !defined(HTC_PORTABLE_ONLY)
#  define HTC_X86_TARGETS 1
#else
#  define HTC_X86_TARGETS 0
#endif

namespace htc {

enum class CpuTarget { kPortable = 0, kAvx2 = 1, kAvx512 = 2 };

// The best target of this processor, or a lower one named by HTC_OPS_TARGET=portable|avx2|avx512.
// Decided once.
CpuTarget cpu_target();

// The best target of this processor.
CpuTarget best_cpu_target();

const char* cpu_target_name(CpuTarget target);

}  // namespace htc

// Inside `namespace htc::cpu`, in the run-once part of a kernel file: calls the copy of
// `function` (arguments in parentheses follow) that suits the processor.
#if HTC_X86_TARGETS
#  define HTC_DISPATCH(function)                                         \
    (::htc::cpu_target() == ::htc::CpuTarget::kAvx512 ? avx512::function \
     : ::htc::cpu_target() == ::htc::CpuTarget::kAvx2 ? avx2::function   \
                                                      : portable::function)
#else
#  define HTC_DISPATCH(function) (portable::function)
#endif
