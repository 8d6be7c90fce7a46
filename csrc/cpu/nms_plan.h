// What NMS prepares before it compares boxes: the order of visits, the boxes of each class side by
// side, and for large classes a grid that leads to the few boxes which can overlap a given one.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"
#include "htc/workspace.h"

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
  T* area_bound;         // [N + kSlack] by position: area * NmsRule::factor
};

// Positions that may be read, and ignored, beyond the last one: a vector's worth.
constexpr int64_t kNmsSlack = 16;

// Bytes for one mark (a bit) a position, and the slack that marks_from and mark may touch.
inline int64_t mark_bytes(int64_t num_boxes) { return num_boxes / 8 + 8; }

// What follows from the threshold t on the IoU.
template <typename T>
struct NmsRule {
  explicit NmsRule(double iou_threshold) : threshold(static_cast<T>(iou_threshold)) {
    // IoU > t says overlap > t * (area_a + area_b - overlap), that is
    // overlap > t / (1 + t) * (area_a + area_b). Slightly less, so that rounding cannot make this
    // cheap test miss a pair that the exact one would find; with 0 it asks for any overlap at all.
    const double t = iou_threshold;
    factor = static_cast<T>(t < 1e-6 ? 0.0 : t / (1.0 + t) * (1.0 - 1e-5));

    // IoU <= overlap along a side / the longer of the two sides. With the other side s times as
    // long (t < s < 1 / t) the centres are (1 + s) / 2 sides less the overlap apart: at most 1 - t
    // or 1 / (2t) - 1/2 sides. Slightly more, for the rounding of the IoU.
    const double low = t * (1.0 - 1e-4);
    any_overlap = low < 1e-3;
    reach = any_overlap ? T(0) : static_cast<T>(low < 0.5 ? 0.5 / low - 0.5 : 1.0 - low);
  }

  T threshold;
  T factor;          // IoU > threshold only where overlap > factor * (area_a + area_b)
  T reach;           // and where the centres are at most so many sides apart along each axis;
  bool any_overlap;  // except that there is no such limit for very low thresholds
};

// How far from the centre of a box, along its side [low, high], that of another may lie if their
// IoU is above the threshold; `max_side` is the longest such side of any box.
template <typename T>
HTC_INLINE T center_reach(T low, T high, T max_side, const NmsRule<T>& rule) {
  const T side = high - low;
  const T touching = (side + max_side) * T(0.5);
  const T reach = rule.any_overlap ? touching : min_or(side * rule.reach, touching);
  // Room for the rounding of the two centres and of the reach itself.
  constexpr T kSlack = sizeof(T) == 4 ? T(4e-6) : T(4e-15);
  return reach + (std::fabs(low) + std::fabs(high) + reach) * kSlack;
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

// The cells that can hold a box whose IoU with `box` is above the threshold; both ends belong to
// it.
struct GridWindow {
  int32_t first_row, last_row, first_column, last_column;
};

template <typename T>
HTC_INLINE GridWindow window_of(const NmsGrid<T>& grid, const NmsRule<T>& rule, const Box<T>& box) {
  const T reach_x = center_reach(box.x1, box.x2, grid.max_width, rule);
  const T reach_y = center_reach(box.y1, box.y2, grid.max_height, rule);
  const T x = center_of(box.x1, box.x2), y = center_of(box.y1, box.y2);
  return {grid_cell(y - reach_y, grid.origin_y, grid.cells_per_y, grid.rows),
          grid_cell(y + reach_y, grid.origin_y, grid.cells_per_y, grid.rows),
          grid_cell(x - reach_x, grid.origin_x, grid.cells_per_x, grid.columns),
          grid_cell(x + reach_x, grid.origin_x, grid.cells_per_x, grid.columns)};
}

// Makes the plan in parts of `workspace`; with an empty workspace, only takes them.
template <typename T>
NmsPlan<T> plan_nms(const T* boxes, const T* scores, const int64_t* class_ids, int64_t num_boxes,
                    double iou_threshold, Workspace& workspace);

}  // namespace htc::cpu
