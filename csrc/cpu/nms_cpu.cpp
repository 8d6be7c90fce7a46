#include <cstdint>
#include <cstring>

#include "cpu/nms_plan.h"
#include "htc/geometry.h"
#include "htc/ops/nms.h"
#define HTC_TARGET_SOURCE "cpu/nms_cpu.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"
// After simd.h, on which it builds.
#include "cpu/nms_scan.h"

namespace htc::cpu::HTC_TARGET {

template <typename T>
int64_t nms(const NmsPlan<T>& plan, int64_t num_boxes, int64_t max_keep, double iou_threshold,
            uint8_t* suppressed, int64_t* kept) {
  const NmsRule<T> rule(iou_threshold);
  const auto ignored = [&](int64_t at) { return marks_from(suppressed, at); };
  const auto found = [&](int64_t at, uint32_t lanes, Vec<T>) { mark(suppressed, at, lanes); };
  int64_t num_kept = 0;
  for (int64_t visit = 0; visit < num_boxes && num_kept < max_keep; ++visit) {
    const uint32_t position = plan.position[visit];
    if (position == NmsPlan<T>::kNowhere) {
      kept[num_kept++] = plan.order[visit];
      continue;
    }
    if (marks_from(suppressed, position) & 1) continue;
    const uint32_t index = plan.order[visit];
    kept[num_kept++] = index;
    mark(suppressed, position, 1);  // where the scan meets the box itself, it is ignored
    const Box<T> box = {plan.x1[position], plan.y1[position], plan.x2[position], plan.y2[position]};
    const NmsSegment& segment = plan.segments[plan.class_of ? plan.class_of[index] : 0];
    scan_segment(plan, segment, rule, box, int64_t{position} + 1, ignored, found);
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
  auto* suppressed = parts.take<uint8_t>(mark_bytes(shape.num_boxes));
  const NmsPlan<T> plan = plan_nms(boxes, scores, class_ids, shape.num_boxes, iou_threshold, parts);
  std::memset(suppressed, 0, static_cast<size_t>(mark_bytes(shape.num_boxes)));
  return HTC_DISPATCH(nms<T>)(plan, shape.num_boxes, shape.max_keep, iou_threshold, suppressed,
                              kept);
}

template <typename T>
int64_t nms_workspace_bytes(int64_t num_boxes) {
  Workspace parts(nullptr);
  parts.take<uint8_t>(mark_bytes(num_boxes));
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
