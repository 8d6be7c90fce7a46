#include "cuda/roi_device.h"
#include "roi_align_grad_atomic.h"

namespace htc::cuda {
namespace {

template <typename C>
struct Levels {
  C* grads[kMaxRoiLevels];
};

template <typename C>
__global__ void zero_kernel(C* values, int64_t count) {
  HTC_GRID_STRIDE(i, count) { values[i] = C(0); }
}

template <typename C>
__device__ void add_row(C* row, const SampleTaps<C>& x, C value) {
  atomicAdd(row + x.low, value * x.low_weight);
  if (x.high_weight != C(0)) atomicAdd(row + x.low + 1, value * x.high_weight);
}

// A thread takes one bin of one channel of a RoI to the pixels that it was read from.
template <typename T, typename C>
__global__ void scatter_kernel(const T* __restrict__ pooled_grad, const C* __restrict__ boxes,
                               const int64_t* __restrict__ boxes_num, RoiAlignShape shape,
                               Levels<C> levels) {
  const int64_t bins = shape.pooled_height * shape.pooled_width;
  HTC_GRID_STRIDE(i, shape.num_rois * shape.channels * bins) {
    const int64_t plane = quotient(i, bins), bin = i - plane * bins;
    const int64_t r = quotient(plane, shape.channels), channel = plane - r * shape.channels;
    const int64_t bin_y = quotient(bin, shape.pooled_width);
    const int64_t bin_x = bin - bin_y * shape.pooled_width;
    const DeviceRoi<C> roi = device_roi(boxes, boxes_num, shape, r);
    if (roi.y.grid == C(0)) continue;
    const int64_t height = shape.heights[roi.level], width = shape.widths[roi.level];
    C* map = levels.grads[roi.level] + (roi.picture * shape.channels + channel) * height * width;
    const C value = to_compute(pooled_grad[i]) / (roi.y.grid * roi.x.grid);
    const SampleRange ys = samples_between(roi.y, bin_y, -1.0, static_cast<double>(height));
    const SampleRange xs = samples_between(roi.x, bin_x, -1.0, static_cast<double>(width));
    for (int64_t iy = 0; iy < ys.count; ++iy) {
      SampleTaps<C> y;
      const C at_y = sample_position(roi.y, bin_y, static_cast<C>(ys.first + double(iy)));
      if (!sample_taps(at_y, height, y)) continue;
      for (int64_t ix = 0; ix < xs.count; ++ix) {
        SampleTaps<C> x;
        const C at_x = sample_position(roi.x, bin_x, static_cast<C>(xs.first + double(ix)));
        if (!sample_taps(at_x, width, x)) continue;
        add_row(map + y.low * width, x, value * y.low_weight);
        if (y.high_weight != C(0)) add_row(map + (y.low + 1) * width, x, value * y.high_weight);
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
  const int64_t work = shape.num_rois * shape.channels * shape.pooled_height * shape.pooled_width;
  if (work == 0) return cudaSuccess;
  return launch(scatter_kernel<T, C>, blocks_for(work), kThreads, stream, pooled_grad, boxes,
                boxes_num, shape, levels);
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
