// Training targets of the mask head from polygons: moved to the box's corner, scaled to the
// target's size, filled by the COCO API's rule, and united. Reference: mmdetection 3.3.0,
// structures/mask/structures.py, PolygonMasks.crop_and_resize. The rule: COCO API, maskApi.c,
// rleFrPoly, of which this is a description of the result, not a copy:
//
// Points are rounded to a grid of five steps a pixel. An edge between two of them is a row of grid
// points, one a step along its longer axis. Where two neighbours of it lie left and right of the
// middle of a pixel column (grid columns 5c + 2 and 5c + 3), the polygon's border crosses that
// column: from the first pixel on whose middle lies at or below the upper of the two. Pixels are
// taken in column order, one column after another; at every crossing, outside and inside change.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"
#include "htc/macros.h"
#include "htc/search.h"

namespace htc {

struct PolygonMaskTargetsShape {
  int64_t num_boxes = 0;   // R
  int64_t num_gts = 0;     // G
  int64_t num_parts = 0;   // of all ground truths
  int64_t num_points = 0;  // of all parts
  int64_t target_height = 0;
  int64_t target_width = 0;
};

constexpr int64_t kPolygonSteps = 5;  // of the grid, a pixel
constexpr double kPolygonFarthest = 1 << 30;

// A coordinate in pixels of the target, on the grid. Those too far for an integer stay at the
// limit.
HTC_HOST_DEVICE HTC_INLINE int64_t polygon_step(double coordinate) {
  const double step = static_cast<double>(kPolygonSteps) * coordinate + 0.5;
  return static_cast<int64_t>(clamp(step, -kPolygonFarthest, kPolygonFarthest));  // towards 0
}

// From pixels of the picture to pixels of the target.
template <typename T>
struct PolygonFrame {
  double x1, y1, scale_x, scale_y;
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE PolygonFrame<T> polygon_frame(const Box<T>& box, int64_t height,
                                                         int64_t width) {
  // A box is taken to be at least a pixel wide and high.
  const T box_width = max_or(box.x2 - box.x1, T(1)), box_height = max_or(box.y2 - box.y1, T(1));
  return {static_cast<double>(box.x1), static_cast<double>(box.y1),
          static_cast<double>(static_cast<T>(width) / box_width),
          static_cast<double>(static_cast<T>(height) / box_height)};
}

struct PolygonPoint {
  int64_t x, y;  // steps of the grid
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE PolygonPoint polygon_point(const PolygonFrame<T>& frame,
                                                      const double* xy) {
  return {polygon_step((xy[0] - frame.x1) * frame.scale_x),
          polygon_step((xy[1] - frame.y1) * frame.scale_y)};
}

// Calls cross(place) for every pixel column that the edge crosses, where place = column * height +
// row is the first pixel of the change, in column order; it may be the one after the last.
template <typename Cross>
HTC_HOST_DEVICE HTC_INLINE void polygon_edge(PolygonPoint from, PolygonPoint to, int64_t height,
                                             int64_t width, const Cross& cross) {
  const int64_t dx = from.x < to.x ? to.x - from.x : from.x - to.x;
  const int64_t dy = from.y < to.y ? to.y - from.y : from.y - to.y;
  const bool steps_in_x = dx >= dy;
  if (steps_in_x ? from.x > to.x : from.y > to.y) {
    const PolygonPoint first = from;
    from = to;
    to = first;
  }
  const int64_t left = from.x < to.x ? from.x : to.x, right = left + dx;
  if (left == right) return;
  const double slope = steps_in_x ? static_cast<double>(to.y - from.y) / static_cast<double>(dx)
                                  : static_cast<double>(to.x - from.x) / static_cast<double>(dy);
  // The other coordinate after `step` steps from a coordinate.
  const auto beside = [slope](int64_t start, int64_t step) {
    return static_cast<int64_t>(static_cast<double>(start) + slope * static_cast<double>(step) +
                                0.5);
  };
  int64_t column = left <= 2 ? 0 : (left - 2 + kPolygonSteps - 1) / kPolygonSteps;
  for (; column < width && kPolygonSteps * column + 3 <= right; ++column) {
    const int64_t middle = kPolygonSteps * column + 2;  // and middle + 1 on the other side
    int64_t upper;
    if (steps_in_x) {
      const int64_t a = beside(from.y, middle - from.x), b = beside(from.y, middle + 1 - from.x);
      upper = a < b ? a : b;
    } else {
      const bool rises = to.x > from.x;
      const double guess = (static_cast<double>(middle - from.x) + 0.5) / slope;
      const int64_t step = first_where(1, dy + 1, clamped_int(guess + 1.0, 1, dy), [&](int64_t at) {
        return rises ? beside(from.x, at) > middle : beside(from.x, at) <= middle;
      });
      if (step > dy) continue;
      upper = from.y + step - 1;
    }
    double row = (static_cast<double>(upper) + 0.5) / static_cast<double>(kPolygonSteps) - 0.5;
    row = std::ceil(clamp(row, 0.0, static_cast<double>(height)));
    cross(column * height + static_cast<int64_t>(row));
  }
}

namespace cpu {

// Bytes that `polygon_mask_targets` needs at `workspace` (aligned to 64): a byte a cell a thread.
int64_t polygon_mask_targets_workspace_bytes(const PolygonMaskTargetsShape& shape, int threads);

// boxes [R, 4] xyxy pixels; points [num_points, 2] xy pixels; part_offsets [num_parts + 1]: the
// points of each part, and gt_offsets [G + 1]: the parts of each ground truth, both rising from 0;
// gt_index [R], 0 <= index < G. Writes targets [R, target_height, target_width] of 0 and 1. A box
// that is not finite, an index out of range and a part with a point that is not finite fill
// nothing. T: float, double.
template <typename T>
void polygon_mask_targets(const T* boxes, const double* points, const int64_t* part_offsets,
                          const int64_t* gt_offsets, const int64_t* gt_index,
                          const PolygonMaskTargetsShape& shape, int threads, void* workspace,
                          float* targets);

}  // namespace cpu

#if defined(HTC_WITH_CUDA)
namespace cuda {

int64_t polygon_mask_targets_workspace_bytes(const PolygonMaskTargetsShape& shape);

// As on the CPU, with device pointers, queued on `stream` (a cudaStream_t); workspace aligned
// to 16. Returns a cudaError_t.
template <typename T>
int polygon_mask_targets(const T* boxes, const double* points, const int64_t* part_offsets,
                         const int64_t* gt_offsets, const int64_t* gt_index,
                         const PolygonMaskTargetsShape& shape, void* workspace, float* targets,
                         void* stream);

}  // namespace cuda
#endif

}  // namespace htc
