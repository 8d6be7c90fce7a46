// Vectors of one target's width, on the compiler's own vector types: `+ - * /`, comparisons and
// `mask ? a : b` are written as for scalars. Read once per target, inside its namespace.
//
// No include guard: foreach_target.h reads it again for every instruction set.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

#include "cpu/simd_common.h"

namespace htc::cpu::HTC_TARGET {

#if HTC_TARGET_LEVEL >= 2
constexpr int kVectorBytes = 64;
#elif HTC_TARGET_LEVEL == 1
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// Lanes of a full vector of T: 16 floats under AVX-512, 8 under AVX2, 4 beneath.
template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T>
using Vec = typename simd::VectorOf<T, kVectorBytes>::type;

// What a comparison of two Vec<T> gives: lanes of all ones or all zeros.
template <typename T>
using Mask = typename simd::VectorOf<typename simd::IntOf<T>::type, kVectorBytes>::type;

template <typename T>
HTC_INLINE Vec<T> broadcast(T value) {
  return value - Vec<T>{};  // x - 0 is x, -0 included, so that no arithmetic is left of it
}

template <typename T>
HTC_INLINE Vec<T> load(const T* source) {  // no alignment asked
  Vec<T> result;
  __builtin_memcpy(&result, source, sizeof(result));
  return result;
}

template <typename T>
HTC_INLINE void store(T* target, Vec<T> value) {
  __builtin_memcpy(target, &value, sizeof(value));
}

// `store` past the caches, to memory that is aligned to kVectorBytes. Other threads see it after a
// stream_fence() of this one alone. A plain store where the target has none.
template <typename T>
HTC_INLINE void stream(T* target, Vec<T> value) {
#if HTC_TARGET_LEVEL >= 2
  _mm512_stream_si512(reinterpret_cast<__m512i*>(target), (__m512i)value);
#elif HTC_TARGET_LEVEL == 1
  _mm256_stream_si256(reinterpret_cast<__m256i*>(target), (__m256i)value);
#else
  store(target, value);
#endif
}
HTC_INLINE void stream_fence() {
#if HTC_TARGET_LEVEL > 0
  _mm_sfence();
#endif
}

// The first `count` lanes; the others are zero and their memory is not touched.
template <typename T>
HTC_INLINE Vec<T> load_first(const T* source, int count) {
  Vec<T> result{};
  __builtin_memcpy(&result, source, sizeof(T) * static_cast<size_t>(count));
  return result;
}

template <typename T>
HTC_INLINE void store_first(T* target, Vec<T> value, int count) {
  T all[kLanes<T>];
  __builtin_memcpy(all, &value, sizeof(all));
  const T* source = all;
  for (int part = kLanes<T>; part > 0; part /= 2) {  // of known sizes: no function is called
    if ((count & part) == 0) continue;
    __builtin_memcpy(target, source, sizeof(T) * static_cast<size_t>(part));
    target += part;
    source += part;
  }
}

// 0, 1, 2, ...
template <typename T>
HTC_INLINE Vec<T> iota() {
  Vec<T> result;
  for (int lane = 0; lane < kLanes<T>; ++lane) result[lane] = static_cast<T>(lane);
  return result;
}

// Comparisons as in geometry.h: a NaN operand gives b. One instruction on x86.
template <typename V>
HTC_INLINE V max_or(V a, V b) {
  return a > b ? a : b;
}
template <typename V>
HTC_INLINE V min_or(V a, V b) {
  return a < b ? a : b;
}

// Every second lane of a, then of b, from lane kFirst (0 or 1) on.
template <typename T, int kFirst>
HTC_INLINE Vec<T> every_second_lane(Vec<T> a, Vec<T> b) {
  constexpr int k = kFirst;
  if constexpr (kLanes<T> == 2) {
    return HTC_SHUFFLE(Mask<T>, a, b, k, k + 2);
  } else if constexpr (kLanes<T> == 4) {
    return HTC_SHUFFLE(Mask<T>, a, b, k, k + 2, k + 4, k + 6);
  } else if constexpr (kLanes<T> == 8) {
    return HTC_SHUFFLE(Mask<T>, a, b, k, k + 2, k + 4, k + 6, k + 8, k + 10, k + 12, k + 14);
  } else {
    static_assert(kLanes<T> == 16, "write out the lanes of this width");
    return HTC_SHUFFLE(Mask<T>, a, b, k, k + 2, k + 4, k + 6, k + 8, k + 10, k + 12, k + 14, k + 16,
                       k + 18, k + 20, k + 22, k + 24, k + 26, k + 28, k + 30);
  }
}
template <typename T>
HTC_INLINE Vec<T> even_lanes(Vec<T> a, Vec<T> b) {
  return every_second_lane<T, 0>(a, b);
}
template <typename T>
HTC_INLINE Vec<T> odd_lanes(Vec<T> a, Vec<T> b) {
  return every_second_lane<T, 1>(a, b);
}

// The lanes of a and b in turn (a0, b0, a1, b1, ...): the lower half of them, and the upper.
template <typename T, int kFirst>
HTC_INLINE Vec<T> zip_lanes(Vec<T> a, Vec<T> b) {
  constexpr int i = kFirst, n = kLanes<T>;
  if constexpr (n == 2) {
    return HTC_SHUFFLE(Mask<T>, a, b, i, n + i);
  } else if constexpr (n == 4) {
    return HTC_SHUFFLE(Mask<T>, a, b, i, n + i, i + 1, n + i + 1);
  } else if constexpr (n == 8) {
    return HTC_SHUFFLE(Mask<T>, a, b, i, n + i, i + 1, n + i + 1, i + 2, n + i + 2, i + 3,
                       n + i + 3);
  } else {
    static_assert(n == 16, "write out the lanes of this width");
    return HTC_SHUFFLE(Mask<T>, a, b, i, n + i, i + 1, n + i + 1, i + 2, n + i + 2, i + 3,
                       n + i + 3, i + 4, n + i + 4, i + 5, n + i + 5, i + 6, n + i + 6, i + 7,
                       n + i + 7);
  }
}
template <typename T>
HTC_INLINE Vec<T> zip_low(Vec<T> a, Vec<T> b) {
  return zip_lanes<T, 0>(a, b);
}
template <typename T>
HTC_INLINE Vec<T> zip_high(Vec<T> a, Vec<T> b) {
  return zip_lanes<T, kLanes<T> / 2>(a, b);
}

// a * b + c, rounded once where the target can and twice beneath. Not for geometry that must round
// as the oracle does.
HTC_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if HTC_TARGET_LEVEL >= 2
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif HTC_TARGET_LEVEL == 1
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
HTC_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if HTC_TARGET_LEVEL >= 2
  return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif HTC_TARGET_LEVEL == 1
  return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

// One bit a lane, lane 0 lowest.
HTC_INLINE uint32_t bits(Mask<float> mask) {
#if HTC_TARGET_LEVEL >= 2
  return _mm512_movepi32_mask((__m512i)mask);
#elif HTC_TARGET_LEVEL == 1
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps((__m128)mask));
#else
  uint32_t result = 0;
  for (int lane = 0; lane < kLanes<float>; ++lane) result |= (mask[lane] != 0 ? 1u : 0u) << lane;
  return result;
#endif
}
HTC_INLINE uint32_t bits(Mask<double> mask) {
#if HTC_TARGET_LEVEL >= 2
  return _mm512_movepi64_mask((__m512i)mask);
#elif HTC_TARGET_LEVEL == 1
  return static_cast<uint32_t>(_mm256_movemask_pd((__m256d)mask));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_pd((__m128d)mask));
#else
  uint32_t result = 0;
  for (int lane = 0; lane < kLanes<double>; ++lane) result |= (mask[lane] != 0 ? 1u : 0u) << lane;
  return result;
#endif
}

}  // namespace htc::cpu::HTC_TARGET
