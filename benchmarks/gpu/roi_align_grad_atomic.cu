#include "cuda/roi_tables.h"
#include "roi_align_grad_atomic.h"

namespace htc::cuda {
namespace {

constexpr int kBlockChannels = 16;

template <typename C>
struct Levels {
  C* grads[kMaxRoiLevels];
};

template <typename C>
__global__ void zero_kernel(C* values, int64_t count) {
  HTC_GRID_STRIDE(i, count) { values[i] = C(0); }
}

// Every pixel of the bin once, however many samples fall on it.
template <typename C>
__device__ void add_by_table(C* map, int64_t width, const AxisTable<C>& ys, const AxisTable<C>& xs,
                             int64_t bin_y, int64_t bin_x, C value) {
  const int rows = ys.count[bin_y], columns = xs.count[bin_x];
  if (rows == 0 || columns == 0) return;
  const C *row_weights = ys.weights + ys.at[bin_y], *column_weights = xs.weights + xs.at[bin_x];
  C* row = map + ys.first[bin_y] * width + xs.first[bin_x];
  for (int y = 0; y < rows; ++y, row += width) {
    const C share = value * row_weights[y];
    for (int x = 0; x < columns; ++x) atomicAdd(row + x, share * column_weights[x]);
  }
}

template <typename C>
__device__ void add_row(C* row, const SampleTaps<C>& x, C value) {
  atomicAdd(row + x.low, value * x.low_weight);
  if (x.high_weight != C(0)) atomicAdd(row + x.low + 1, value * x.high_weight);
}

template <typename C>
__device__ void add_by_sample(C* map, int64_t width, const DeviceRoi<C>& roi, int64_t bin_y,
                              int64_t bin_x, C value) {
  const SampleRange ys = samples_between(roi.y, bin_y, -1.0, static_cast<double>(roi.y.size));
  const SampleRange xs = samples_between(roi.x, bin_x, -1.0, static_cast<double>(width));
  for (int64_t iy = 0; iy < ys.count; ++iy) {
    SampleTaps<C> y;
    const C at_y = sample_position(roi.y, bin_y, static_cast<C>(ys.first + iy));
    if (!sample_taps(at_y, roi.y.size, y)) continue;
    for (int64_t ix = 0; ix < xs.count; ++ix) {
      SampleTaps<C> x;
      const C at_x = sample_position(roi.x, bin_x, static_cast<C>(xs.first + ix));
      if (!sample_taps(at_x, width, x)) continue;
      add_row(map + y.low * width, x, value * y.low_weight);
      if (y.high_weight != C(0)) add_row(map + (y.low + 1) * width, x, value * y.high_weight);
    }
  }
}

// As the forward kernel: a block takes some channels of one RoI, a thread one bin of one channel at
// a time, to the pixels that it was read from.
template <typename T, typename C>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const T* __restrict__ pooled_grad, const C* __restrict__ boxes,
                   const int64_t* __restrict__ boxes_num, RoiAlignShape shape, int64_t blocks_a_roi,
                   Levels<C> levels) {
  __shared__ RoiStorage<C> storage;
  __shared__ AxisTable<C> ys, xs;
  __shared__ bool by_table;
  DeviceRoi<C>& roi = storage.roi();
  const int64_t bins = shape.pooled_height * shape.pooled_width;
  for (int64_t block = blockIdx.x; block < shape.num_rois * blocks_a_roi; block += gridDim.x) {
    const int64_t r = block / blocks_a_roi, first = (block - r * blocks_a_roi) * kBlockChannels;
    const int64_t items = min_or<int64_t>(kBlockChannels, shape.channels - first) * bins;
    __syncthreads();  // the RoI before and its tables have been read
    if (threadIdx.x == 0) {
      roi = device_roi(boxes, boxes_num, shape, r);
      by_table = AxisTable<C>::holds(roi.y, shape.pooled_height, roi.first_y, roi.last_y) &&
                 AxisTable<C>::holds(roi.x, shape.pooled_width, roi.first_x, roi.last_x);
    }
    __syncthreads();
    if (roi.y.grid == C(0)) continue;
    if (by_table) {
      for (int64_t y = threadIdx.x; y < shape.pooled_height; y += kThreads) {
        ys.set(roi.y, y, roi.first_y);
      }
      for (int64_t x = threadIdx.x; x < shape.pooled_width; x += kThreads) {
        xs.set(roi.x, x, roi.first_x);
      }
    }
    __syncthreads();
    const int64_t width = roi.x.size, plane = roi.y.size * width;
    C* maps = levels.grads[roi.level] + (roi.picture * shape.channels + first) * plane;
    const T* grads = pooled_grad + (r * shape.channels + first) * bins;
    const C share = C(1) / (roi.y.grid * roi.x.grid);
    for (int64_t item = threadIdx.x; item < items; item += kThreads) {
      const int64_t channel = quotient(item, bins), bin = item - channel * bins;
      const int64_t bin_y = quotient(bin, shape.pooled_width);
      const int64_t bin_x = bin - bin_y * shape.pooled_width;
      C* map = maps + channel * plane;
      const C value = share * to_compute(grads[item]);
      if (by_table) {
        add_by_table(map, width, ys, xs, bin_y, bin_x, value);
      } else {
        add_by_sample(map, width, roi, bin_y, bin_x, value);
      }
    }
  }
}

}  // namespace

template <typename T>
int roi_align_grad_atomic(const T* pooled_grad, const typename Compute<T>::type* boxes,
                          const int64_t* boxes_num, const RoiAlignShape& shape,
                          typename Compute<T>::type* const* grads, void* stream) {
  using C = typename Compute<T>::type;
  Levels<C> levels{};
  for (int64_t level = 0; level < shape.num_levels; ++level) {
    levels.grads[level] = grads[level];
    const int64_t count =
        shape.num_pictures * shape.channels * shape.heights[level] * shape.widths[level];
    if (count == 0) continue;
    const int status =
        launch(zero_kernel<C>, blocks_for(count), kThreads, stream, grads[level], count);
    if (status != cudaSuccess) return status;
  }
  const int64_t blocks_a_roi = (shape.channels + kBlockChannels - 1) / kBlockChannels;
  const int64_t blocks = shape.num_rois * blocks_a_roi;
  if (blocks == 0 || shape.pooled_height * shape.pooled_width == 0) return cudaSuccess;
  return launch(scatter_kernel<T, C>, blocks_for(blocks, 1), kThreads, stream, pooled_grad, boxes,
                boxes_num, shape, blocks_a_roi, levels);
}

#define HTC_INSTANTIATE(T)                                                          \
  template int roi_align_grad_atomic<T>(const T*, const typename Compute<T>::type*, \
                                        const int64_t*, const RoiAlignShape&,       \
                                        typename Compute<T>::type* const*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
HTC_INSTANTIATE(float16)
HTC_INSTANTIATE(bfloat16)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
