// Vectors of floats from and to 16-bit memory. Read once per target, after cpu/simd.h.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

#include "htc/half.h"

namespace htc::cpu::HTC_TARGET {

// `load` in the type that arithmetic is done in.
HTC_INLINE Vec<float> load_compute(const float* source) { return load(source); }
HTC_INLINE Vec<double> load_compute(const double* source) { return load(source); }
HTC_INLINE Vec<float> load_compute(const bfloat16* source) {
  typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
  typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
  Halves halves;
  __builtin_memcpy(&halves, source, sizeof(halves));
  return (Vec<float>)(__builtin_convertvector(halves, Words) << 16);
}
HTC_INLINE Vec<float> load_compute(const float16* source) {
#if HTC_TARGET_LEVEL >= 2
  // (The unmasked form makes g++ 12 warn of its own header.)
  return (Vec<float>)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)source));
#elif HTC_TARGET_LEVEL == 1
  return (Vec<float>)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)source));
#else
  Vec<float> result;
  for (int lane = 0; lane < kLanes<float>; ++lane) result[lane] = source[lane].to_float();
  return result;
#endif
}

// Rounded to nearest, ties to even.
HTC_INLINE void store_compute(float* target, Vec<float> value) { store(target, value); }
HTC_INLINE void store_compute(double* target, Vec<double> value) { store(target, value); }
HTC_INLINE void store_compute(bfloat16* target, Vec<float> value) {
  typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
  typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
  const Words words = (Words)value;
  const Words rounded = (words + 0x7fffu + ((words >> 16) & 1u)) >> 16;
  const Words nan = (words >> 16) | 0x40u;  // stays a quiet NaN
  const Words result = (value != value) ? nan : rounded;
  const Halves halves = __builtin_convertvector(result, Halves);
  __builtin_memcpy(target, &halves, sizeof(halves));
}
HTC_INLINE void store_compute(float16* target, Vec<float> value) {
#if HTC_TARGET_LEVEL >= 2
  _mm256_storeu_si256((__m256i*)target,
                      _mm512_maskz_cvtps_ph(0xffff, (__m512)value, _MM_FROUND_TO_NEAREST_INT));
#elif HTC_TARGET_LEVEL == 1
  _mm_storeu_si128((__m128i*)target, _mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int lane = 0; lane < kLanes<float>; ++lane) target[lane] = float16::from_float(value[lane]);
#endif
}

// One value of memory as the type that arithmetic is done in, and back.
HTC_INLINE float to_compute(float value) { return value; }
HTC_INLINE double to_compute(double value) { return value; }
HTC_INLINE float to_compute(bfloat16 value) { return value.to_float(); }
HTC_INLINE float to_compute(float16 value) { return value.to_float(); }
HTC_INLINE void from_compute(float value, float& target) { target = value; }
HTC_INLINE void from_compute(double value, double& target) { target = value; }
HTC_INLINE void from_compute(float value, bfloat16& target) {
  target = bfloat16::from_float(value);
}
HTC_INLINE void from_compute(float value, float16& target) { target = float16::from_float(value); }

// `count` values from the type of arithmetic to that of memory, and back.
template <typename C, typename T>
HTC_INLINE void convert_from_compute(const C* source, T* target, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes<C> <= count; i += kLanes<C>) store_compute(target + i, load(source + i));
  for (; i < count; ++i) from_compute(source[i], target[i]);
}
// The first of them past the caches, as `stream`. 16-bit types, half the bytes, go the usual way.
template <typename C>
HTC_INLINE void stream_from_compute(const C* source, C* target, int64_t count) {
  int64_t i = 0;
  for (; i < count && reinterpret_cast<uintptr_t>(target + i) % kVectorBytes != 0; ++i) {
    target[i] = source[i];
  }
  for (; i + kLanes<C> <= count; i += kLanes<C>) stream(target + i, load(source + i));
  for (; i < count; ++i) target[i] = source[i];
}
template <typename C, typename T>
HTC_INLINE void stream_from_compute(const C* source, T* target, int64_t count) {
  convert_from_compute(source, target, count);
}
template <typename T, typename C>
HTC_INLINE void convert_to_compute(const T* source, C* target, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes<C> <= count; i += kLanes<C>) store(target + i, load_compute(source + i));
  for (; i < count; ++i) target[i] = to_compute(source[i]);
}

}  // namespace htc::cpu::HTC_TARGET
