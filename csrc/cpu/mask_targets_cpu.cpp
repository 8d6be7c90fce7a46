#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "htc/ops/mask_targets.h"
#include "htc/parallel.h"
#include "htc/workspace.h"

#define HTC_TARGET_SOURCE "cpu/mask_targets_cpu.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"

// Bilinear samples on a grid weigh rows and columns apart: the sum over the samples of a bin is
// sum_y weight(y) * sum_x weight(x) * bitmap(y, x). So each bin row is one weighted sum of bitmap
// rows, vectorised over x, and each bin a weighted sum of that.
namespace htc::cpu::HTC_TARGET {

template <typename T>
struct TargetScratch {
  TargetTaps* column_taps;  // of every bin
  T* column_table;
  T* row_table;
  T* sums;  // of one bin row, over the columns that the box reads
};

template <typename T>
TargetScratch<T> take_scratch(Workspace& parts, const MaskTargetsShape& shape) {
  TargetScratch<T> scratch;
  scratch.column_taps = parts.take<TargetTaps>(shape.target_width);
  scratch.column_table = parts.take<T>(target_table_length(shape.target_width, shape.width));
  scratch.row_table = parts.take<T>(target_table_length(shape.target_height, shape.height));
  scratch.sums = parts.take<T>(shape.width);
  return scratch;
}

// 1 where the byte is not 0, as a mask over lanes; `count` bytes are read.
template <typename T>
HTC_INLINE Mask<T> load_inside(const uint8_t* bytes, int count) {
  typename simd::VectorOf<uint8_t, kLanes<T>>::type narrow{};
  __builtin_memcpy(&narrow, bytes, static_cast<size_t>(count));
  return __builtin_convertvector(narrow, Mask<T>) != 0;
}

// sums[x] = sum of the weights of those rows whose pixel x is inside.
template <typename T>
HTC_INLINE void sum_rows(const uint8_t* rows, int64_t stride, const T* weights, int64_t num_rows,
                         int64_t width, T* sums) {
  constexpr int kUnroll = 4;
  constexpr int64_t kStep = kUnroll * kLanes<T>;
  const Vec<T> zero{};
  int64_t x = 0;
  for (; x + kStep <= width; x += kStep) {
    Vec<T> total[kUnroll] = {};
    for (int64_t y = 0; y < num_rows; ++y) {
      const Vec<T> weight = broadcast(weights[y]);
      for (int u = 0; u < kUnroll; ++u) {
        const uint8_t* bytes = rows + y * stride + x + u * kLanes<T>;
        total[u] += load_inside<T>(bytes, kLanes<T>) ? weight : zero;
      }
    }
    for (int u = 0; u < kUnroll; ++u) store(sums + x + u * kLanes<T>, total[u]);
  }
  for (; x < width; x += kLanes<T>) {
    const int count = static_cast<int>(std::min<int64_t>(kLanes<T>, width - x));
    Vec<T> total{};
    for (int64_t y = 0; y < num_rows; ++y) {
      const uint8_t* bytes = rows + y * stride + x;
      const Mask<T> inside =
          count == kLanes<T> ? load_inside<T>(bytes, kLanes<T>) : load_inside<T>(bytes, count);
      total += inside ? broadcast(weights[y]) : zero;
    }
    store_first(sums + x, total, count);
  }
}

template <typename T>
void mask_target(const Box<T>& box, const uint8_t* bitmap, const MaskTargetsShape& shape,
                 T threshold, void* block, float* target) {
  Workspace parts(block);
  const TargetScratch<T> scratch = take_scratch<T>(parts, shape);
  const RoiAxis<T> xs = mask_target_axis(box.x1, box.x2, shape.target_width, shape.width);
  const RoiAxis<T> ys = mask_target_axis(box.y1, box.y2, shape.target_height, shape.height);
  const T count = xs.grid * ys.grid;
  const float nothing = T(0) >= threshold ? 1.0f : 0.0f;

  int64_t first_column = shape.width, end_column = 0;
  for (int64_t px = 0; px < shape.target_width; ++px) {
    const TargetTaps taps = set_target_taps(xs, px, scratch.column_table);
    scratch.column_taps[px] = taps;
    if (taps.count > 0) {
      first_column = std::min(first_column, taps.first);
      end_column = taps.first + taps.count;
    }
  }
  for (int64_t py = 0; py < shape.target_height; ++py, target += shape.target_width) {
    const TargetTaps rows = set_target_taps(ys, py, scratch.row_table);
    if (rows.count == 0 || first_column >= end_column) {
      std::fill(target, target + shape.target_width, nothing);
      continue;
    }
    sum_rows(bitmap + rows.first * shape.width + first_column, shape.width,
             scratch.row_table + target_table_at(py, rows), rows.count, end_column - first_column,
             scratch.sums);
    for (int64_t px = 0; px < shape.target_width; ++px) {
      const TargetTaps taps = scratch.column_taps[px];
      const T* weight = scratch.column_table + target_table_at(px, taps);
      const T* sums = scratch.sums + taps.first - first_column;
      T total = 0;
      for (int64_t k = 0; k < taps.count; ++k) total += weight[k] * sums[k];
      target[px] = total / count >= threshold ? 1.0f : 0.0f;
    }
  }
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

template <typename T>
int64_t mask_targets_workspace_bytes(const MaskTargetsShape& shape, int threads) {
  Workspace parts(nullptr);
  portable::take_scratch<T>(parts, shape);
  return parts.used() * threads;
}

template <typename T>
void mask_targets(const T* boxes, const uint8_t* bitmaps, const int64_t* gt_index,
                  const MaskTargetsShape& shape, double threshold, int threads, void* workspace,
                  float* targets) {
  const int64_t size = shape.target_height * shape.target_width;
  const int64_t scratch = mask_targets_workspace_bytes<T>(shape, 1);
  const float nothing = 0 >= threshold ? 1.0f : 0.0f;
  std::atomic<int64_t> next{0};
  parallel_for(threads, 1, [&](int, int64_t thread, int64_t) {
    void* block = static_cast<char*>(workspace) + thread * scratch;
    for (int64_t r; (r = next.fetch_add(1, std::memory_order_relaxed)) < shape.num_boxes;) {
      float* target = targets + r * size;
      if (gt_index[r] < 0 || gt_index[r] >= shape.num_gts) {
        std::fill(target, target + size, nothing);
        continue;
      }
      HTC_DISPATCH(mask_target<T>)
      (load_box(boxes, r), bitmaps + gt_index[r] * shape.height * shape.width, shape,
       static_cast<T>(threshold), block, target);
    }
  });
}

#  define HTC_INSTANTIATE(T)                                                        \
    template int64_t mask_targets_workspace_bytes<T>(const MaskTargetsShape&, int); \
    template void mask_targets<T>(const T*, const uint8_t*, const int64_t*,         \
                                  const MaskTargetsShape&, double, int, void*, float*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
