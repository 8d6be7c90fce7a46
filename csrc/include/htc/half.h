// 16-bit floats as the CPU kernels see them: storage that converts to and from float. They have
// the same bits as Paddle's phi::dtype::float16 / bfloat16 and CUDA's __half / __nv_bfloat16.
#pragma once

#include <cstdint>
#include <cstring>

namespace htc {

struct bfloat16 {
  uint16_t bits;

  static bfloat16 from_float(float value) {
    uint32_t word;
    std::memcpy(&word, &value, sizeof(word));
    if (value != value) return {static_cast<uint16_t>((word >> 16) | 0x40u)};  // stays a quiet NaN
    word += 0x7fffu + ((word >> 16) & 1u);  // nearest, ties to even
    return {static_cast<uint16_t>(word >> 16)};
  }
  float to_float() const {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof(value));
    return value;
  }
};

struct float16 {
  uint16_t bits;

  static float16 from_float(float value) {
    uint32_t word;
    std::memcpy(&word, &value, sizeof(word));
    const uint32_t sign = (word >> 16) & 0x8000u;
    word &= 0x7fffffffu;
    if (word > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
    if (word >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds to infinity
    if (word < 0x38800000u) {  // subnormal or zero: let the float adder do the rounding
      float magnitude;
      std::memcpy(&magnitude, &word, sizeof(magnitude));
      magnitude += 0.5f;
      std::memcpy(&word, &magnitude, sizeof(word));
      return {static_cast<uint16_t>(sign | (word - 0x3f000000u))};
    }
    word += 0xfffu + ((word >> 13) & 1u);
    return {static_cast<uint16_t>(sign | ((word - 0x38000000u) >> 13))};
  }
  float to_float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t rest = bits & 0x7fffu;
    float value;
    if (rest >= 0x7c00u) {  // infinity or NaN
      const uint32_t word = sign | 0x7f800000u | ((rest & 0x3ffu) << 13);
      std::memcpy(&value, &word, sizeof(value));
      return value;
    }
    // Scale by 2^112 in float: right for subnormal numbers too.
    const uint32_t word = rest << 13;
    std::memcpy(&value, &word, sizeof(value));
    value *= 0x1p112f;
    return sign ? -value : value;
  }
};

template <typename T>
struct Compute {  // the type that arithmetic on T is done in
  using type = T;
};
template <>
struct Compute<bfloat16> {
  using type = float;
};
template <>
struct Compute<float16> {
  using type = float;
};

// Numbers in memory, in float32 or in bfloat16: the other pointer is null.
struct MixedFloats {
  const float* single = nullptr;
  const bfloat16* half = nullptr;

  MixedFloats() = default;
  MixedFloats(const float* numbers) : single(numbers) {}
  MixedFloats(const bfloat16* numbers) : half(numbers) {}
};

}  // namespace htc
