// The end of a mask head for predictions: a 2x2 deconvolution, ReLU, and the map of each RoI's own
// class alone.
#pragma once

#include <cstdint>

#include "htc/half.h"

namespace htc {

struct MaskLogitsShape {
  int64_t num_rois = 0;  // R
  int64_t channels = 0;  // C, of the features
  int64_t hidden = 0;    // D, between deconvolution and logits
  int64_t height = 0, width = 0;
};

struct MaskLogitsInputs {
  const float* features = nullptr;       // [R, C, height, width]
  MixedFloats upsample_weights;          // [C, D, 2, 2]
  const float* upsample_bias = nullptr;  // [D]
  const float* weights = nullptr;        // [classes, D]
  const float* bias = nullptr;           // [classes]
  const int64_t* labels = nullptr;       // [R], each in 0 .. classes - 1
};

namespace cpu {

// result [R, 2 * height, 2 * width]. Where the weights of the deconvolution are bfloat16 the
// features are rounded to it too, and what is summed up in float32 are their products. Returns
// false when there is no memory.
bool mask_logits(const MaskLogitsInputs& inputs, const MaskLogitsShape& shape, float* result);

}  // namespace cpu
}  // namespace htc
