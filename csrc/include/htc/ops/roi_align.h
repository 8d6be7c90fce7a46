// RoIAlign over one feature map or a pyramid of them, and its gradient.
// Papers: Mask R-CNN (RoIAlign), FPN (the level of a box). Meaning: paddle.vision.ops.roi_align.
#pragma once

#include <cstdint>

#include "htc/geometry.h"
#include "htc/half.h"
#include "htc/roi_axis.h"

namespace htc {

constexpr int kMaxRoiLevels = 8;

// Features are [B, C, height, width] a level; pooled is [R, C, pooled_height, pooled_width].
struct RoiAlignShape {
  int64_t num_rois = 0;      // R
  int64_t num_pictures = 0;  // B
  int64_t channels = 0;      // C
  int64_t pooled_height = 1, pooled_width = 1;
  int num_levels = 1;                // 1 .. kMaxRoiLevels
  int64_t heights[kMaxRoiLevels]{};  // pixels
  int64_t widths[kMaxRoiLevels]{};
  double scales[kMaxRoiLevels]{};  // feature pixels a picture pixel: 1 / stride
  double canonical_size = 56;      // a box of this side or twice it (exclusive) is of level 0
  int64_t sampling_ratio = 0;      // samples a bin and axis, as in roi_axis
  bool aligned = true;             // pixel centres at half coordinates
};

namespace cpu {

// boxes [R, 4] xyxy in picture pixels; boxes_num [B] as in picture_of_box. Every element of
// `pooled` is written. Boxes without samples (not finite, outside the picture, empty with an
// adaptive grid) pool to 0. Adding up is in float32 for 16-bit T.
// T: float, double, float16, bfloat16.
template <typename T>
void roi_align(const T* const* features, const typename Compute<T>::type* boxes,
               const int64_t* boxes_num, const RoiAlignShape& shape, T* pooled);

// features_grad[level] += over all boxes, from zero: every element is written. The order of adding
// up does not depend on the number of threads.
template <typename T>
void roi_align_grad(const T* pooled_grad, const typename Compute<T>::type* boxes,
                    const int64_t* boxes_num, const RoiAlignShape& shape, T* const* features_grad);

}  // namespace cpu

#if defined(HTC_WITH_CUDA)
namespace cuda {

// As on the CPU; the arrays of level pointers lie on the host, what they point to on the device.
// T: float, double, and CUDA's own 16-bit types under the names of htc/half.h.
template <typename T>
int roi_align(const T* const* features, const typename Compute<T>::type* boxes,
              const int64_t* boxes_num, const RoiAlignShape& shape, T* pooled, void* stream);

// workspace: roi_align_grad_workspace_bytes(shape) bytes on the device, aligned to 16.
template <typename T>
int roi_align_grad(const T* pooled_grad, const typename Compute<T>::type* boxes,
                   const int64_t* boxes_num, const RoiAlignShape& shape, T* const* features_grad,
                   void* workspace, void* stream);
int64_t roi_align_grad_workspace_bytes(const RoiAlignShape& shape);

}  // namespace cuda
#endif

}  // namespace htc
