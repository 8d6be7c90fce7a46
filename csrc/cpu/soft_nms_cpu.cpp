#include <cmath>
#include <cstdint>
#include <cstring>

#include "cpu/candidate_queue.h"
#include "cpu/nms_plan.h"
#include "htc/ops/soft_nms.h"
#define HTC_TARGET_SOURCE "cpu/soft_nms_cpu.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"
// After simd.h, on which it builds.
#include "cpu/nms_scan.h"

namespace htc::cpu::HTC_TARGET {

// By position: current [N], the present scores; done, marks of boxes that were kept or dropped.
template <typename T>
int64_t soft_nms(const NmsPlan<T>& plan, const T* scores, int64_t num_boxes,
                 const SoftNmsRule& rule, T* current, uint8_t* done, Candidate<T>* fallen,
                 int64_t* kept, T* kept_scores) {
  const bool linear = rule.method == SoftNmsMethod::kLinear;
  const NmsRule<T> search(linear ? rule.iou_threshold : 0.0);
  const T sigma = static_cast<T>(rule.sigma), min_score = static_cast<T>(rule.min_score);
  const auto ignored = [&](int64_t at) { return marks_from(done, at); };
  const auto found = [&](int64_t at, uint32_t lanes, Vec<T> iou) {
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      T& score = current[at + lane];
      score *= soft_nms_weight(static_cast<T>(iou[lane]), rule.method, sigma);
      if (!(score >= min_score)) mark(done, at + lane, 1);
    }
  };
  CandidateQueue<T> queue(plan, scores, num_boxes, fallen);
  Candidate<T> first;
  int64_t num_kept = 0;
  while (queue.pop(&first)) {
    if (!(first.score >= min_score)) continue;
    const uint32_t position = first.position;
    if (position != NmsPlan<T>::kNowhere) {
      if (marks_from(done, position) & 1) continue;
      if (current[position] != first.score) {
        queue.push_back({current[position], first.index, position});
        continue;
      }
    }
    kept[num_kept] = first.index;
    kept_scores[num_kept++] = first.score;
    if (position == NmsPlan<T>::kNowhere) continue;
    mark(done, position, 1);
    const Box<T> box = {plan.x1[position], plan.y1[position], plan.x2[position], plan.y2[position]};
    const NmsSegment& segment = plan.segments[0];
    scan_segment(plan, segment, search, box, segment.begin, ignored, found);
  }
  return num_kept;
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

template <typename T>
int64_t soft_nms(const T* boxes, const T* scores, int64_t num_boxes, const SoftNmsRule& rule,
                 void* workspace, int64_t* kept, T* kept_scores) {
  Workspace parts(workspace);
  T* current = parts.take<T>(num_boxes);
  auto* done = parts.take<uint8_t>(mark_bytes(num_boxes));
  auto* fallen = parts.take<Candidate<T>>(num_boxes);
  const double threshold = rule.method == SoftNmsMethod::kLinear ? rule.iou_threshold : 0.0;
  const NmsPlan<T> plan = plan_nms<T>(boxes, scores, nullptr, num_boxes, threshold, parts);
  std::memset(done, 0, static_cast<size_t>(mark_bytes(num_boxes)));
  for (int64_t visit = 0; visit < num_boxes; ++visit) {
    const uint32_t position = plan.position[visit];
    if (position != NmsPlan<T>::kNowhere) current[position] = scores[plan.order[visit]];
  }
  return HTC_DISPATCH(soft_nms<T>)(plan, scores, num_boxes, rule, current, done, fallen, kept,
                                   kept_scores);
}

template <typename T>
int64_t soft_nms_workspace_bytes(int64_t num_boxes) {
  Workspace parts(nullptr);
  parts.take<T>(num_boxes);
  parts.take<uint8_t>(mark_bytes(num_boxes));
  parts.take<Candidate<T>>(num_boxes);
  plan_nms<T>(nullptr, nullptr, nullptr, num_boxes, 0, parts);
  return parts.used();
}

#  define HTC_INSTANTIATE(T)                                                                       \
    template int64_t soft_nms<T>(const T*, const T*, int64_t, const SoftNmsRule&, void*, int64_t*, \
                                 T*);                                                              \
    template int64_t soft_nms_workspace_bytes<T>(int64_t);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
