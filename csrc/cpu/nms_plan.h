// What NMS prepares before it compares boxes: the order of visits, the boxes of each class side by
// side, and for large classes a grid that leads to the few boxes which can overlap a given one.
#pragma once

#include <cstdint>

#include "cpu/workspace.h"
#include "htc/geometry.h"

namespace htc::cpu {

// Boxes of one class sit at positions [begin, end): by falling score where the class has no grid,
// else by grid cell, row after row.
struct NmsSegment {
  uint32_t begin = 0, end = 0;
  int32_t grid = -1;
};

// Cells of equal size over the centres of one class; those outside belong to the border cells. The
// boxes of cell (row, column) start at position starts[row * columns + column], so the columns of
// a row are one run of positions.
template <typename T>
struct NmsGrid {
  T origin_x, origin_y, cells_per_x, cells_per_y;
  T max_width, max_height;  // of a box in this class
  int32_t rows, columns;
  uint32_t* starts;  // [rows * columns + 1]
};

template <typename T>
struct NmsPlan {
  static constexpr uint32_t kNowhere = ~uint32_t{0};

  uint32_t* order;       // [N] visit -> box
  uint32_t* position;    // [N] visit -> position; kNowhere for a box that overlaps nothing
  uint32_t* class_of;    // [N] box -> segment; null where there is one class
  NmsSegment* segments;  // [classes]
  NmsGrid<T>* grids;
  T *x1, *y1, *x2, *y2;  // [N + kSlack] by position
  T* area_bound;         // [N + kSlack] by position: see overlap_factor
};

// Positions that may be read, and ignored, beyond the last one: a vector's worth.
constexpr int64_t kNmsSlack = 16;

// IoU > t says overlap > t * (area_a + area_b - overlap), that is overlap > f * (area_a + area_b)
// with f = t / (1 + t). Slightly less, so that rounding cannot make the cheap test miss a pair that
// the exact one would find; with 0 it only asks for any overlap at all.
inline double overlap_factor(double iou_threshold) {
  return iou_threshold < 1e-6 ? 0.0 : iou_threshold / (1.0 + iou_threshold) * (1.0 - 1e-5);
}

// How far from a box of side `side` the centre of another may lie, along this side, if their IoU is
// above the threshold; `max_side` is the longest such side of any other box.
//
// IoU <= overlap of the sides / the longer side. With the other side s times as long (t < s < 1/t),
// the centres are (1 + s) / 2 sides less the overlap apart: at most 1 - t, or 1 / (2t) - 1/2.
template <typename T>
HTC_INLINE T center_reach(T side, T max_side, double iou_threshold) {
  const T any_overlap = (side + max_side) * T(0.5);
  const double t = iou_threshold * (1.0 - 1e-4);  // leaves room for the rounding of the IoU
  if (t < 1e-3) return any_overlap;
  const double a = 1.0 - t, b = 0.5 / t - 0.5;
  return min_or(side * static_cast<T>(a > b ? a : b), any_overlap);
}

// Room for the rounding of two centres near `a` and `b`, and of the reach.
template <typename T>
HTC_INLINE T center_slack(T a, T b, T reach) {
  constexpr T kRelative = sizeof(T) == 4 ? T(1e-6) : T(1e-15);
  return ((a < 0 ? -a : a) + (b < 0 ? -b : b) + reach) * (4 * kRelative);
}

// Rises with `center`, which is what makes the cells between those of two centres hold every centre
// between the two. NaN (an infinite center in a grid of no extent) is cell 0.
template <typename T>
HTC_INLINE int32_t grid_cell(T center, T origin, T cells_per_unit, int32_t cells) {
  const T cell = (center - origin) * cells_per_unit;
  if (!(cell > 0)) return 0;
  return cell >= static_cast<T>(cells - 1) ? cells - 1 : static_cast<int32_t>(cell);
}

template <typename T>
HTC_INLINE T center_of(T low, T high) {
  return low * T(0.5) + high * T(0.5);  // the sum first could overflow
}

// Makes the plan in parts of `workspace`; with an empty workspace, only takes them.
template <typename T>
NmsPlan<T> plan_nms(const T* boxes, const T* scores, const int64_t* class_ids, int64_t num_boxes,
                    double iou_threshold, Workspace& workspace);

}  // namespace htc::cpu
