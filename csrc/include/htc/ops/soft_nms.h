// Soft non-maximum suppression: a box that overlaps a better one loses score instead of its place.
// Paper: N. Bodla et al., ICCV 2017, arXiv 1704.04503.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"
#include "htc/ops/nms.h"

namespace htc {

enum class SoftNmsMethod { kLinear = 0, kGaussian = 1 };

struct SoftNmsRule {
  double iou_threshold = 0.3;  // linear only
  double sigma = 0.5;          // gaussian only, above 0
  double min_score = 1e-3;     // at least 0
  SoftNmsMethod method = SoftNmsMethod::kLinear;
};

// The rule, for CPU and CUDA alike. Of the boxes that are left, the one with the highest score (of
// equal ones the lowest index) is kept, with this score; then the score of every other box left is
// multiplied by soft_nms_weight of the IoU of the two. A box whose score is not at least min_score
// (NaN is not) is dropped. Boxes that overlap nothing in nms.h neither lose score nor take any.

// In linear mode, for an IoU strictly above the threshold; in gaussian mode, above 0. An IoU above
// 1, as areas that overflow may give it, counts as 1. The exponential is taken in double and then
// rounded, so that two libraries agree on a float.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T soft_nms_weight(T iou, SoftNmsMethod method, T sigma) {
  if (method == SoftNmsMethod::kLinear) return T(1) - min_or(iou, T(1));
  return static_cast<T>(exp(static_cast<double>(-(iou * iou) / sigma)));
}

namespace cpu {

// Bytes that `soft_nms` needs at `workspace` (aligned to 16), linear in the number of boxes.
template <typename T>
int64_t soft_nms_workspace_bytes(int64_t num_boxes);

// boxes [N, 4] xyxy; scores [N]; N at most kNmsMaxBoxes. Writes the indices of the kept boxes, by
// falling new score, to kept [N] and these scores to kept_scores [N]; returns their number.
// T: float, double.
template <typename T>
int64_t soft_nms(const T* boxes, const T* scores, int64_t num_boxes, const SoftNmsRule& rule,
                 void* workspace, int64_t* kept, T* kept_scores);

}  // namespace cpu

#if defined(HTC_WITH_CUDA)
namespace cuda {

// As on the CPU, with device pointers, queued on `stream` (a cudaStream_t); the number of kept
// boxes goes to *num_kept on the device. Returns a cudaError_t. Boxes are kept one after another
// within one block of threads, so the time grows with kept boxes x all boxes.
template <typename T>
int64_t soft_nms_workspace_bytes(int64_t num_boxes);
template <typename T>
int soft_nms(const T* boxes, const T* scores, int64_t num_boxes, const SoftNmsRule& rule,
             void* workspace, int64_t* kept, T* kept_scores, int64_t* num_kept, void* stream);

}  // namespace cuda
#endif

}  // namespace htc
