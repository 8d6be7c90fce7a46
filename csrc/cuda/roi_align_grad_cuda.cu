// The gradient is gathered: a thread owns one pixel of some channels and adds up what the RoIs that
// read it hand back, in their order. No atomics, so the same bits every time.
//
// A block owns a tile of pixels. It goes through the RoIs of its picture, kThreads at a time, and
// lists those that reach into the tile; for a few of them at a time it writes down, in shared
// memory, which bins read each row and each column of the tile and with what weight; then each
// thread adds up its pixel. A pooled side of more than kListBins is taken in parts of so many bins.
#include "cuda/roi_device.h"

namespace htc::cuda {
namespace {

constexpr int kTileWidth = 32, kTileHeight = 8;
static_assert(kTileWidth * kTileHeight == kThreads, "a thread a pixel");
constexpr int kLines = kTileWidth + kTileHeight;
constexpr int kBatch = kThreads / kLines;  // RoIs whose lines the threads of a block write down
constexpr int kListBins = 15;  // odd number of words a list: no bank of shared memory twice

// As many accumulators as leave room in the registers for three blocks a multiprocessor.
template <typename C>
constexpr int kGradChannels = 128 / sizeof(C);

// What must be known of each RoI to pass over it.
struct RoiReach {
  int64_t picture;
  int level, first_y, last_y, first_x, last_x;
};

template <typename C>
struct Plan {
  DeviceRoi<C>* rois;
  RoiReach* reaches;
};

template <typename C>
Plan<C> plan_at(void* workspace, int64_t num_rois) {
  auto* rois = static_cast<DeviceRoi<C>*>(workspace);
  return {rois, reinterpret_cast<RoiReach*>(rois + num_rois)};
}

template <typename C>
__global__ void plan_kernel(const C* __restrict__ boxes, const int64_t* __restrict__ boxes_num,
                            RoiAlignShape shape, Plan<C> plan) {
  HTC_GRID_STRIDE(r, shape.num_rois) {
    const DeviceRoi<C> roi = device_roi(boxes, boxes_num, shape, r);
    plan.rois[r] = roi;
    plan.reaches[r] = {roi.picture,
                       roi.level,
                       static_cast<int>(roi.first_y),
                       static_cast<int>(roi.last_y),
                       static_cast<int>(roi.first_x),
                       static_cast<int>(roi.last_x)};
  }
}

// Some of the bins that read a row or a column of the tile, and their weights.
template <typename C>
struct BinList {
  int first, count;
  C weights[kListBins];

  // Of the bins [begin, end), at most kListBins.
  __device__ void set(const RoiAxis<C>& axis, int64_t bins, int64_t begin, int64_t pixel,
                      C factor) {
    int64_t low, high;
    bins_of_pixel(axis, bins, pixel, low, high);
    low = max_or(low, begin);
    high = min_or(high, min_or<int64_t>(begin + kListBins, bins) - 1);
    first = 0;
    count = 0;
    for (int64_t bin = low; bin <= high; ++bin) {
      const C weight = pixel_weight(axis, bin, pixel) * factor;
      if (count == 0) {
        if (weight == C(0)) continue;
        first = static_cast<int>(bin);
      }
      weights[count++] = weight;
    }
    while (count > 0 && weights[count - 1] == C(0)) --count;
  }
};

template <typename C>
struct Tile {
  int roi_of_list[kThreads];
  int warp_count[kThreads / 32];
  BinList<C> rows[kBatch][kTileHeight], columns[kBatch][kTileWidth];
};

// Lists the RoIs among base .. base + kThreads - 1 that reach into the tile, by rising index, and
// returns how many there are to all threads of the block.
template <typename C>
__device__ int list_rois(Tile<C>& tile, const RoiReach* reaches, int64_t base, int64_t end,
                         int level, int64_t picture, int64_t tile_y, int64_t tile_x) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t r = base + threadIdx.x;
  bool touches = false;
  if (r < end) {
    const RoiReach& roi = reaches[r];
    touches = roi.level == level && roi.picture == picture && roi.first_y < tile_y + kTileHeight &&
              roi.last_y >= tile_y && roi.first_x < tile_x + kTileWidth && roi.last_x >= tile_x;
  }
  const unsigned votes = __ballot_sync(0xffffffffu, touches);
  __syncthreads();  // the list and the counts of the call before have been read
  if (lane == 0) tile.warp_count[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w == warp) before = total;
    total += tile.warp_count[w];
  }
  if (touches) {
    tile.roi_of_list[before + __popc(votes & ((1u << lane) - 1u))] = static_cast<int>(threadIdx.x);
  }
  __syncthreads();
  return total;
}

// The RoIs of a picture: [begin, end). Those left over are the last picture's (picture_of_box).
__device__ inline void rois_of_picture(const int64_t* boxes_num, const RoiAlignShape& shape,
                                       int64_t picture, int64_t& begin, int64_t& end) {
  begin = 0;
  for (int64_t i = 0; i < picture; ++i) begin += boxes_num[i];
  end = picture + 1 < shape.num_pictures ? begin + boxes_num[picture] : shape.num_rois;
  begin = clamp<int64_t>(begin, 0, shape.num_rois);
  end = clamp<int64_t>(end, begin, shape.num_rois);
}

template <typename T, typename C>
__global__ void __launch_bounds__(kThreads, 2)
    roi_align_grad_kernel(const T* __restrict__ pooled_grad, const int64_t* __restrict__ boxes_num,
                          Plan<C> plan, RoiAlignShape shape, int level, int64_t tiles,
                          T* __restrict__ result) {
  constexpr int kChannels = kGradChannels<C>;
  __shared__ Tile<C> tile;
  const int64_t height = shape.heights[level], width = shape.widths[level];
  const int64_t bins_y = shape.pooled_height, bins_x = shape.pooled_width, bins = bins_y * bins_x;
  const int64_t groups = (shape.channels + kChannels - 1) / kChannels;
  const int64_t tiles_x = (width + kTileWidth - 1) / kTileWidth;
  const int64_t tiles_y = (height + kTileHeight - 1) / kTileHeight;
  for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
    // Tiles with many RoIs go on for long: the groups of channels of one follow each other, so that
    // they run at the same time.
    const int64_t group = index % groups, place = index / groups;
    const int64_t tile_x = place % tiles_x * kTileWidth;
    const int64_t tile_y = place / tiles_x % tiles_y * kTileHeight;
    const int64_t picture = place / tiles_x / tiles_y;
    const int in_y = threadIdx.x / kTileWidth, in_x = threadIdx.x % kTileWidth;
    const int64_t first = group * kChannels;
    const int channels = static_cast<int>(min_or<int64_t>(kChannels, shape.channels - first));
    C sum[kChannels] = {};
    int64_t begin, end;
    rois_of_picture(boxes_num, shape, picture, begin, end);
    for (int64_t base = begin; base < end; base += kThreads) {
      const int total = list_rois(tile, plan.reaches, base, end, level, picture, tile_y, tile_x);
      // All batches of the RoIs, each in parts of the bins.
      for (int64_t step = 0, part_y = 0, part_x = 0; step < total;) {
        const int batch = static_cast<int>(min_or<int64_t>(kBatch, total - step));
        const int mine = threadIdx.x / kLines, line = threadIdx.x % kLines;
        __syncthreads();  // the lines of the batch before have been read
        if (mine < batch) {
          const DeviceRoi<C>& roi = plan.rois[base + tile.roi_of_list[step + mine]];
          if (line < kTileHeight) {
            const C share = C(1) / (roi.y.grid * roi.x.grid);
            tile.rows[mine][line].set(roi.y, bins_y, part_y, tile_y + line, share);
          } else {
            const int column = line - kTileHeight;
            tile.columns[mine][column].set(roi.x, bins_x, part_x, tile_x + column, C(1));
          }
        }
        __syncthreads();
        for (int i = 0; i < batch; ++i) {
          const BinList<C>&rows = tile.rows[i][in_y], &columns = tile.columns[i][in_x];
          const int64_t r = base + tile.roi_of_list[step + i];
          const T* grad = pooled_grad + (r * shape.channels + first) * bins;
          for (int j = 0; j < rows.count; ++j) {
            const C row_weight = rows.weights[j];
            const T* row = grad + (rows.first + j) * bins_x + columns.first;
            for (int k = 0; k < columns.count; ++k) {
              const C weight = row_weight * columns.weights[k];
              if (weight == C(0)) continue;
#pragma unroll
              for (int c = 0; c < kChannels; ++c) {
                if (c < channels)
                  sum[c] = multiply_add(weight, to_compute(row[c * bins + k]), sum[c]);
              }
            }
          }
        }
        part_x += kListBins;
        if (part_x < bins_x) continue;
        part_x = 0;
        part_y += kListBins;
        if (part_y < bins_y) continue;
        part_y = 0;
        step += batch;
      }
    }
    const int64_t y = tile_y + in_y, x = tile_x + in_x;
    if (y >= height || x >= width) continue;
    T* target = result + ((picture * shape.channels + first) * height + y) * width + x;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
      if (c < channels) from_compute(sum[c], target[c * height * width]);
    }
  }
}

}  // namespace

int64_t roi_align_grad_workspace_bytes(const RoiAlignShape& shape) {
  return max_or<int64_t>(shape.num_rois, 1) *
         static_cast<int64_t>(sizeof(DeviceRoi<double>) + sizeof(RoiReach));
}

template <typename T>
int roi_align_grad(const T* pooled_grad, const typename Compute<T>::type* boxes,
                   const int64_t* boxes_num, const RoiAlignShape& shape, T* const* features_grad,
                   void* workspace, void* stream) {
  using C = typename Compute<T>::type;
  constexpr int64_t kMaxSide = (int64_t{1} << 31) - 1;  // RoiReach counts pixels in int
  for (int level = 0; level < shape.num_levels; ++level) {
    if (shape.heights[level] > kMaxSide || shape.widths[level] > kMaxSide) {
      return cudaErrorInvalidValue;
    }
  }
  const Plan<C> plan = plan_at<C>(workspace, shape.num_rois);
  if (shape.num_rois > 0) {
    const int status = launch(plan_kernel<C>, blocks_for(shape.num_rois), kThreads, stream, boxes,
                              boxes_num, shape, plan);
    if (status != cudaSuccess) return status;
  }
  const int64_t groups = (shape.channels + kGradChannels<C> - 1) / kGradChannels<C>;
  for (int level = 0; level < shape.num_levels; ++level) {
    const int64_t tiles = (shape.widths[level] + kTileWidth - 1) / kTileWidth *
                          ((shape.heights[level] + kTileHeight - 1) / kTileHeight) * groups *
                          shape.num_pictures;
    if (tiles == 0) continue;
    const int status =
        launch(roi_align_grad_kernel<T, C>, blocks_for(tiles, 1), kThreads, stream, pooled_grad,
               boxes_num, plan, shape, level, tiles, features_grad[level]);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

#define HTC_INSTANTIATE(T)                                                          \
  template int roi_align_grad<T>(const T*, const Compute<T>::type*, const int64_t*, \
                                 const RoiAlignShape&, T* const*, void*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
HTC_INSTANTIATE(float16)
HTC_INSTANTIATE(bfloat16)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
