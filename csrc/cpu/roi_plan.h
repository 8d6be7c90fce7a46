// Which RoI reads what, in the order in which the CPU kernels of RoIAlign go through them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "htc/ops/roi_align.h"

namespace htc::cpu {

template <typename C>
struct PlannedRoi {
  int64_t roi;  // row of `boxes` and of the pooled tensor
  int64_t picture;
  int level;
  RoiAxis<C> y, x;
  int64_t first_y, last_y, first_x, last_x;  // pixels that it may read; none: last < first

  int64_t rows() const { return last_y - first_y + 1; }
  int64_t columns() const { return last_x - first_x + 1; }
};

// All RoIs, sorted by level, picture and place: neighbours in the list share feature rows, which
// then come from the cache. The order depends on the boxes alone.
template <typename C>
std::vector<PlannedRoi<C>> plan_rois(const C* boxes, const int64_t* boxes_num,
                                     const RoiAlignShape& shape) {
  constexpr int64_t kBand = 32;  // feature rows that stay in the cache while RoIs go along them
  std::vector<PlannedRoi<C>> plan(static_cast<size_t>(shape.num_rois));
  int64_t picture = 0, end = shape.num_pictures > 0 ? boxes_num[0] : 0;
  for (int64_t r = 0; r < shape.num_rois; ++r) {
    while (r >= end && picture + 1 < shape.num_pictures) end += boxes_num[++picture];
    const Box<C> box = load_box(boxes, r);
    PlannedRoi<C>& roi = plan[static_cast<size_t>(r)];
    roi.roi = r;
    roi.picture = picture;
    roi.level = shape.num_levels == 1
                    ? 0
                    : level_of_box(box, static_cast<C>(shape.canonical_size), shape.num_levels);
    const C scale = static_cast<C>(shape.scales[roi.level]);
    roi.y = roi_axis(box.y1, box.y2, scale, shape.pooled_height, shape.sampling_ratio,
                     shape.aligned, shape.heights[roi.level]);
    roi.x = roi_axis(box.x1, box.x2, scale, shape.pooled_width, shape.sampling_ratio, shape.aligned,
                     shape.widths[roi.level]);
    pixel_range(roi.y, shape.pooled_height, roi.first_y, roi.last_y);
    pixel_range(roi.x, shape.pooled_width, roi.first_x, roi.last_x);
    if (roi.rows() <= 0 || roi.columns() <= 0) {
      roi.first_y = roi.first_x = 0;
      roi.last_y = roi.last_x = -1;
      roi.y.grid = roi.x.grid = 0;
    }
  }
  const auto place = [](const PlannedRoi<C>& p) {
    return std::make_tuple(p.level, p.picture, p.first_y / kBand, p.first_x, p.roi);
  };
  std::vector<std::pair<decltype(place(plan[0])), size_t>> order;
  order.reserve(plan.size());
  for (size_t i = 0; i < plan.size(); ++i) order.emplace_back(place(plan[i]), i);
  std::sort(order.begin(), order.end());
  std::vector<PlannedRoi<C>> sorted;
  sorted.reserve(plan.size());
  for (const auto& entry : order) sorted.push_back(plan[entry.second]);
  return sorted;
}

// The weights of one axis as a list, bins ascending and pixels ascending within a bin.
template <typename C>
struct AxisEntry {
  int64_t pixel;
  int32_t bin;
  C weight;  // divided by the number of samples
};

// At most this many entries: neighbouring bins share two pixels.
inline int64_t max_axis_entries(int64_t pixels, int64_t bins) { return pixels + 2 * bins; }

// Returns how many were written.
template <typename C>
int64_t axis_entries(const RoiAxis<C>& axis, int64_t bins, AxisEntry<C>* entries) {
  if (axis.grid == C(0)) return 0;
  int64_t count = 0;
  for (int64_t bin = 0; bin < bins; ++bin) {
    const int64_t begin = count;
    const SampleRange range = samples_between(axis, bin, -1.0, static_cast<double>(axis.size));
    for (int64_t i = 0; i < range.count; ++i) {
      // Along ascending pixels, so that equal ones meet.
      const int64_t step = axis.bin < C(0) ? range.count - 1 - i : i;
      SampleTaps<C> taps;
      const C sample = static_cast<C>(range.first + static_cast<double>(step));
      if (!sample_taps(sample_position(axis, bin, sample), axis.size, taps)) continue;
      int64_t at = count;
      while (at > begin && entries[at - 1].pixel > taps.low) --at;  // at most one step
      if (at > begin && entries[at - 1].pixel == taps.low) {
        --at;
      } else {
        entries[at] = {taps.low, static_cast<int32_t>(bin), C(0)};
        count = at + 1;
      }
      entries[at].weight += taps.low_weight;
      if (taps.high_weight == C(0)) continue;
      if (at + 1 == count) entries[count++] = {taps.low + 1, static_cast<int32_t>(bin), C(0)};
      entries[at + 1].weight += taps.high_weight;
    }
    for (int64_t k = begin; k < count; ++k) entries[k].weight /= axis.grid;
  }
  return count;
}

}  // namespace htc::cpu
