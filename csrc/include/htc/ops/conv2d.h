// Convolutions of any kernel and stride as one matrix product, with what commonly follows: a scale
// and a bias a filter (batch norm), a map that is added, ReLU.
#pragma once

#include <cstdint>

#include "htc/half.h"

namespace htc {

enum class Relu { kNone, kBeforeAdd, kLast };

struct Conv2dShape {
  int64_t num_pictures = 0;  // B
  int64_t channels = 0;      // C
  int64_t filters = 0;       // K
  int64_t height = 0, width = 0;
  int64_t kernel_height = 1, kernel_width = 1;
  int64_t stride = 1;   // at least 1
  int64_t padding = 0;  // zeros at each side
  Relu relu = Relu::kNone;
  bool half_add =
      false;  // the added map has half the height and width: each pixel counts 2x2 times

  int64_t out_height() const { return out_size(height, kernel_height); }
  int64_t out_width() const { return out_size(width, kernel_width); }
  int64_t out_size(int64_t size, int64_t kernel) const {
    return size + 2 * padding < kernel ? 0 : (size + 2 * padding - kernel) / stride + 1;
  }
};

// What is optional may be null.
struct Conv2dInputs {
  MixedFloats x;                 // [B, C, height, width]
  MixedFloats weights;           // [K, C, kernel_height, kernel_width]
  const float* scale = nullptr;  // [K], optional
  const float* bias = nullptr;   // [K], optional
  const float* add = nullptr;    // as the result, or half as large; optional
};

namespace cpu {

// result [B, K, out_height, out_width]: sums * scale + bias, then add and ReLU in the order asked
// for. Where x or the weights are bfloat16 the others are rounded to it too, and what is summed up
// in float32 are products of bfloat16 numbers. Returns false when there is no memory for the
// reordered weights and pixels.
bool conv2d(const Conv2dInputs& inputs, const Conv2dShape& shape, float* result);

}  // namespace cpu
}  // namespace htc
