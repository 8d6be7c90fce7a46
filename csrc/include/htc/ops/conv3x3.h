// 3x3 convolution of stride 1 with a border of zeros, by Winograd's minimal filtering.
// Papers: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308),
// section 4.3, F(4x4, 3x3): 36 products for 16 pixels in place of 144. Interpolated at 0, +-11/16,
// +-3/2 and infinity, where the paper has +-1 and +-2: half the rounding error.
#pragma once

#include <cstdint>

#include "htc/half.h"

namespace htc {

struct Conv3x3Shape {
  int64_t num_pictures = 0;  // B
  int64_t channels = 0;      // C
  int64_t filters = 0;       // K
  int64_t height = 0, width = 0;
  bool relu = false;  // negative results become 0, after the addition
};

namespace cpu {

// x [B, C, height, width], weights [K, C, 3, 3], scale and bias [K] or null, add as the result or
// null; result [B, K, height, width]: sums * scale + bias + add, then ReLU. Where the weights
// are bfloat16 the transformed numbers are rounded to it before they are multiplied; what is summed
// up in float32 are products of bfloat16 numbers. Returns false when there is no memory for the
// transformed weights and tiles.
bool conv3x3(const float* x, const MixedFloats& weights, const float* scale, const float* bias,
             const float* add, const Conv3x3Shape& shape, float* result);

}  // namespace cpu
}  // namespace htc
