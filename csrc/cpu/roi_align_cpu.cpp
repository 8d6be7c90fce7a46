// RoIAlign on the CPU: rows first, along contiguous memory, then columns, a lane a bin.
#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/roi_plan.h"
#include "htc/ops/roi_align.h"
#include "htc/parallel.h"

#define HTC_TARGET_SOURCE "cpu/roi_align_cpu.cpp"
#include "cpu/foreach_target.h"
// Per target from here on, each needing the one before.
#include "cpu/simd.h"
//
#include "cpu/simd_half.h"
//
#include "cpu/roi_tables.h"

namespace htc::cpu::HTC_TARGET {

constexpr int64_t kBinRows = 8;       // rows of bins that one horizontal pass keeps in registers
constexpr int64_t kPoolChannels = 8;  // channels that go through an RoI's table in one go
constexpr int64_t kPoolRois = 128;    // RoIs of one piece of work

// A vector of a row. In a row shorter than a vector the lanes beyond it are of the next row, or
// nothing at the end of the tensor; no bin reads them.
template <bool kNarrow, typename T, typename C = typename Compute<T>::type>
HTC_INLINE Vec<C> load_row(const T* source, const T* tensor_end) {
  if (kNarrow && tensor_end - source < kLanes<C>) {
    T padded[kLanes<C>] = {};
    std::copy(source, tensor_end, padded);
    return load_compute(padded);
  }
  return load_compute(source);
}

// sums[bin, chunk] = the bin's rows, weighted, for kChunks chunks from `first` on.
template <int kChunks, bool kNarrow, typename T, typename C = typename Compute<T>::type>
HTC_INLINE void add_rows(const PoolTable<C>& table, const T* plane, const T* tensor_end,
                         int64_t first, int64_t bin_begin, int64_t bin_end, C* sums) {
  int64_t starts[kChunks];
  for (int j = 0; j < kChunks; ++j) starts[j] = table.starts[first + j];
  const int64_t stride = table.chunks * kLanes<C>;
  for (int64_t bin = bin_begin; bin < bin_end; ++bin) {
    Vec<C> sum[kChunks] = {};
    for (int32_t k = table.row_begin[bin]; k < table.row_begin[bin + 1]; ++k) {
      const T* row = plane + table.rows[k].row;
      const Vec<C> weight = broadcast(table.rows[k].weight);
      for (int j = 0; j < kChunks; ++j) {
        sum[j] = fma(load_row<kNarrow>(row + starts[j], tensor_end), weight, sum[j]);
      }
    }
    C* target = sums + (bin - bin_begin) * stride + first * kLanes<C>;
    for (int j = 0; j < kChunks; ++j) store(target + j * kLanes<C>, sum[j]);
  }
}

// pooled[bin row, bins of one block] = the bins' columns of `sums`, weighted. Stores whole vectors:
// with fewer bins than lanes they reach into the rows that follow, which are written later.
template <int kRows, typename C>
HTC_INLINE void add_columns(const PoolTable<C>& table, int64_t block, const C* sums,
                            int64_t pooled_width, C* pooled) {
  const int64_t stride = table.chunks * kLanes<C>;
  Vec<C> sum[kRows] = {};
  for (int32_t k = table.column_begin[block]; k < table.column_begin[block + 1]; ++k) {
    const Vec<C> weight = load(table.column_weights + static_cast<int64_t>(k) * kLanes<C>);
    const C* column = sums + table.columns[k];
    for (int r = 0; r < kRows; ++r) {
      sum[r] = fma(broadcast(column[r * stride]), weight, sum[r]);
    }
  }
  C* target = pooled + bin_block_start<C>(block, pooled_width);
  for (int r = 0; r < kRows; ++r) store(target + r * pooled_width, sum[r]);
}

template <typename C>
HTC_INLINE void add_columns_of(int64_t rows, const PoolTable<C>& table, int64_t block,
                               const C* sums, int64_t width, C* pooled) {
  switch (rows) {
    case 1:
      return add_columns<1>(table, block, sums, width, pooled);
    case 2:
      return add_columns<2>(table, block, sums, width, pooled);
    case 3:
      return add_columns<3>(table, block, sums, width, pooled);
    case 4:
      return add_columns<4>(table, block, sums, width, pooled);
    case 5:
      return add_columns<5>(table, block, sums, width, pooled);
    case 6:
      return add_columns<6>(table, block, sums, width, pooled);
    case 7:
      return add_columns<7>(table, block, sums, width, pooled);
    default:
      return add_columns<8>(table, block, sums, width, pooled);
  }
}

// One RoI of one channel. pooled has room for kLanes more values than it has bins.
template <typename T, typename C = typename Compute<T>::type>
void pool_plane(const PoolTable<C>& table, const T* plane, const T* tensor_end,
                const RoiAlignShape& shape, C* sums, C* pooled) {
  const int64_t height = shape.pooled_height, width = shape.pooled_width;
  const int64_t blocks = bin_blocks<C>(width);
  const int64_t passes = (height + kBinRows - 1) / kBinRows;
  for (int64_t pass = 0; pass < passes; ++pass) {
    const int64_t begin = height * pass / passes, end = height * (pass + 1) / passes;
    int64_t chunk = 0;
    if (table.plan->x.size < kLanes<C>) {
      if (table.chunks) add_rows<1, true>(table, plane, tensor_end, 0, begin, end, sums);
    } else {
      for (; chunk + 4 <= table.chunks; chunk += 4) {
        add_rows<4, false>(table, plane, tensor_end, chunk, begin, end, sums);
      }
      switch (table.chunks - chunk) {
        case 1:
          add_rows<1, false>(table, plane, tensor_end, chunk, begin, end, sums);
          break;
        case 2:
          add_rows<2, false>(table, plane, tensor_end, chunk, begin, end, sums);
          break;
        case 3:
          add_rows<3, false>(table, plane, tensor_end, chunk, begin, end, sums);
          break;
      }
    }
    for (int64_t block = 0; block < blocks; ++block) {
      add_columns_of(end - begin, table, block, sums, width, pooled + begin * width);
    }
  }
}

template <typename T>
void roi_align(const T* const* features, const typename Compute<T>::type* boxes,
               const int64_t* boxes_num, const RoiAlignShape& shape, T* pooled) {
  using C = typename Compute<T>::type;
  const int64_t bins = shape.pooled_height * shape.pooled_width;
  if (shape.num_rois == 0 || shape.channels == 0) return;
  const std::vector<PlannedRoi<C>> plan = plan_rois(boxes, boxes_num, shape);
  TableRun<PoolTable<C>, C> run(plan, shape);
  const int64_t sums_size = kBinRows * (run.max_columns() + 2 * kLanes<C>);
  const int64_t tile_size = kPoolChannels * bins + kLanes<C>;
  const std::unique_ptr<C[]> scratch(
      new C[static_cast<size_t>(num_threads() * (sums_size + tile_size))]);

  const int64_t channel_blocks = (shape.channels + kPoolChannels - 1) / kPoolChannels;
  for (size_t begin = 0; begin < plan.size();) {
    begin = run.build(begin, plan.size());
    const auto& tables = run.tables();
    const int64_t count = static_cast<int64_t>(tables.size());
    const int64_t roi_blocks = (count + kPoolRois - 1) / kPoolRois;
    parallel_for(channel_blocks * roi_blocks, 1, [&](int worker, int64_t item, int64_t) {
      C* sums = scratch.get() + worker * (sums_size + tile_size);
      C* tile = sums + sums_size;
      const int64_t c_begin = item / roi_blocks * kPoolChannels;
      const int64_t c_end = std::min(c_begin + kPoolChannels, shape.channels);
      const int64_t r_begin = item % roi_blocks * kPoolRois;
      const int64_t r_end = std::min(r_begin + kPoolRois, count);
      for (int64_t r = r_begin; r < r_end; ++r) {
        const PoolTable<C>& table = tables[static_cast<size_t>(r)];
        const PlannedRoi<C>& roi = *table.plan;
        const int64_t plane_size = shape.heights[roi.level] * shape.widths[roi.level];
        const T* level = features[roi.level];
        const T* level_end = level + shape.num_pictures * shape.channels * plane_size;
        for (int64_t c = c_begin; c < c_end; ++c) {
          const T* plane = level + (roi.picture * shape.channels + c) * plane_size;
          pool_plane(table, plane, level_end, shape, sums, tile + (c - c_begin) * bins);
        }
        convert_from_compute(tile, pooled + (roi.roi * shape.channels + c_begin) * bins,
                             (c_end - c_begin) * bins);
      }
    });
  }
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

template <typename T>
void roi_align(const T* const* features, const typename Compute<T>::type* boxes,
               const int64_t* boxes_num, const RoiAlignShape& shape, T* pooled) {
  return HTC_DISPATCH(roi_align<T>)(features, boxes, boxes_num, shape, pooled);
}

#  define HTC_INSTANTIATE(T)                                                             \
    template void roi_align<T>(const T* const*, const Compute<T>::type*, const int64_t*, \
                               const RoiAlignShape&, T*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
HTC_INSTANTIATE(float16)
HTC_INSTANTIATE(bfloat16)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
