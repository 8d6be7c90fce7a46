// What the CUDA kernels of RoIAlign and of its gradient share: a box on its level, and a
// multiplication and addition that round once.
#pragma once

#include "cuda/cuda_half.h"
#include "cuda/cuda_launch.h"
#include "htc/ops/box_codec.h"
#include "htc/ops/roi_align.h"

namespace htc::cuda {

template <typename C>
struct DeviceRoi {
  int64_t picture;
  int64_t first_y, last_y, first_x, last_x;  // pixels that it may read
  RoiAxis<C> y, x;
  int level;
};

template <typename C>
__device__ DeviceRoi<C> device_roi(const C* boxes, const int64_t* boxes_num,
                                   const RoiAlignShape& shape, int64_t r) {
  DeviceRoi<C> roi;
  const Box<C> box = load_box(boxes, r);
  roi.picture = picture_of_box(r, boxes_num, shape.num_pictures);
  roi.level = shape.num_levels == 1
                  ? 0
                  : level_of_box(box, static_cast<C>(shape.canonical_size), shape.num_levels);
  const C scale = static_cast<C>(shape.scales[roi.level]);
  roi.y = roi_axis(box.y1, box.y2, scale, shape.pooled_height, shape.sampling_ratio, shape.aligned,
                   shape.heights[roi.level]);
  roi.x = roi_axis(box.x1, box.x2, scale, shape.pooled_width, shape.sampling_ratio, shape.aligned,
                   shape.widths[roi.level]);
  if (roi.y.grid == C(0) || roi.x.grid == C(0)) roi.y.grid = roi.x.grid = 0;
  pixel_range(roi.y, shape.pooled_height, roi.first_y, roi.last_y);
  pixel_range(roi.x, shape.pooled_width, roi.first_x, roi.last_x);
  return roi;
}

// The library is compiled without contraction, so that comparisons come out alike everywhere; sums
// of features decide nothing, so they may take the faster instruction.
__device__ inline float multiply_add(float a, float b, float sum) { return fmaf(a, b, sum); }
__device__ inline double multiply_add(double a, double b, double sum) { return fma(a, b, sum); }

}  // namespace htc::cuda
