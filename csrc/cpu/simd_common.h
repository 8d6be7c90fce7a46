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

}  // namespace htc::cpu::simd
