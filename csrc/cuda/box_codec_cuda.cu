#include "cuda/cuda_launch.h"
#include "htc/ops/box_codec.h"

namespace htc::cuda {
namespace {

template <typename T>
__global__ void decode_boxes_kernel(const T* __restrict__ boxes, const T* __restrict__ deltas,
                                    const T* __restrict__ image_sizes,
                                    const int64_t* __restrict__ boxes_num, BoxCodecShape shape,
                                    BoxCodecNorm norm, T* __restrict__ decoded) {
  HTC_GRID_STRIDE(index, shape.num_boxes * shape.num_deltas) {
    const int64_t r = index / shape.num_deltas;
    const T* d = deltas + 4 * index;
    Box<T> result =
        decode_box(load_box(boxes, r), d[0] * T(norm.std[0]) + T(norm.mean[0]),
                   d[1] * T(norm.std[1]) + T(norm.mean[1]), d[2] * T(norm.std[2]) + T(norm.mean[2]),
                   d[3] * T(norm.std[3]) + T(norm.mean[3]), T(norm.max_log_ratio));
    if (shape.num_pictures > 0) {
      const int64_t picture = picture_of_box(r, boxes_num, shape.num_pictures);
      const T height = image_sizes[2 * picture], width = image_sizes[2 * picture + 1];
      result = {clamp(result.x1, T(0), width), clamp(result.y1, T(0), height),
                clamp(result.x2, T(0), width), clamp(result.y2, T(0), height)};
    }
    T* out = decoded + 4 * index;
    out[0] = result.x1;
    out[1] = result.y1;
    out[2] = result.x2;
    out[3] = result.y2;
  }
}

template <typename T>
__global__ void encode_boxes_kernel(const T* __restrict__ boxes, const T* __restrict__ targets,
                                    BoxCodecShape shape, BoxCodecNorm norm,
                                    T* __restrict__ deltas) {
  HTC_GRID_STRIDE(r, shape.num_boxes) {
    T delta[4];
    encode_box(load_box(boxes, r), load_box(targets, r), delta);
    for (int i = 0; i < 4; ++i) deltas[4 * r + i] = (delta[i] - T(norm.mean[i])) / T(norm.std[i]);
  }
}

}  // namespace

template <typename T>
int decode_boxes(const T* boxes, const T* deltas, const T* image_sizes, const int64_t* boxes_num,
                 const BoxCodecShape& shape, const BoxCodecNorm& norm, T* decoded, void* stream) {
  const int64_t work = shape.num_boxes * shape.num_deltas;
  if (work == 0) return cudaSuccess;
  return launch(decode_boxes_kernel<T>, blocks_for(work), kThreads, stream, boxes, deltas,
                image_sizes, boxes_num, shape, norm, decoded);
}

template <typename T>
int encode_boxes(const T* boxes, const T* targets, const BoxCodecShape& shape,
                 const BoxCodecNorm& norm, T* deltas, void* stream) {
  if (shape.num_boxes == 0) return cudaSuccess;
  return launch(encode_boxes_kernel<T>, blocks_for(shape.num_boxes), kThreads, stream, boxes,
                targets, shape, norm, deltas);
}

#define HTC_INSTANTIATE(T)                                                                         \
  template int decode_boxes<T>(const T*, const T*, const T*, const int64_t*, const BoxCodecShape&, \
                               const BoxCodecNorm&, T*, void*);                                    \
  template int encode_boxes<T>(const T*, const T*, const BoxCodecShape&, const BoxCodecNorm&, T*,  \
                               void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
