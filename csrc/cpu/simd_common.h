// The part of simd.h that does not depend on the target.
#pragma once

#include <cstddef>
#include <cstdint>

#include "htc/macros.h"

#if defined(__x86_64__)
#  include <immintrin.h>
#endif

namespace htc::cpu::simd {

template <typename T, int kBytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes)));
};

template <typename T>
struct IntOf;
template <>
struct IntOf<float> {
  using type = int32_t;
};
template <>
struct IntOf<double> {
  using type = int64_t;
};
template <>
struct IntOf<int32_t> {
  using type = int32_t;
};
template <>
struct IntOf<int64_t> {
  using type = int64_t;
};

// Lanes of a and b, counted through, by constant numbers. (g++ knows the first form from 12 on.)
#if defined(__clang__)
#  define HTC_SHUFFLE(index_type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#  define HTC_SHUFFLE(index_type, a, b, ...) __builtin_shuffle(a, b, index_type{__VA_ARGS__})
#endif

}  // namespace htc::cpu::simd
