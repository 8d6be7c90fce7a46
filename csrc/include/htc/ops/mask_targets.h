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

// The pixels that one bin reads.
struct TargetTaps {
  int64_t first, count;
};

// Bins next to each other share at most two pixels, so that the weights of bin b fit at
// first + 2 * b in a table of this length without meeting those of another bin.
HTC_HOST_DEVICE HTC_INLINE int64_t target_table_length(int64_t bins, int64_t size) {
  return size + 2 * bins;
}
HTC_HOST_DEVICE HTC_INLINE int64_t target_table_at(int64_t bin, const TargetTaps& taps) {
  return taps.first + 2 * bin;
}

// The pixels of one bin; their weights, not yet divided by the grid, go into the table, which
// begins at pixel `origin`. No sample of a bin lies before that, nor before those of an earlier
// sample.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE TargetTaps set_target_taps(const RoiAxis<T>& axis, int64_t bin, T* table,
                                                      int64_t origin = 0) {
  const SampleRange range = samples_between(axis, bin, -1.0, static_cast<double>(axis.size));
  TargetTaps pixels = {0, 0};
  T* weights = table;
  for (int64_t i = 0; i < range.count; ++i) {  // their positions rise
    SampleTaps<T> taps;
    const T position = sample_position(axis, bin, static_cast<T>(range.first + i));
    if (!sample_taps(position, axis.size, taps)) continue;
    if (pixels.count == 0) {
      pixels.first = taps.low;
      weights = table + (target_table_at(bin, pixels) - origin);
    }
    const int64_t at = taps.low - pixels.first, end = at + (taps.high_weight != 0 ? 2 : 1);
    while (pixels.count < end) weights[pixels.count++] = T(0);
    weights[at] += taps.low_weight;
    if (taps.high_weight != 0) weights[at + 1] += taps.high_weight;
  }
  return pixels;
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

#if defined(HTC_WITH_CUDA)
namespace cuda {

// Linear in boxes x (picture height + width).
template <typename T>
int64_t mask_targets_workspace_bytes(const MaskTargetsShape& shape);

// As on the CPU, with device pointers, queued on `stream` (a cudaStream_t); workspace aligned
// to 16. Returns a cudaError_t.
template <typename T>
int mask_targets(const T* boxes, const uint8_t* bitmaps, const int64_t* gt_index,
                 const MaskTargetsShape& shape, double threshold, void* workspace, float* targets,
                 void* stream);

}  // namespace cuda
#endif

}  // namespace htc
