// One block a box: its threads take the edges of a part, then the columns of the target.
#include "cuda/cuda_launch.h"
#include "htc/ops/polygon_mask_targets.h"

namespace htc::cuda {
namespace {

constexpr int kPolygonThreads = 128;

// Of each box: whether an odd number of crossings lies at a place, and up to the end of a column.
int64_t words_a_box(const PolygonMaskTargetsShape& shape) {
  return shape.target_height * shape.target_width + 1 + shape.target_width;
}

template <typename T>
__global__ void __launch_bounds__(kPolygonThreads)
    polygon_mask_targets_kernel(const T* __restrict__ boxes, const double* __restrict__ points,
                                const int64_t* __restrict__ part_offsets,
                                const int64_t* __restrict__ gt_offsets,
                                const int64_t* __restrict__ gt_index, PolygonMaskTargetsShape shape,
                                int64_t words, unsigned* workspace, float* __restrict__ targets) {
  const int64_t height = shape.target_height, width = shape.target_width, size = height * width;
  for (int64_t r = blockIdx.x; r < shape.num_boxes; r += gridDim.x) {
    float* target = targets + r * size;
    unsigned* crossings = workspace + r * words;
    unsigned* column_ends = crossings + size + 1;
    for (int64_t i = threadIdx.x; i < size; i += blockDim.x) target[i] = 0.0f;
    const int64_t gt = gt_index[r];
    const Box<T> box = load_box(boxes, r);
    if (gt < 0 || gt >= shape.num_gts || !is_finite(box)) continue;  // as all threads of the block
    const PolygonFrame<T> frame = polygon_frame(box, height, width);
    for (int64_t part = gt_offsets[gt]; part < gt_offsets[gt + 1]; ++part) {
      const double* xy = points + 2 * part_offsets[part];
      const int64_t count = part_offsets[part + 1] - part_offsets[part];
      bool finite = true;
      for (int64_t i = threadIdx.x; i < 2 * count; i += blockDim.x) finite &= is_finite(xy[i]);
      for (int64_t i = threadIdx.x; i <= size; i += blockDim.x) crossings[i] = 0;
      if (!__syncthreads_and(finite)) continue;
      for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        const PolygonPoint from = polygon_point(frame, xy + 2 * (i > 0 ? i - 1 : count - 1));
        const PolygonPoint to = polygon_point(frame, xy + 2 * i);
        polygon_edge(from, to, height, width,
                     [crossings](int64_t place) { atomicXor(crossings + place, 1u); });
      }
      __syncthreads();
      for (int64_t x = threadIdx.x; x < width; x += blockDim.x) {
        unsigned odd = 0;
        for (int64_t y = 0; y < height; ++y) odd ^= crossings[x * height + y];
        column_ends[x] = odd;
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        for (int64_t x = 1; x < width; ++x) column_ends[x] ^= column_ends[x - 1];
      }
      __syncthreads();
      for (int64_t x = threadIdx.x; x < width; x += blockDim.x) {
        unsigned inside = x > 0 ? column_ends[x - 1] : 0;
        for (int64_t y = 0; y < height; ++y) {
          inside ^= crossings[x * height + y];
          if (inside != 0) target[y * width + x] = 1.0f;
        }
      }
      __syncthreads();  // before the next part clears the crossings
    }
  }
}

}  // namespace

int64_t polygon_mask_targets_workspace_bytes(const PolygonMaskTargetsShape& shape) {
  return shape.num_boxes * words_a_box(shape) * static_cast<int64_t>(sizeof(unsigned));
}

template <typename T>
int polygon_mask_targets(const T* boxes, const double* points, const int64_t* part_offsets,
                         const int64_t* gt_offsets, const int64_t* gt_index,
                         const PolygonMaskTargetsShape& shape, void* workspace, float* targets,
                         void* stream) {
  if (shape.num_boxes == 0) return cudaSuccess;
  return launch(polygon_mask_targets_kernel<T>, blocks_for(shape.num_boxes, 1), kPolygonThreads,
                stream, boxes, points, part_offsets, gt_offsets, gt_index, shape,
                words_a_box(shape), static_cast<unsigned*>(workspace), targets);
}

#define HTC_INSTANTIATE(T)                                                                      \
  template int polygon_mask_targets<T>(const T*, const double*, const int64_t*, const int64_t*, \
                                       const int64_t*, const PolygonMaskTargetsShape&, void*,   \
                                       float*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
