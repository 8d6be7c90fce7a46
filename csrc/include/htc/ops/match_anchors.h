// Which ground-truth box each anchor is trained towards: the max-IoU rule with low-quality matches.
// Paper: Faster R-CNN, section 3.1.2. Reference: mmdetection 3.3.0, MaxIoUAssigner.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"

namespace htc {

struct MatchShape {
  int64_t num_anchors = 0;  // A
  int64_t num_gts = 0;      // G, below 2^31
  int64_t num_ignores = 0;  // K
};

// Thresholds are rounded to the type of the boxes before anything is compared with them.
struct MatchRule {
  double positive_iou = 0.7;  // an anchor whose best IoU is at least this: positive
  double negative_iou = 0.3;  // one whose best IoU is below this: negative; not above the first
  double min_positive_iou =
      0.0;                   // a ground truth whose best IoU is at least this takes its anchors
  bool low_quality = true;   // ... whatever these anchors' IoU is
  double ignore_iof = -1.0;  // above 0: anchors with more of their area in a region are ignored
};

constexpr int64_t kMatchNegative = -1;
constexpr int64_t kMatchNeither = -2;  // between the thresholds, or ignored

// Takes the place of a box that has no IoU: it intersects nothing and its area is 0.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE Box<T> no_box() {
  constexpr T kInfinity = static_cast<T>(INFINITY);  // numeric_limits is not for the device
  return {kInfinity, kInfinity, -kInfinity, -kInfinity};
}

// A box with a coordinate that is not finite has an area that is not finite (infinite or NaN); so
// has one whose area overflows T. Both become no_box().
template <typename T>
HTC_HOST_DEVICE HTC_INLINE Box<T> load_box_or_none(const T* boxes, int64_t index) {
  const Box<T> box = load_box(boxes, index);
  return is_finite(area(box)) ? box : no_box<T>();
}

template <typename T>
HTC_HOST_DEVICE HTC_INLINE T area_or_zero(const Box<T>& box) {
  const T value = area(box);
  return is_finite(value) ? value : T(0);
}

// Of `box` and region: the part of the box's area that lies in the region.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T intersection_over_first(const Box<T>& box, T box_area,
                                                     const Box<T>& region) {
  return intersection(box, region) / max_or(box_area, T(kMinUnion));
}

// Bytes that match_anchors needs at `workspace` (any contents, aligned for T): 6 numbers a ground
// truth, 4 an ignored region.
template <typename T>
inline int64_t match_anchors_workspace_bytes(const MatchShape& shape) {
  const auto padded = [](int64_t count) { return (count + 15) / 16 * 16; };  // whole vectors
  return (6 * padded(shape.num_gts) + 4 * padded(shape.num_ignores)) *
         static_cast<int64_t>(sizeof(T));
}

namespace cpu {

// For each of anchors [A, 4] (xyxy), against gts [G, 4] and ignores [K, 4]:
//   max_iou [A]: the largest IoU with a ground truth; 0 where G is 0; -1 where ignored.
//   matched [A]: index of the ground truth (the first of equal ones, but the last of those that
//   take the anchor as a low-quality match), kMatchNegative or kMatchNeither.
// Two passes over the anchors; holds nothing of size A x G. T: float, double.
template <typename T>
void match_anchors(const T* anchors, const T* gts, const T* ignores, const MatchShape& shape,
                   const MatchRule& rule, void* workspace, int64_t* matched, T* max_iou);

}  // namespace cpu

#if defined(HTC_WITH_CUDA)
namespace cuda {

// As on the CPU, with device pointers, queued on `stream` (a cudaStream_t). Returns a cudaError_t.
template <typename T>
int match_anchors(const T* anchors, const T* gts, const T* ignores, const MatchShape& shape,
                  const MatchRule& rule, void* workspace, int64_t* matched, T* max_iou,
                  void* stream);

}  // namespace cuda
#endif

}  // namespace htc
