// Values for tests: small, of both signs, without an order that a wrong index would keep.
#pragma once

#include <cstdint>
#include <vector>

#include "htc/half.h"

inline std::vector<float> ramp(int64_t count, int64_t seed = 11) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>((static_cast<int64_t>(i) * 37 + seed) % 23 - 9);
  }
  return values;
}

// Rounded; those of ramp() stay what they are.
inline std::vector<htc::bfloat16> halves(const std::vector<float>& values) {
  std::vector<htc::bfloat16> result;
  for (const float value : values) result.push_back(htc::bfloat16::from_float(value));
  return result;
}
