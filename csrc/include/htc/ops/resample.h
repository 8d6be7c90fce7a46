// Maps made smaller and larger: 3x3 maximum pooling of stride 2, and bilinear interpolation.
#pragma once

#include <cstdint>

namespace htc::cpu {

// Pooling halves: 3x3 windows, stride 2, a border of -infinity: [planes, height, width] ->
// [planes, (height + 1) / 2, (width + 1) / 2]. A NaN in a window may or may not come out.
void max_pool_half(const float* x, int64_t planes, int64_t height, int64_t width, float* result);

struct ResizeShape {
  int64_t planes = 0;
  int64_t height = 0, width = 0;          // of x, at least 1
  int64_t new_height = 0, new_width = 0;  // of the result
  bool relu = false;                      // of the resized map, before the addition
};

// Bilinear, corner pixels on corner pixels; then ReLU, then plus `add` (as the result, or null).
void resize_bilinear(const float* x, const float* add, const ResizeShape& shape, float* result);

}  // namespace htc::cpu
