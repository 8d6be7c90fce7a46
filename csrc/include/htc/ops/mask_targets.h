// Training targets of the mask head: the ground-truth bitmap of each box, cropped to the box and
// brought to S x S by RoIAlign (spatial scale 1, aligned, adaptive sampling), then thresholded.
// Reference: mmdetection 3.3.0, structures/mask/structures.py, BitmapMasks.crop_and_resize.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"
#include "htc/macros.h"
#include "htc/search.h"

namespace htc {

struct MaskTargetsShape {
  int64_t num_boxes = 0;  // R
  int64_t num_gts = 0;    // G
  int64_t height = 0;     // of the bitmaps
  int64_t width = 0;
  int64_t target_height = 0;  // S
  int64_t target_width = 0;
};

// One axis of a box's sampling grid, rounded as RoIAlign rounds it: `grid` samples a bin.
template <typename T>
struct TargetAxis {
  T start = 0, bin = 0;
  int64_t grid = 0;

  HTC_HOST_DEVICE HTC_INLINE T sample(int64_t index, int64_t sub) const {
    return start + static_cast<T>(index) * bin +
           (static_cast<T>(sub) + T(0.5)) * bin / static_cast<T>(grid);
  }
};

// A side above this samples nothing, so that the number of samples stays an integer; what such a
// box could see of a bitmap is less than a millionth of a bin.
constexpr double kMaxTargetSide = 1099511627776.0;  // 2^40

// A box without a positive side, or with a NaN, samples nothing: its value is 0.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE TargetAxis<T> target_axis(T low, T high, int64_t bins) {
  TargetAxis<T> axis;
  axis.start = low - T(0.5);
  const T side = (high - T(0.5)) - axis.start;
  if (!(side > 0) || !(side <= T(kMaxTargetSide)) || !is_finite(low)) return axis;
  axis.bin = side / static_cast<T>(bins);
  axis.grid = static_cast<int64_t>(std::ceil(axis.bin));
  return axis;
}

// The samples of one bin that lie on the picture, [first, last). A sample counts from one pixel
// before the first pixel's centre to one after the last's.
template <typename T>
struct TargetBin {
  int64_t first, last;
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE TargetBin<T> target_bin(const TargetAxis<T>& axis, int64_t index,
                                                   int64_t pixels) {
  if (axis.grid == 0 || pixels == 0) return {0, 0};
  const T end = static_cast<T>(pixels);
  if (axis.sample(index, 0) >= T(-1) && axis.sample(index, axis.grid - 1) <= end) {
    return {0, axis.grid};
  }
  const auto near = [&](T at) {  // the sample next to a coordinate, about
    const double offset = static_cast<double>(at) - axis.start -
                          static_cast<double>(index) * static_cast<double>(axis.bin);
    return clamped_int(offset / axis.bin * static_cast<double>(axis.grid) - 0.5, 0, axis.grid);
  };
  const int64_t first = first_where(0, axis.grid, near(T(-1)),
                                    [&](int64_t sub) { return axis.sample(index, sub) >= T(-1); });
  const int64_t last = first_where(first, axis.grid, near(end),
                                   [&](int64_t sub) { return axis.sample(index, sub) > end; });
  return {first, last};
}

// What a sample reads: pixel `low` with weight 1 - weight, and the next one with `weight`.
template <typename T>
struct TargetSample {
  int64_t low, high;
  T weight;
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE TargetSample<T> target_sample(T at, int64_t pixels) {
  if (!(at > 0)) return {0, pixels > 1 ? 1 : 0, T(0)};
  const int64_t low = static_cast<int64_t>(at);
  if (low >= pixels - 1) return {pixels - 1, pixels - 1, T(0)};
  return {low, low + 1, at - static_cast<T>(low)};
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
