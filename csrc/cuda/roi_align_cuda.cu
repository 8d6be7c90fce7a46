// A block pools some channels of one RoI. Height and width do not mix (roi_axis.h), so the block
// first writes down, in shared memory, which pixels each bin row and each bin column reads and what
// they weigh; then a thread pools one bin of kPoolChannels channels at a time and reads every pixel
// once, however many samples fall on it. RoIs whose tables do not fit are pooled sample by sample.
#include <algorithm>

#include "cuda/roi_tables.h"

namespace htc::cuda {
namespace {

constexpr int kPoolChannels = 4;  // of a thread, at a time

template <typename T>
struct LevelPointers {
  T* data[kMaxRoiLevels];
};

// Where the channels of a thread lie: those beyond the last are the first once more.
struct Channels {
  int64_t offsets[kPoolChannels];
  int count;

  __device__ Channels(int64_t left, int64_t plane)
      : count(static_cast<int>(min_or<int64_t>(kPoolChannels, left))) {
#pragma unroll
    for (int c = 0; c < kPoolChannels; ++c) offsets[c] = c < count ? c * plane : 0;
  }
};

template <typename T, typename C>
__device__ void pool_by_table(const T* source, int64_t width, const Channels& channels,
                              const AxisTable<C>& ys, const AxisTable<C>& xs, int ph, int pw,
                              C* sum) {
  const int rows = ys.count[ph], columns = xs.count[pw];
  if (rows == 0 || columns == 0) return;
  const C *row_weights = ys.weights + ys.at[ph], *column_weights = xs.weights + xs.at[pw];
  const T* row = source + ys.first[ph] * width + xs.first[pw];
  for (int y = 0; y < rows; ++y, row += width) {
    C part[kPoolChannels] = {};
    for (int x = 0; x < columns; ++x) {
      const C weight = column_weights[x];
#pragma unroll
      for (int c = 0; c < kPoolChannels; ++c) {
        part[c] = multiply_add(weight, to_compute(row[channels.offsets[c] + x]), part[c]);
      }
    }
    const C weight = row_weights[y];
#pragma unroll
    for (int c = 0; c < kPoolChannels; ++c) sum[c] = multiply_add(weight, part[c], sum[c]);
  }
}

template <typename T, typename C>
__device__ void pool_by_sample(const T* source, int64_t width, const Channels& channels,
                               const DeviceRoi<C>& roi, int64_t ph, int64_t pw, C* sum) {
  const SampleRange ys = samples_between(roi.y, ph, -1.0, static_cast<double>(roi.y.size));
  const SampleRange xs = samples_between(roi.x, pw, -1.0, static_cast<double>(roi.x.size));
  for (int64_t iy = 0; iy < ys.count; ++iy) {
    SampleTaps<C> y;
    if (!sample_taps(sample_position(roi.y, ph, static_cast<C>(ys.first + iy)), roi.y.size, y)) {
      continue;
    }
    const T* low_row = source + y.low * width;
    const T* high_row = low_row + (y.high_weight != C(0) ? width : 0);
    for (int64_t ix = 0; ix < xs.count; ++ix) {
      SampleTaps<C> x;
      if (!sample_taps(sample_position(roi.x, pw, static_cast<C>(xs.first + ix)), width, x)) {
        continue;
      }
      const int64_t high = x.low + (x.high_weight != C(0) ? 1 : 0);
#pragma unroll
      for (int c = 0; c < kPoolChannels; ++c) {
        const int64_t at = channels.offsets[c];
        sum[c] += y.low_weight * (x.low_weight * to_compute(low_row[at + x.low]) +
                                  x.high_weight * to_compute(low_row[at + high])) +
                  y.high_weight * (x.low_weight * to_compute(high_row[at + x.low]) +
                                   x.high_weight * to_compute(high_row[at + high]));
      }
    }
  }
}

// Channels are counted in `quads` of kPoolChannels; a block has `quads_a_block` of one RoI.
template <typename T, typename C>
__global__ void __launch_bounds__(kThreads, 3)
    roi_align_kernel(LevelPointers<const T> features, const C* __restrict__ boxes,
                     const int64_t* __restrict__ boxes_num, RoiAlignShape shape,
                     int64_t quads_a_block, int64_t blocks_a_roi, T* __restrict__ pooled) {
  __shared__ RoiStorage<C> storage;
  __shared__ AxisTable<C> ys, xs;
  __shared__ bool by_table;
  DeviceRoi<C>& roi = storage.roi();
  const int64_t bins = shape.pooled_height * shape.pooled_width;
  for (int64_t block = blockIdx.x; block < shape.num_rois * blocks_a_roi; block += gridDim.x) {
    const int64_t r = block / blocks_a_roi;
    const int64_t first_channel = (block - r * blocks_a_roi) * quads_a_block * kPoolChannels;
    const int64_t channels =
        min_or<int64_t>(quads_a_block * kPoolChannels, shape.channels - first_channel);
    const int64_t items = (channels + kPoolChannels - 1) / kPoolChannels * bins;
    __syncthreads();  // the RoI before and its tables have been read
    if (threadIdx.x == 0) {
      roi = device_roi(boxes, boxes_num, shape, r);
      by_table = AxisTable<C>::holds(roi.y, shape.pooled_height, roi.first_y, roi.last_y) &&
                 AxisTable<C>::holds(roi.x, shape.pooled_width, roi.first_x, roi.last_x);
    }
    __syncthreads();
    if (by_table) {
      const int64_t lines = shape.pooled_height + shape.pooled_width;
      for (int64_t line = threadIdx.x; line < lines; line += kThreads) {
        if (line < shape.pooled_height) {
          ys.set(roi.y, line, roi.first_y);
        } else {
          xs.set(roi.x, line - shape.pooled_height, roi.first_x);
        }
      }
    }
    __syncthreads();
    const int64_t width = roi.x.size, plane = roi.y.size * width;
    const T* source =
        features.data[roi.level] + (roi.picture * shape.channels + first_channel) * plane;
    T* target = pooled + (r * shape.channels + first_channel) * bins;
    const C count = max_or(roi.y.grid * roi.x.grid, C(1));
    for (int64_t item = threadIdx.x; item < items; item += kThreads) {
      const int64_t quad = quotient(item, bins), bin = item - quad * bins;
      const int64_t ph = quotient(bin, shape.pooled_width), pw = bin - ph * shape.pooled_width;
      const Channels mine(channels - quad * kPoolChannels, plane);
      const T* planes = source + quad * kPoolChannels * plane;
      C sum[kPoolChannels] = {};
      if (by_table) {
        pool_by_table(planes, width, mine, ys, xs, static_cast<int>(ph), static_cast<int>(pw), sum);
      } else {
        pool_by_sample(planes, width, mine, roi, ph, pw, sum);
      }
#pragma unroll
      for (int c = 0; c < kPoolChannels; ++c) {
        if (c < mine.count) {
          from_compute(sum[c] / count, target[(quad * kPoolChannels + c) * bins + bin]);
        }
      }
    }
  }
}

}  // namespace

template <typename T>
int roi_align(const T* const* features, const typename Compute<T>::type* boxes,
              const int64_t* boxes_num, const RoiAlignShape& shape, T* pooled, void* stream) {
  using C = typename Compute<T>::type;
  const int64_t bins = shape.pooled_height * shape.pooled_width;
  if (shape.num_rois == 0 || shape.channels == 0 || bins == 0) return cudaSuccess;
  LevelPointers<const T> levels{};
  for (int l = 0; l < shape.num_levels; ++l) levels.data[l] = features[l];
  // Enough blocks for a large GPU, of which each has at least a bin a thread if it can.
  constexpr int64_t kEnoughBlocks = 2048;
  const int64_t quads = (shape.channels + kPoolChannels - 1) / kPoolChannels;
  const int64_t least = std::min((kThreads + bins - 1) / bins, quads);
  const int64_t wanted = std::clamp<int64_t>(kEnoughBlocks / shape.num_rois, 1, quads);
  const int64_t quads_a_block = std::max(least, (quads + wanted - 1) / wanted);
  const int64_t blocks_a_roi = (quads + quads_a_block - 1) / quads_a_block;
  return launch(roi_align_kernel<T, C>, blocks_for(shape.num_rois * blocks_a_roi, 1), kThreads,
                stream, levels, boxes, boxes_num, shape, quads_a_block, blocks_a_roi, pooled);
}

#define HTC_INSTANTIATE(T)                                                            \
  template int roi_align<T>(const T* const*, const Compute<T>::type*, const int64_t*, \
                            const RoiAlignShape&, T*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
HTC_INSTANTIATE(float16)
HTC_INSTANTIATE(bfloat16)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
