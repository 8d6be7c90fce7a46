// Values for tests: small, of both signs, without an order that a wrong index would keep.
#pragma once

#include <cstdint>
#include <vector>

inline std::vector<float> ramp(int64_t count, int64_t seed = 11) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>((static_cast<int64_t>(i) * 37 + seed) % 23 - 9);
  }
  return values;
}
