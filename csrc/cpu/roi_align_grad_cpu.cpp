// The gradient of RoIAlign on the CPU: columns first (bins spread over a window), then rows.
// A plane of the result belongs to one thread, which adds the RoIs in a fixed order.
#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/roi_plan.h"
#include "htc/ops/roi_align.h"
#include "htc/parallel.h"

#define HTC_TARGET_SOURCE "cpu/roi_align_grad_cpu.cpp"
#include "cpu/foreach_target.h"
// Per target from here on, each needing the one before.
#include "cpu/simd.h"
//
#include "cpu/simd_half.h"
//
#include "cpu/roi_tables.h"

namespace htc::cpu::HTC_TARGET {

constexpr int64_t kGradChannels = 4;  // planes of one piece of work

// Adds one RoI to kChunks chunks of a plane. spread: [pooled_height, kChunks * kLanes].
template <int kChunks, bool kNarrow, typename C>
HTC_INLINE void spread_chunks(const GradTable<C>& table, const C* grad, const RoiAlignShape& shape,
                              int64_t first, C* spread, C* plane) {
  constexpr int64_t kStride = kChunks * kLanes<C>;
  for (int j = 0; j < kChunks; ++j) {
    const int32_t begin = table.chunk_begin[first + j], end = table.chunk_begin[first + j + 1];
    for (int64_t bin = 0; bin < shape.pooled_height; ++bin) {
      const C* row = grad + bin * shape.pooled_width;
      Vec<C> sum{};
      for (int32_t k = begin; k < end; ++k) {
        const Vec<C> weight = load(table.chunk_weights + static_cast<int64_t>(k) * kLanes<C>);
        sum = fma(broadcast(row[table.chunk_bins[k]]), weight, sum);
      }
      store(spread + bin * kStride + j * kLanes<C>, sum);
    }
  }
  int64_t starts[kChunks];
  for (int j = 0; j < kChunks; ++j) starts[j] = table.starts[first + j];
  for (int64_t r = 0; r < table.num_rows; ++r) {
    C* row = plane + table.rows[r];
    Vec<C> sum[kChunks] = {};
    for (int32_t k = table.row_begin[r]; k < table.row_begin[r + 1]; ++k) {
      const Vec<C> weight = broadcast(table.row_bins[k].weight);
      const C* source = spread + table.row_bins[k].bin * kStride;
      for (int j = 0; j < kChunks; ++j) {
        sum[j] = fma(load(source + j * kLanes<C>), weight, sum[j]);
      }
    }
    for (int j = 0; j < kChunks; ++j) {
      C* target = row + starts[j];
      if (kNarrow) {  // a row shorter than a vector: the lanes beyond it are not ours
        for (int64_t i = 0; i < table.plan->x.size; ++i) target[i] += sum[j][i];
      } else {
        store(target, load(target) + sum[j]);
      }
    }
  }
}

template <typename C>
void spread_roi(const GradTable<C>& table, const C* grad, const RoiAlignShape& shape, C* spread,
                C* plane) {
  if (table.chunks == 0) return;
  if (table.plan->x.size < kLanes<C>) {
    return spread_chunks<1, true>(table, grad, shape, 0, spread, plane);
  }
  int64_t chunk = 0;
  for (; chunk + 4 <= table.chunks; chunk += 4) {
    spread_chunks<4, false>(table, grad, shape, chunk, spread, plane);
  }
  switch (table.chunks - chunk) {
    case 1:
      return spread_chunks<1, false>(table, grad, shape, chunk, spread, plane);
    case 2:
      return spread_chunks<2, false>(table, grad, shape, chunk, spread, plane);
    case 3:
      return spread_chunks<3, false>(table, grad, shape, chunk, spread, plane);
  }
}

// The planes of one level and picture.
template <typename T>
class PlaneGrad {
 public:
  using C = typename Compute<T>::type;
  static constexpr bool kDirect = std::is_same<T, C>::value;  // adds up in the result itself

  PlaneGrad(const T* pooled_grad, const RoiAlignShape& shape)
      : pooled_grad_(pooled_grad), shape_(shape) {
    const int64_t bins = shape.pooled_height * shape.pooled_width;
    worker_size_ = bins + shape.pooled_height * 4 * kLanes<C>;
    scratch_.reset(new C[static_cast<size_t>(num_threads() * worker_size_)]);
    if (!kDirect) {
      int64_t largest = 0;
      for (int l = 0; l < shape.num_levels; ++l) {
        largest = std::max(largest, shape.heights[l] * shape.widths[l]);
      }
      planes_.reset(new C[static_cast<size_t>(channels_at_once() * largest)]);
    }
  }

  // Channels whose planes are added up at the same time: in 16 bits these take memory.
  int64_t channels_at_once() const {
    return kDirect ? shape_.channels : std::min<int64_t>(shape_.channels, num_threads());
  }

  void run(TableRun<GradTable<C>, C>& run, size_t roi_begin, size_t roi_end, int64_t plane_size,
           T* result) {
    for (int64_t c = 0; c < shape_.channels; c += channels_at_once()) {
      const int64_t c_end = std::min(c + channels_at_once(), shape_.channels);
      size_t begin = roi_begin;
      do {
        const size_t end = begin < roi_end ? run.build(begin, roi_end) : roi_end;
        const bool first = begin == roi_begin, last = end == roi_end;
        const int64_t grain = kDirect ? kGradChannels : 1;
        parallel_for(c_end - c, grain, [&](int worker, int64_t b, int64_t e) {
          for (int64_t i = b; i < e; ++i) {
            T* target = result + (c + i) * plane_size;
            C* plane = accumulator(target, i * plane_size);
            if (first) std::fill_n(plane, plane_size, C(0));
            if (begin < end) {
              for (const auto& table : run.tables()) add(worker, table, c + i, plane);
            }
            if (!kDirect && last) convert_from_compute(plane, target, plane_size);
          }
        });
        begin = end;
      } while (begin < roi_end);
    }
  }

 private:
  C* accumulator(T* target, int64_t offset) {
    if constexpr (kDirect) {
      (void)offset;
      return target;
    } else {
      (void)target;
      return planes_.get() + offset;
    }
  }

  void add(int worker, const GradTable<C>& table, int64_t channel, C* plane) {
    const int64_t bins = shape_.pooled_height * shape_.pooled_width;
    const T* source = pooled_grad_ + (table.plan->roi * shape_.channels + channel) * bins;
    C* copy = scratch_.get() + worker * worker_size_;
    C* spread = copy + bins;
    if constexpr (kDirect) {
      spread_roi(table, source, shape_, spread, plane);
    } else {
      convert_to_compute(source, copy, bins);
      spread_roi(table, copy, shape_, spread, plane);
    }
  }

  const T* pooled_grad_;
  const RoiAlignShape& shape_;
  int64_t worker_size_ = 0;
  std::unique_ptr<C[]> scratch_, planes_;
};

template <typename T>
void roi_align_grad(const T* pooled_grad, const typename Compute<T>::type* boxes,
                    const int64_t* boxes_num, const RoiAlignShape& shape, T* const* features_grad) {
  using C = typename Compute<T>::type;
  if (shape.channels == 0) return;
  const std::vector<PlannedRoi<C>> plan = plan_rois(boxes, boxes_num, shape);
  TableRun<GradTable<C>, C> run(plan, shape);
  PlaneGrad<T> planes(pooled_grad, shape);
  size_t begin = 0;
  for (int level = 0; level < shape.num_levels; ++level) {
    const int64_t plane_size = shape.heights[level] * shape.widths[level];
    for (int64_t picture = 0; picture < shape.num_pictures; ++picture) {
      size_t end = begin;
      while (end < plan.size() && plan[end].level == level && plan[end].picture == picture) ++end;
      T* result = features_grad[level] + picture * shape.channels * plane_size;
      planes.run(run, begin, end, plane_size, result);
      begin = end;
    }
  }
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

template <typename T>
void roi_align_grad(const T* pooled_grad, const typename Compute<T>::type* boxes,
                    const int64_t* boxes_num, const RoiAlignShape& shape, T* const* features_grad) {
  return HTC_DISPATCH(roi_align_grad<T>)(pooled_grad, boxes, boxes_num, shape, features_grad);
}

#  define HTC_INSTANTIATE(T)                                                           \
    template void roi_align_grad<T>(const T*, const Compute<T>::type*, const int64_t*, \
                                    const RoiAlignShape&, T* const*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
HTC_INSTANTIATE(float16)
HTC_INSTANTIATE(bfloat16)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
