// One block a mask: its threads take the columns of the box, kThreads at a time, then the runs.
#include "cuda/cuda_launch.h"
#include "cuda/paste_device.h"
#include "htc/ops/paste_masks.h"
#include "htc/rle_code.h"

namespace htc::cuda {
namespace {

// The sum of the values of the threads before this one; `total` becomes that of all. To be called
// by all kThreads threads of a block.
__device__ int64_t sum_before(int64_t value, int64_t& total) {
  __shared__ int64_t sums[kThreads];
  sums[threadIdx.x] = value;
  __syncthreads();
  for (unsigned step = 1; step < kThreads; step *= 2) {
    const int64_t more = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
    __syncthreads();
    sums[threadIdx.x] += more;
    __syncthreads();
  }
  const int64_t before = sums[threadIdx.x] - value;
  total = sums[kThreads - 1];
  __syncthreads();
  return before;
}

template <typename T>
struct PastedMask {
  const T* __restrict__ mask;
  PasteMasksShape shape;
  PasteAxes axes;
  T threshold;

  __device__ bool inside(int64_t x, int64_t y) const {
    const PasteSample<T> column = paste_sample<T>(axes.x, x), row = paste_sample<T>(axes.y, y);
    return paste_mix(mixed_row(mask, shape, row.cell, column),
                     mixed_row(mask, shape, int64_t{row.cell} + 1, column),
                     row.weight) >= threshold;
  }

  // Calls emit(place) for every change in column x, as the CPU kernel finds them. Where columns
  // meet (the box spans the height of the picture), a run may go on from one into the next.
  template <typename Emit>
  __device__ void changes(int64_t x, const Emit& emit) const {
    const PasteAxis& ys = axes.y;
    if (ys.begin >= ys.end) return;  // a picture without rows begins and ends with them
    const bool meet = ys.begin == 0 && ys.end == shape.height;
    const int64_t base = x * shape.height;
    const PasteSample<T> column = paste_sample<T>(axes.x, x);
    bool state = meet && x > axes.x.begin && inside(x, 0) && inside(x - 1, ys.end - 1);
    for (int64_t y = ys.begin; y < ys.end;) {
      const PasteSample<T> sample = paste_sample<T>(ys, y);
      const int64_t next = ys.first_at(sample.cell + 1.0, y + 1, ys.end);
      const T upper = mixed_row(mask, shape, sample.cell, column);
      const T lower = mixed_row(mask, shape, int64_t{sample.cell} + 1, column);
      const bool first = paste_mix(upper, lower, sample.weight) >= threshold;
      const bool last = paste_mix(upper, lower, paste_sample<T>(ys, next - 1).weight) >= threshold;
      if (first != state) emit(base + y);
      if (first != last) {
        emit(base + paste_change(ys, sample.cell, upper, lower, threshold, y + 1, next - 1, last));
      }
      state = last;
      y = next;
    }
    if (!state) return;
    const bool last_of_all = x + 1 == shape.width && ys.end == shape.height;
    const bool goes_on = meet && x + 1 < axes.x.end && inside(x + 1, 0);
    if (!last_of_all && !goes_on) emit(base + ys.end);
  }
};

template <typename T>
__device__ PastedMask<T> pasted_mask(const T* __restrict__ masks,
                                     const PasteAxes* __restrict__ axes,
                                     const PasteMasksShape& shape, T threshold, int64_t n) {
  return {masks + n * shape.mask_height * shape.mask_width, shape, axes[n], threshold};
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    count_kernel(const T* __restrict__ masks, const PasteAxes* __restrict__ axes,
                 PasteMasksShape shape, T threshold, int64_t* __restrict__ changes) {
  for (int64_t n = blockIdx.x; n < shape.num_masks; n += gridDim.x) {
    const PastedMask<T> pasted = pasted_mask(masks, axes, shape, threshold, n);
    int64_t count = 0, total;
    for (int64_t x = pasted.axes.x.begin + threadIdx.x; x < pasted.axes.x.end; x += kThreads) {
      pasted.changes(x, [&count](int64_t) { ++count; });
    }
    sum_before(count, total);
    if (threadIdx.x == 0) changes[n] = total;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    places_kernel(const T* __restrict__ masks, const PasteAxes* __restrict__ axes,
                  PasteMasksShape shape, T threshold, const int64_t* __restrict__ offsets,
                  int64_t* __restrict__ places) {
  for (int64_t n = blockIdx.x; n < shape.num_masks; n += gridDim.x) {
    const PastedMask<T> pasted = pasted_mask(masks, axes, shape, threshold, n);
    int64_t* out = places + offsets[n];
    for (int64_t first = pasted.axes.x.begin; first < pasted.axes.x.end; first += kThreads) {
      const int64_t x = first + threadIdx.x;
      int64_t count = 0, total;
      if (x < pasted.axes.x.end) pasted.changes(x, [&count](int64_t) { ++count; });
      int64_t* at = out + sum_before(count, total);
      if (x < pasted.axes.x.end) pasted.changes(x, [&at](int64_t place) { *at++ = place; });
      out += total;
    }
  }
}

// The runs of one mask as the numbers that are written.
struct Runs {
  const int64_t* __restrict__ places;
  int64_t num_changes, pixels;

  __device__ int64_t place(int64_t index) const {  // where run `index` ends
    return index < 0 ? 0 : index < num_changes ? places[index] : pixels;
  }
  __device__ int64_t number(int64_t index) const {
    const int64_t run = place(index) - place(index - 1);
    return index > 2 ? run - (place(index - 2) - place(index - 3)) : run;
  }
};

__device__ Runs runs_of(const int64_t* __restrict__ places, const int64_t* __restrict__ offsets,
                        const PasteMasksShape& shape, int64_t n) {
  return {places + offsets[n], offsets[n + 1] - offsets[n], shape.height * shape.width};
}

__global__ void __launch_bounds__(kThreads)
    lengths_kernel(PasteMasksShape shape, const int64_t* __restrict__ offsets,
                   const int64_t* __restrict__ places, int64_t* __restrict__ lengths) {
  for (int64_t n = blockIdx.x; n < shape.num_masks; n += gridDim.x) {
    const Runs runs = runs_of(places, offsets, shape, n);
    int64_t length = 0, total;
    for (int64_t run = threadIdx.x; run <= runs.num_changes; run += kThreads) {
      length += rle_number(runs.number(run), [](int64_t, uint8_t) {});
    }
    sum_before(length, total);
    if (threadIdx.x == 0) lengths[n] = total;
  }
}

__global__ void __launch_bounds__(kThreads)
    write_kernel(PasteMasksShape shape, const int64_t* __restrict__ offsets,
                 const int64_t* __restrict__ places, const int64_t* __restrict__ code_offsets,
                 uint8_t* __restrict__ codes) {
  for (int64_t n = blockIdx.x; n < shape.num_masks; n += gridDim.x) {
    const Runs runs = runs_of(places, offsets, shape, n);
    uint8_t* out = codes + code_offsets[n];
    for (int64_t first = 0; first <= runs.num_changes; first += kThreads) {
      const int64_t run = first + threadIdx.x;
      const bool there = run <= runs.num_changes;
      const int64_t number = there ? runs.number(run) : 0;
      int64_t total;
      const int64_t length = there ? rle_number(number, [](int64_t, uint8_t) {}) : 0;
      uint8_t* at = out + sum_before(length, total);
      if (there) rle_number(number, [at](int64_t index, uint8_t c) { at[index] = c; });
      out += total;
    }
  }
}

unsigned block_a_mask(const PasteMasksShape& shape) { return blocks_for(shape.num_masks, 1); }

}  // namespace

template <typename T>
int paste_masks_rle_count(const T* masks, const double* boxes, const PasteMasksShape& shape,
                          double threshold, void* workspace, int64_t* changes, void* stream) {
  if (shape.num_masks == 0) return cudaSuccess;
  auto* axes = static_cast<PasteAxes*>(workspace);
  const int status =
      launch(paste_axes_kernel, blocks_for(shape.num_masks), kThreads, stream, boxes, shape, axes);
  if (status != cudaSuccess) return status;
  return launch(count_kernel<T>, block_a_mask(shape), kThreads, stream, masks, axes, shape,
                static_cast<T>(threshold), changes);
}

template <typename T>
int paste_masks_rle_places(const T* masks, const PasteMasksShape& shape, double threshold,
                           const void* workspace, const int64_t* change_offsets, int64_t* places,
                           int64_t* lengths, void* stream) {
  if (shape.num_masks == 0) return cudaSuccess;
  const auto* axes = static_cast<const PasteAxes*>(workspace);
  const int status = launch(places_kernel<T>, block_a_mask(shape), kThreads, stream, masks, axes,
                            shape, static_cast<T>(threshold), change_offsets, places);
  if (status != cudaSuccess) return status;
  return launch(lengths_kernel, block_a_mask(shape), kThreads, stream, shape, change_offsets,
                places, lengths);
}

int paste_masks_rle_write(const PasteMasksShape& shape, const int64_t* change_offsets,
                          const int64_t* places, const int64_t* code_offsets, uint8_t* codes,
                          void* stream) {
  if (shape.num_masks == 0) return cudaSuccess;
  return launch(write_kernel, block_a_mask(shape), kThreads, stream, shape, change_offsets, places,
                code_offsets, codes);
}

#define HTC_INSTANTIATE(T)                                                                       \
  template int paste_masks_rle_count<T>(const T*, const double*, const PasteMasksShape&, double, \
                                        void*, int64_t*, void*);                                 \
  template int paste_masks_rle_places<T>(const T*, const PasteMasksShape&, double, const void*,  \
                                         const int64_t*, int64_t*, int64_t*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
