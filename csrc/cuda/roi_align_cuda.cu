#include "cuda/cuda_half.h"
#include "cuda/cuda_launch.h"
#include "htc/ops/box_codec.h"
#include "htc/ops/roi_align.h"

namespace htc::cuda {
namespace {

template <typename T>
struct LevelPointers {
  T* data[kMaxRoiLevels];
};

template <typename C>
struct DeviceRoi {
  int64_t picture;
  int64_t first_y, last_y, first_x, last_x;  // pixels that it may read
  RoiAxis<C> y, x;
  int level;
};

template <typename C>
__device__ DeviceRoi<C> device_roi(const C* boxes, const int64_t* boxes_num,
                                   const RoiAlignShape& shape, int64_t r) {
  DeviceRoi<C> roi;
  const Box<C> box = load_box(boxes, r);
  roi.picture = picture_of_box(r, boxes_num, shape.num_pictures);
  roi.level = shape.num_levels == 1
                  ? 0
                  : level_of_box(box, static_cast<C>(shape.canonical_size), shape.num_levels);
  const C scale = static_cast<C>(shape.scales[roi.level]);
  roi.y = roi_axis(box.y1, box.y2, scale, shape.pooled_height, shape.sampling_ratio, shape.aligned,
                   shape.heights[roi.level]);
  roi.x = roi_axis(box.x1, box.x2, scale, shape.pooled_width, shape.sampling_ratio, shape.aligned,
                   shape.widths[roi.level]);
  if (roi.y.grid == C(0) || roi.x.grid == C(0)) roi.y.grid = roi.x.grid = 0;
  pixel_range(roi.y, shape.pooled_height, roi.first_y, roi.last_y);
  pixel_range(roi.x, shape.pooled_width, roi.first_x, roi.last_x);
  return roi;
}

// A thread pools one bin of this many channels: positions and weights are theirs together.
constexpr int kPoolChannels = 4;

template <typename T, typename C>
__global__ void __launch_bounds__(kThreads)
    roi_align_kernel(LevelPointers<const T> features, const C* __restrict__ boxes,
                     const int64_t* __restrict__ boxes_num, RoiAlignShape shape, int64_t work,
                     T* __restrict__ pooled) {
  const int64_t bins = shape.pooled_height * shape.pooled_width;
  const int64_t groups = (shape.channels + kPoolChannels - 1) / kPoolChannels;
  HTC_GRID_STRIDE(index, work) {
    const int64_t bin = index % bins, group = index / bins % groups, r = index / bins / groups;
    const int64_t ph = bin / shape.pooled_width, pw = bin % shape.pooled_width;
    const DeviceRoi<C> roi = device_roi(boxes, boxes_num, shape, r);
    const int64_t width = roi.x.size, plane = roi.y.size * width;
    const int64_t first = group * kPoolChannels;
    const int channels = static_cast<int>(min_or<int64_t>(kPoolChannels, shape.channels - first));
    const T* source = features.data[roi.level] + (roi.picture * shape.channels + first) * plane;
    C sum[kPoolChannels] = {};
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
          if (c >= channels) break;
          const int64_t at = c * plane;
          sum[c] += y.low_weight * (x.low_weight * to_compute(low_row[at + x.low]) +
                                    x.high_weight * to_compute(low_row[at + high])) +
                    y.high_weight * (x.low_weight * to_compute(high_row[at + x.low]) +
                                     x.high_weight * to_compute(high_row[at + high]));
        }
      }
    }
    const C count = max_or(roi.y.grid * roi.x.grid, C(1));
    T* target = pooled + (r * shape.channels + first) * bins + bin;
#pragma unroll
    for (int c = 0; c < kPoolChannels; ++c) {
      if (c < channels) from_compute(sum[c] / count, target[c * bins]);
    }
  }
}

template <typename C>
__global__ void plan_kernel(const C* __restrict__ boxes, const int64_t* __restrict__ boxes_num,
                            RoiAlignShape shape, DeviceRoi<C>* __restrict__ rois) {
  HTC_GRID_STRIDE(r, shape.num_rois) { rois[r] = device_roi(boxes, boxes_num, shape, r); }
}

// The gradient is gathered: a thread owns one pixel of some channels and goes over the RoIs that
// read it in their order. No atomics, so the same bits every time.
constexpr int kTileWidth = 32, kTileHeight = 8;
constexpr int kGradChannels = 8;
static_assert(kTileWidth * kTileHeight == kThreads, "a thread a pixel");

// Writes the indices of the RoIs among base .. base + kThreads - 1 that touch the tile to `list`,
// ascending, and returns how many, to all threads of the block.
template <typename C>
__device__ int touching_rois(const DeviceRoi<C>* rois, int64_t num_rois, int64_t base, int level,
                             int64_t picture, int64_t tile_y, int64_t tile_x, int* list) {
  constexpr int kWarps = kThreads / 32;
  __shared__ int warp_count[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t r = base + threadIdx.x;
  bool touches = false;
  if (r < num_rois) {
    const DeviceRoi<C>& roi = rois[r];
    touches = roi.level == level && roi.picture == picture && roi.first_y < tile_y + kTileHeight &&
              roi.last_y >= tile_y && roi.first_x < tile_x + kTileWidth && roi.last_x >= tile_x;
  }
  const unsigned votes = __ballot_sync(0xffffffffu, touches);
  __syncthreads();  // the list and counts of the call before have been read
  if (lane == 0) warp_count[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) before = total;
    total += warp_count[w];
  }
  if (touches) list[before + __popc(votes & ((1u << lane) - 1u))] = static_cast<int>(threadIdx.x);
  __syncthreads();
  return total;
}

template <typename T, typename C>
__global__ void __launch_bounds__(kThreads)
    roi_align_grad_kernel(const T* __restrict__ pooled_grad, const DeviceRoi<C>* __restrict__ rois,
                          RoiAlignShape shape, int level, int64_t tiles, T* __restrict__ result) {
  __shared__ int list[kThreads];
  const int64_t height = shape.heights[level], width = shape.widths[level];
  const int64_t bins = shape.pooled_height * shape.pooled_width;
  const int64_t groups = (shape.channels + kGradChannels - 1) / kGradChannels;
  const int64_t tiles_x = (width + kTileWidth - 1) / kTileWidth;
  const int64_t tiles_y = (height + kTileHeight - 1) / kTileHeight;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t tile_x = tile % tiles_x * kTileWidth;
    const int64_t tile_y = tile / tiles_x % tiles_y * kTileHeight;
    const int64_t group = tile / tiles_x / tiles_y % groups;
    const int64_t picture = tile / tiles_x / tiles_y / groups;
    const int64_t y = tile_y + threadIdx.x / kTileWidth, x = tile_x + threadIdx.x % kTileWidth;
    const bool inside = y < height && x < width;
    const int64_t first = group * kGradChannels;
    const int channels = static_cast<int>(min_or<int64_t>(kGradChannels, shape.channels - first));
    C sum[kGradChannels] = {};
    for (int64_t base = 0; base < shape.num_rois; base += kThreads) {
      const int count =
          touching_rois(rois, shape.num_rois, base, level, picture, tile_y, tile_x, list);
      for (int i = 0; inside && i < count; ++i) {
        const int64_t r = base + list[i];
        const DeviceRoi<C>& roi = rois[r];
        if (y < roi.first_y || y > roi.last_y || x < roi.first_x || x > roi.last_x) continue;
        int64_t ph, ph_last, pw_first, pw_last;
        bins_of_pixel(roi.y, shape.pooled_height, y, ph, ph_last);
        bins_of_pixel(roi.x, shape.pooled_width, x, pw_first, pw_last);
        const T* grad = pooled_grad + (r * shape.channels + first) * bins;
        const C share = C(1) / (roi.y.grid * roi.x.grid);
        for (; ph <= ph_last; ++ph) {
          const C weight_y = pixel_weight(roi.y, ph, y) * share;
          if (weight_y == C(0)) continue;
          for (int64_t pw = pw_first; pw <= pw_last; ++pw) {
            const C weight = weight_y * pixel_weight(roi.x, pw, x);
            if (weight == C(0)) continue;
            const T* source = grad + ph * shape.pooled_width + pw;
#pragma unroll
            for (int c = 0; c < kGradChannels; ++c) {
              if (c < channels) sum[c] += weight * to_compute(source[c * bins]);
            }
          }
        }
      }
    }
    if (!inside) continue;
    T* target = result + ((picture * shape.channels + first) * height + y) * width + x;
#pragma unroll
    for (int c = 0; c < kGradChannels; ++c) {
      if (c < channels) from_compute(sum[c], target[c * height * width]);
    }
  }
}

}  // namespace

template <typename T>
int roi_align(const T* const* features, const typename Compute<T>::type* boxes,
              const int64_t* boxes_num, const RoiAlignShape& shape, T* pooled, void* stream) {
  using C = typename Compute<T>::type;
  const int64_t groups = (shape.channels + kPoolChannels - 1) / kPoolChannels;
  const int64_t work = shape.num_rois * groups * shape.pooled_height * shape.pooled_width;
  if (work == 0) return cudaSuccess;
  LevelPointers<const T> levels{};
  for (int l = 0; l < shape.num_levels; ++l) levels.data[l] = features[l];
  roi_align_kernel<T, C><<<blocks_for(work), kThreads, 0, as_stream(stream)>>>(
      levels, boxes, boxes_num, shape, work, pooled);
  return launch_status();
}

int64_t roi_align_grad_workspace_bytes(const RoiAlignShape& shape) {
  return max_or<int64_t>(shape.num_rois, 1) * static_cast<int64_t>(sizeof(DeviceRoi<double>));
}

template <typename T>
int roi_align_grad(const T* pooled_grad, const typename Compute<T>::type* boxes,
                   const int64_t* boxes_num, const RoiAlignShape& shape, T* const* features_grad,
                   void* workspace, void* stream) {
  using C = typename Compute<T>::type;
  auto* rois = static_cast<DeviceRoi<C>*>(workspace);
  if (shape.num_rois > 0) {
    plan_kernel<C><<<blocks_for(shape.num_rois), kThreads, 0, as_stream(stream)>>>(boxes, boxes_num,
                                                                                   shape, rois);
    if (const int status = launch_status()) return status;
  }
  const int64_t groups = (shape.channels + kGradChannels - 1) / kGradChannels;
  for (int level = 0; level < shape.num_levels; ++level) {
    const int64_t tiles = (shape.widths[level] + kTileWidth - 1) / kTileWidth *
                          ((shape.heights[level] + kTileHeight - 1) / kTileHeight) * groups *
                          shape.num_pictures;
    if (tiles == 0) continue;
    roi_align_grad_kernel<T, C><<<blocks_for(tiles, 1), kThreads, 0, as_stream(stream)>>>(
        pooled_grad, rois, shape, level, tiles, features_grad[level]);
    if (const int status = launch_status()) return status;
  }
  return cudaSuccess;
}

#define HTC_INSTANTIATE(T)                                                            \
  template int roi_align<T>(const T* const*, const Compute<T>::type*, const int64_t*, \
                            const RoiAlignShape&, T*, void*);                         \
  template int roi_align_grad<T>(const T*, const Compute<T>::type*, const int64_t*,   \
                                 const RoiAlignShape&, T* const*, void*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
HTC_INSTANTIATE(float16)
HTC_INSTANTIATE(bfloat16)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
