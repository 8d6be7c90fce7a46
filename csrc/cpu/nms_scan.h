// The search that NMS and soft NMS share: the boxes of a plan whose IoU with a given box is above
// the threshold, a vector of them at a time.
//
// No include guard: foreach_target.h reads it again for every instruction set, after simd.h.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

#include "cpu/nms_plan.h"

namespace htc::cpu::HTC_TARGET {

// The marks of positions `position`, `position` + 1, ...: 25 or more, lowest bit first.
HTC_INLINE uint32_t marks_from(const uint8_t* marks, int64_t position) {
  uint32_t word;
  __builtin_memcpy(&word, marks + (position >> 3), sizeof(word));
  return word >> (position & 7);
}

// Marks the positions `position` + lane for the bits of `lanes`, of which there are 16 at most.
HTC_INLINE void mark(uint8_t* marks, int64_t position, uint32_t lanes) {
  uint32_t word;
  __builtin_memcpy(&word, marks + (position >> 3), sizeof(word));
  word |= lanes << (position & 7);
  __builtin_memcpy(marks + (position >> 3), &word, sizeof(word));
}

// Looks at positions [begin, end). Bits of `ignored(at)`: the lanes of positions at, at + 1, ...
// that are of no interest. Calls `found(at, lanes, iou)` where there are others.
template <typename T, typename Ignored, typename Found>
HTC_INLINE void scan_positions(const NmsPlan<T>& plan, const NmsRule<T>& rule, const Box<T>& box,
                               int64_t begin, int64_t end, Ignored&& ignored, Found&& found) {
  const T box_area = area(box);
  const T box_bound = is_finite(box_area) ? box_area * rule.factor : T(0);
  const Vec<T> zero{}, x1 = broadcast(box.x1), y1 = broadcast(box.y1), x2 = broadcast(box.x2),
                       y2 = broadcast(box.y2), bound = broadcast(box_bound);
  // Copies: a store in `found` could change any member of the plan, for all the compiler knows.
  const T *all_x1 = plan.x1, *all_y1 = plan.y1, *all_x2 = plan.x2, *all_y2 = plan.y2,
          *all_bound = plan.area_bound;
  for (int64_t at = begin; at < end; at += kLanes<T>) {
    const Vec<T> other_x1 = load(all_x1 + at), other_y1 = load(all_y1 + at),
                 other_x2 = load(all_x2 + at), other_y2 = load(all_y2 + at);
    const Vec<T> width = max_or(min_or(x2, other_x2) - max_or(x1, other_x1), zero);
    const Vec<T> height = min_or(y2, other_y2) - max_or(y1, other_y1);
    uint32_t lanes = bits(width * height > bound + load(all_bound + at)) & ~ignored(at);
    if (lanes == 0) continue;

    // The exact rule, as iou() of geometry.h writes it.
    const Vec<T> overlap = width * max_or(height, zero);
    const Vec<T> other_area = (other_x2 - other_x1) * (other_y2 - other_y1);
    const Vec<T> combined = broadcast(box_area) + other_area - overlap;
    const Vec<T> iou = overlap / max_or(combined, broadcast(T(kMinUnion)));
    lanes &= bits(iou > broadcast(rule.threshold));
    if (end - at < kLanes<T>) lanes &= (1u << (end - at)) - 1;
    if (lanes != 0) found(at, lanes, iou);
  }
}

// The same for the part of a class that can overlap `box`: its window of the grid, or, in a class
// without one, the positions from `begin` on.
template <typename T, typename Ignored, typename Found>
HTC_INLINE void scan_segment(const NmsPlan<T>& plan, const NmsSegment& segment,
                             const NmsRule<T>& rule, const Box<T>& box, int64_t begin,
                             Ignored&& ignored, Found&& found) {
  if (segment.grid < 0) {
    scan_positions(plan, rule, box, begin, segment.end, ignored, found);
    return;
  }
  const NmsGrid<T>& grid = plan.grids[segment.grid];
  const GridWindow window = window_of(grid, rule, box);
  for (int64_t row = window.first_row; row <= window.last_row; ++row) {
    const uint32_t* starts = grid.starts + row * grid.columns;
    scan_positions(plan, rule, box, starts[window.first_column], starts[window.last_column + 1],
                   ignored, found);
  }
}

}  // namespace htc::cpu::HTC_TARGET
