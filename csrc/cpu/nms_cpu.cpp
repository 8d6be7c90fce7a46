#include <cstdint>
#include <cstring>

#include "cpu/nms_plan.h"
#include "htc/geometry.h"
#include "htc/ops/nms.h"
#define HTC_TARGET_SOURCE "cpu/nms_cpu.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"

namespace htc::cpu::HTC_TARGET {

// One bit a position.
HTC_INLINE uint32_t suppressed_from(const uint8_t* suppressed, int64_t position) {
  uint32_t word;
  std::memcpy(&word, suppressed + (position >> 3), sizeof(word));
  return word >> (position & 7);  // 25 bits or more
}

HTC_INLINE void suppress(uint8_t* suppressed, int64_t position, uint32_t lanes) {
  uint32_t word;
  std::memcpy(&word, suppressed + (position >> 3), sizeof(word));
  word |= lanes << (position & 7);  // at most 16 + 7 bits
  std::memcpy(suppressed + (position >> 3), &word, sizeof(word));
}

// Suppresses what overlaps `box` too much at positions [begin, end).
template <typename T>
HTC_INLINE void scan(const NmsPlan<T>& plan, const NmsRule<T>& rule, const Box<T>& box,
                     int64_t begin, int64_t end, uint8_t* suppressed) {
  const T box_area = area(box);
  const T box_bound = is_finite(box_area) ? box_area * rule.factor : T(0);
  const Vec<T> zero{}, x1 = broadcast(box.x1), y1 = broadcast(box.y1), x2 = broadcast(box.x2),
                       y2 = broadcast(box.y2), bound = broadcast(box_bound);
  // Copies, since a store through a byte pointer could change any member for all the compiler
  // knows.
  const T *all_x1 = plan.x1, *all_y1 = plan.y1, *all_x2 = plan.x2, *all_y2 = plan.y2,
          *all_bound = plan.area_bound;
  for (int64_t at = begin; at < end; at += kLanes<T>) {
    const Vec<T> other_x1 = load(all_x1 + at), other_y1 = load(all_y1 + at),
                 other_x2 = load(all_x2 + at), other_y2 = load(all_y2 + at);
    const Vec<T> width = max_or(min_or(x2, other_x2) - max_or(x1, other_x1), zero);
    const Vec<T> height = min_or(y2, other_y2) - max_or(y1, other_y1);
    uint32_t lanes = bits(width * height > bound + load(all_bound + at));
    lanes &= ~suppressed_from(suppressed, at);
    if (lanes == 0) continue;

    // The exact rule, as iou() of geometry.h writes it.
    const Vec<T> overlap = width * max_or(height, zero);
    const Vec<T> other_area = (other_x2 - other_x1) * (other_y2 - other_y1);
    const Vec<T> combined = broadcast(box_area) + other_area - overlap;
    const Vec<T> iou = overlap / max_or(combined, broadcast(T(kMinUnion)));
    lanes &= bits(iou > broadcast(rule.threshold));
    if (end - at < kLanes<T>) lanes &= (1u << (end - at)) - 1;
    suppress(suppressed, at, lanes);
  }
}

template <typename T>
HTC_INLINE void scan_grid(const NmsPlan<T>& plan, const NmsGrid<T>& grid, const NmsRule<T>& rule,
                          const Box<T>& box, uint8_t* suppressed) {
  const GridWindow window = window_of(grid, rule, box);
  for (int64_t row = window.first_row; row <= window.last_row; ++row) {
    const uint32_t* starts = grid.starts + row * grid.columns;
    scan(plan, rule, box, starts[window.first_column], starts[window.last_column + 1], suppressed);
  }
}

template <typename T>
int64_t nms(const NmsPlan<T>& plan, int64_t num_boxes, int64_t max_keep, double iou_threshold,
            uint8_t* suppressed, int64_t* kept) {
  const NmsRule<T> rule(iou_threshold);
  int64_t num_kept = 0;
  for (int64_t visit = 0; visit < num_boxes && num_kept < max_keep; ++visit) {
    const uint32_t position = plan.position[visit];
    if (position == NmsPlan<T>::kNowhere) {
      kept[num_kept++] = plan.order[visit];
      continue;
    }
    if (suppressed_from(suppressed, position) & 1) continue;
    const uint32_t index = plan.order[visit];
    kept[num_kept++] = index;
    const Box<T> box = {plan.x1[position], plan.y1[position], plan.x2[position], plan.y2[position]};
    const NmsSegment& segment = plan.segments[plan.class_of ? plan.class_of[index] : 0];
    if (segment.grid < 0) {
      scan(plan, rule, box, position + 1, segment.end, suppressed);
    } else {
      // The window holds the box itself; boxes kept before it do not overlap it.
      suppress(suppressed, position, 1);
      scan_grid(plan, plan.grids[segment.grid], rule, box, suppressed);
    }
  }
  return num_kept;
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

template <typename T>
int64_t nms(const T* boxes, const T* scores, const int64_t* class_ids, const NmsShape& shape,
            double iou_threshold, void* workspace, int64_t* kept) {
  Workspace parts(workspace);
  const auto bytes = static_cast<size_t>(shape.num_boxes / 8 + 8);
  auto* suppressed = parts.take<uint8_t>(static_cast<int64_t>(bytes));
  const NmsPlan<T> plan = plan_nms(boxes, scores, class_ids, shape.num_boxes, iou_threshold, parts);
  std::memset(suppressed, 0, bytes);
  return HTC_DISPATCH(nms<T>)(plan, shape.num_boxes, shape.max_keep, iou_threshold, suppressed,
                              kept);
}

template <typename T>
int64_t nms_workspace_bytes(int64_t num_boxes) {
  Workspace parts(nullptr);
  parts.take<uint8_t>(num_boxes / 8 + 8);
  plan_nms<T>(nullptr, nullptr, nullptr, num_boxes, 0, parts);
  return parts.used();
}

#  define HTC_INSTANTIATE(T)                                                                    \
    template int64_t nms<T>(const T*, const T*, const int64_t*, const NmsShape&, double, void*, \
                            int64_t*);                                                          \
    template int64_t nms_workspace_bytes<T>(int64_t);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
