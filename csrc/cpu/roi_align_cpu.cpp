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
constexpr int64_t kSumsStride = 64;   // columns of an RoI of usual size
constexpr int64_t kPoolChannels = 8;  // channels that go through an RoI's table in one go
constexpr int64_t kPoolRois = 128;    // RoIs of one piece of work
constexpr int64_t kStreamed =
    8 << 20;  // bytes of a result that would push its sources out of the cache

// Where the sums over rows of one channel lie: [kBinRows, stride].
template <typename C>
int64_t sums_stride(const PoolTable<C>& table) {
  return std::max(kSumsStride, table.chunks * kLanes<C>);
}

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

// Asks for kChunks chunks of a row of the next plane: its rows are too short and too far apart for
// the processor to foresee them.
template <int kChunks, typename T, typename C = typename Compute<T>::type>
HTC_INLINE void prefetch_row(const T* row) {
  constexpr int kStep = 64 / (kLanes<C> * static_cast<int>(sizeof(T)));  // chunks a cache line
  for (int j = 0; j < kChunks; j += kStep) __builtin_prefetch(row + j * kLanes<C>);
  if (kChunks % kStep == 0) __builtin_prefetch(row + kChunks * kLanes<C> - 1);
}

// sums[bin, chunk] = the bin's rows, weighted, for kChunks chunks that follow on each other.
// next_plane: elements from this plane to the one that is read after it.
template <int kChunks, bool kNarrow, typename T, typename C = typename Compute<T>::type>
HTC_INLINE void add_rows(const PoolTable<C>& table, const T* plane, const T* tensor_end,
                         int64_t next_plane, int64_t first, int64_t bin_begin, int64_t bin_end,
                         C* sums) {
  const int64_t stride = sums_stride(table);
  const T* start = plane + table.starts[first];
  C* target = sums + first * kLanes<C>;
  const RowTap<C>* tap = table.rows + table.row_begin[bin_begin];
  for (int64_t bin = bin_begin; bin < bin_end; ++bin, target += stride) {
    Vec<C> sum[kChunks] = {};
    for (const RowTap<C>* end = table.rows + table.row_begin[bin + 1]; tap != end; ++tap) {
      const Vec<C> weight = broadcast(tap->weight);
      const T* row = start + tap->row;
      prefetch_row<kChunks>(row + next_plane);
      for (int j = 0; j < kChunks; ++j) {
        sum[j] = fma(load_row<kNarrow>(row + j * kLanes<C>, tensor_end), weight, sum[j]);
      }
    }
    for (int j = 0; j < kChunks; ++j) store(target + j * kLanes<C>, sum[j]);
  }
}

// All chunks, as many at once as follow on each other.
template <typename T, typename C = typename Compute<T>::type>
void add_all_rows(const PoolTable<C>& table, const T* plane, const T* tensor_end,
                  int64_t next_plane, int64_t begin, int64_t end, C* sums) {
  if (table.plan->x.size < kLanes<C>) {
    if (table.chunks > 0)
      add_rows<1, true>(table, plane, tensor_end, next_plane, 0, begin, end, sums);
    return;
  }
  for (int64_t chunk = 0; chunk < table.chunks;) {
    int64_t run = 1;
    while (run < 4 && chunk + run < table.chunks &&
           table.starts[chunk + run] == table.starts[chunk] + run * kLanes<C>) {
      ++run;
    }
    switch (run) {
      case 1:
        add_rows<1, false>(table, plane, tensor_end, next_plane, chunk, begin, end, sums);
        break;
      case 2:
        add_rows<2, false>(table, plane, tensor_end, next_plane, chunk, begin, end, sums);
        break;
      case 3:
        add_rows<3, false>(table, plane, tensor_end, next_plane, chunk, begin, end, sums);
        break;
      default:
        add_rows<4, false>(table, plane, tensor_end, next_plane, chunk, begin, end, sums);
    }
    chunk += run;
  }
}

// pooled[bin row, bins of one block] = the bins' columns of `sums`, weighted. Stores whole vectors:
// with fewer bins than lanes they reach into the rows that follow, which are written later.
// kStride: sums_stride, or 0 for any.
template <int kRows, int kStride, typename C>
HTC_INLINE void add_columns(const PoolTable<C>& table, int64_t block, const C* sums,
                            int64_t pooled_width, C* pooled) {
  const int64_t stride = kStride > 0 ? kStride : sums_stride(table);
  Vec<C> sum[kRows] = {};
  const int32_t end = table.column_begin[block + 1];
  for (int32_t k = table.column_begin[block]; k < end; ++k) {
    const Vec<C> weight = load(table.column_weights + static_cast<int64_t>(k) * kLanes<C>);
    const C* column = sums + table.columns[k];
    for (int r = 0; r < kRows; ++r) sum[r] = fma(broadcast(column[r * stride]), weight, sum[r]);
  }
  C* target = pooled + bin_block_start<C>(block, pooled_width);
  for (int r = 0; r < kRows; ++r) store(target + r * pooled_width, sum[r]);
}

// The same for 1 to kRows rows.
template <int kRows, typename C>
void add_columns_of(const PoolTable<C>& table, int64_t block, int64_t rows, const C* sums,
                    int64_t pooled_width, C* pooled) {
  if (rows < kRows) {
    if constexpr (kRows > 1) {
      add_columns_of<kRows - 1>(table, block, rows, sums, pooled_width, pooled);
    }
  } else if (sums_stride(table) == kSumsStride) {
    add_columns<kRows, kSumsStride>(table, block, sums, pooled_width, pooled);
  } else {
    add_columns<kRows, 0>(table, block, sums, pooled_width, pooled);
  }
}

// The same for an RoI's whole part of a plane.
template <typename T, typename C = typename Compute<T>::type>
HTC_INLINE void prefetch_plane(const PoolTable<C>& table, const T* plane) {
  constexpr int64_t kLine = 64 / sizeof(T);
  if (table.chunks == 0) return;
  const PlannedRoi<C>& roi = *table.plan;
  const int64_t first = table.starts[0];
  const int64_t last = std::min(table.starts[table.chunks - 1] + kLanes<C>, roi.x.size) - 1;
  for (int64_t row = roi.first_y; row <= roi.last_y; ++row) {
    const T* source = plane + row * roi.x.size;
    for (int64_t x = first; x < last; x += kLine) __builtin_prefetch(source + x);
    __builtin_prefetch(source + last);
  }
}

// One RoI of one channel. pooled has room for kLanes more values than bins.
template <typename T, typename C = typename Compute<T>::type>
void pool_plane(const PoolTable<C>& table, const T* plane, const T* tensor_end, int64_t next_plane,
                const RoiAlignShape& shape, C* sums, C* pooled) {
  const int64_t height = shape.pooled_height, width = shape.pooled_width;
  const int64_t blocks = bin_blocks<C>(width);
  int64_t begin = 0;
  // Passes of nearly the same number of rows.
  for (int64_t passes = (height + kBinRows - 1) / kBinRows; passes > 0; --passes) {
    const int64_t rows = passes == 1 ? height - begin : (height - begin) / passes;
    add_all_rows(table, plane, tensor_end, next_plane, begin, begin + rows, sums);
    for (int64_t block = 0; block < blocks; ++block) {
      add_columns_of<kBinRows>(table, block, rows, sums, width, pooled + begin * width);
    }
    begin += rows;
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
  const int64_t sums_size =
      kBinRows * std::max(kSumsStride, max_chunks<C>(run.max_columns()) * kLanes<C>);
  const int64_t tile_size = kPoolChannels * bins + kLanes<C>;
  const std::unique_ptr<C[]> scratch(
      new C[static_cast<size_t>(num_threads() * (sums_size + tile_size))]);

  const bool streamed =
      shape.num_rois * shape.channels * bins * static_cast<int64_t>(sizeof(T)) >= kStreamed;
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
      const auto size_of = [&](const PlannedRoi<C>& roi) {
        return shape.heights[roi.level] * shape.widths[roi.level];
      };
      const auto first_plane = [&](const PlannedRoi<C>& roi) {
        return features[roi.level] + (roi.picture * shape.channels + c_begin) * size_of(roi);
      };
      for (int64_t r = r_begin; r < r_end; ++r) {
        const PoolTable<C>& table = tables[static_cast<size_t>(r)];
        const PlannedRoi<C>& roi = *table.plan;
        const int64_t plane_size = size_of(roi);
        const T* level_end = features[roi.level] + shape.num_pictures * shape.channels * plane_size;
        const T* plane = first_plane(roi);
        for (int64_t c = c_begin; c < c_end; ++c, plane += plane_size) {
          const int64_t next_plane = c + 1 < c_end ? plane_size : 0;
          pool_plane(table, plane, level_end, next_plane, shape, sums, tile + (c - c_begin) * bins);
        }
        if (r + 1 < r_end) {
          const PoolTable<C>& next = tables[static_cast<size_t>(r + 1)];
          prefetch_plane(next, first_plane(*next.plan));
        }
        T* result = pooled + (roi.roi * shape.channels + c_begin) * bins;
        const int64_t count = (c_end - c_begin) * bins;
        if (streamed) {
          stream_from_compute(tile, result, count);
        } else {
          convert_from_compute(tile, result, count);
        }
      }
      if (streamed) stream_fence();
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
