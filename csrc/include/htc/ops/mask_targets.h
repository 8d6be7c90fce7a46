// Training targets of the mask head: the ground-truth bitmap of each box, cropped to the box and
// brought to S x S by RoIAlign (spatial scale 1, aligned, adaptive sampling), then thresholded.
// Reference: mmdetection 3.3.0, structures/mask/structures.py, BitmapMasks.crop_and_resize.
#pragma once

#include <cstdint>

#include "htc/roi_axis.h"

namespace htc {

struct MaskTargetsShape {
  int64_t num_boxes = 0;  // R
  int64_t num_gts = 0;    // G
  int64_t height = 0;     // of the bitmaps
  int64_t width = 0;
  int64_t target_height = 0;  // S
  int64_t target_width = 0;
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE RoiAxis<T> mask_target_axis(T low, T high, int64_t bins, int64_t size) {
  constexpr int64_t kAdaptive = 0;
  return roi_axis(low, high, T(1), bins, kAdaptive, /*aligned=*/true, size);
}

namespace cpu {

// Bytes that `mask_targets` needs at `workspace` (aligned to 64) to run on `threads` threads: a few
// rows of the picture for each.
template <typename T>
int64_t mask_targets_workspace_bytes(const MaskTargetsShape& shape, int threads);

// boxes [R, 4] xyxy pixels; bitmaps [G, height, width], inside where not 0; gt_index [R]: the
// bitmap of each box, 0 <= index < G (a box with another one has value 0 everywhere). Writes
// targets [R, target_height, target_width]: 1 where the value is at least the threshold, else 0. T:
// float, double.
template <typename T>
void mask_targets(const T* boxes, const uint8_t* bitmaps, const int64_t* gt_index,
                  const MaskTargetsShape& shape, double threshold, int threads, void* workspace,
                  float* targets);

}  // namespace cpu

}  // namespace htc
