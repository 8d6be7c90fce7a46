#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "htc/ops/polygon_mask_targets.h"
#include "htc/parallel.h"

namespace htc::cpu {
namespace {

int64_t scratch_bytes(const PolygonMaskTargetsShape& shape) {
  const int64_t places = shape.target_height * shape.target_width + 1;
  return (places + 63) / 64 * 64;
}

bool all_finite(const double* points, int64_t count) {
  return std::all_of(points, points + 2 * count, [](double value) { return is_finite(value); });
}

// Adds one part to a target. `crossings` holds a byte a place, all 0 before and after.
template <typename T>
void fill_part(const PolygonFrame<T>& frame, const double* points, int64_t count,
               const PolygonMaskTargetsShape& shape, uint8_t* crossings, float* target) {
  if (count == 0 || !all_finite(points, count)) return;
  const int64_t height = shape.target_height, width = shape.target_width;
  PolygonPoint from = polygon_point(frame, points + 2 * (count - 1));
  for (int64_t i = 0; i < count; ++i) {
    const PolygonPoint to = polygon_point(frame, points + 2 * i);
    polygon_edge(from, to, height, width, [crossings](int64_t place) { crossings[place] ^= 1; });
    from = to;
  }
  uint8_t inside = 0;
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t y = 0; y < height; ++y) {
      inside ^= crossings[x * height + y];
      if (inside != 0) target[y * width + x] = 1.0f;
    }
  }
  std::memset(crossings, 0, static_cast<size_t>(height * width + 1));
}

}  // namespace

int64_t polygon_mask_targets_workspace_bytes(const PolygonMaskTargetsShape& shape, int threads) {
  return threads * scratch_bytes(shape);
}

template <typename T>
void polygon_mask_targets(const T* boxes, const double* points, const int64_t* part_offsets,
                          const int64_t* gt_offsets, const int64_t* gt_index,
                          const PolygonMaskTargetsShape& shape, int threads, void* workspace,
                          float* targets) {
  const int64_t size = shape.target_height * shape.target_width;
  std::atomic<int64_t> next{0};
  parallel_for(threads, 1, [&](int, int64_t thread, int64_t end) {
    for (; thread < end; ++thread) {
      uint8_t* crossings = static_cast<uint8_t*>(workspace) + thread * scratch_bytes(shape);
      std::memset(crossings, 0, static_cast<size_t>(size + 1));
      for (int64_t r; (r = next.fetch_add(1, std::memory_order_relaxed)) < shape.num_boxes;) {
        float* target = targets + r * size;
        std::fill(target, target + size, 0.0f);
        const int64_t gt = gt_index[r];
        const Box<T> box = load_box(boxes, r);
        if (gt < 0 || gt >= shape.num_gts || !is_finite(box)) continue;
        const PolygonFrame<T> frame = polygon_frame(box, shape.target_height, shape.target_width);
        for (int64_t part = gt_offsets[gt]; part < gt_offsets[gt + 1]; ++part) {
          fill_part(frame, points + 2 * part_offsets[part],
                    part_offsets[part + 1] - part_offsets[part], shape, crossings, target);
        }
      }
    }
  });
}

#define HTC_INSTANTIATE(T)                                                                       \
  template void polygon_mask_targets<T>(const T*, const double*, const int64_t*, const int64_t*, \
                                        const int64_t*, const PolygonMaskTargetsShape&, int,     \
                                        void*, float*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cpu
