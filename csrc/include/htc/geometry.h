// Box geometry in one copy: used by the CPU kernels, the CUDA kernels and their host-side tests.
//
// Everything here is plain arithmetic in the written order. The library is compiled with
// -ffp-contract=off (nvcc: --fmad=false), so CPU, CUDA and the NumPy oracle round alike and an
// IoU that ties on one of them ties on all of them.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/macros.h"

namespace htc {

// A union below this is taken as this, so that two empty boxes have IoU 0 and not NaN.
constexpr double kMinUnion = 1e-6;

template <typename T>
struct Box {
  T x1, y1, x2, y2;
};

// Comparisons are written so that a NaN operand gives `b`; callers choose the order for what a
// NaN should become. (std::max is not usable on the device.)
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T max_or(T a, T b) {
  return a > b ? a : b;
}
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T min_or(T a, T b) {
  return a < b ? a : b;
}

// NaN stays NaN.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T clamp(T value, T low, T high) {
  return value < low ? low : (value > high ? high : value);
}

template <typename T>
HTC_HOST_DEVICE HTC_INLINE bool is_finite(T value) {
  return value - value == T(0);
}

template <typename T>
HTC_HOST_DEVICE HTC_INLINE bool is_finite(const Box<T>& box) {
  return is_finite(box.x1) && is_finite(box.y1) && is_finite(box.x2) && is_finite(box.y2);
}

template <typename T>
HTC_HOST_DEVICE HTC_INLINE Box<T> load_box(const T* boxes, int64_t index) {
  const T* p = boxes + 4 * index;
  return {p[0], p[1], p[2], p[3]};
}

// Signed: an inverted box may have a negative area, as in the reference (no clamp, no +1).
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T area(const Box<T>& box) {
  return (box.x2 - box.x1) * (box.y2 - box.y1);
}

template <typename T>
HTC_HOST_DEVICE HTC_INLINE T intersection(const Box<T>& a, const Box<T>& b) {
  const T width = min_or(a.x2, b.x2) - max_or(a.x1, b.x1);
  const T height = min_or(a.y2, b.y2) - max_or(a.y1, b.y1);
  return max_or(width, T(0)) * max_or(height, T(0));
}

// Intersection over union, no +1, union at least kMinUnion.
// Reference: mmdetection 3.3.0, structures/bbox/bbox_overlaps.py.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T iou(const Box<T>& a, T area_a, const Box<T>& b, T area_b) {
  const T overlap = intersection(a, b);
  const T combined = area_a + area_b - overlap;
  return overlap / max_or(combined, T(kMinUnion));
}

// FPN level that a box is pooled from: clip(floor(log2(sqrt(w * h) / canonical + 1e-6)), 0, L - 1).
// The exponent of the number is that floor, exact on every machine. A box without an area (NaN or
// negative product of its sides) is of level 0, one too large to square of the last.
// Paper: FPN, equation 1. Reference: mmdetection 3.3.0, single_level_roi_extractor.py.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE int level_of_box(const Box<T>& box, T canonical, int num_levels) {
  const T ratio = std::sqrt((box.x2 - box.x1) * (box.y2 - box.y1)) / canonical + T(1e-6);
  if (!(ratio >= T(2))) return 0;
  if (!is_finite(ratio)) return num_levels - 1;
  const int level = std::ilogb(ratio);
  return level < num_levels ? level : num_levels - 1;
}

}  // namespace htc
