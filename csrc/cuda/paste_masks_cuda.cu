#include "cuda/cuda_launch.h"
#include "cuda/paste_device.h"
#include "htc/ops/paste_masks.h"

namespace htc::cuda {
namespace {

constexpr int kChunk = 16;     // pixels a thread: one 16-byte store
constexpr int kBitsChunk = 4;  // bytes of bits a thread: one 4-byte store

// Whether `count` pixels of a row, from x on, lie beside the box: nearly all of a picture does.
__device__ inline bool beside_box(const PasteAxes& axes, int64_t x, int count, int64_t y) {
  return y < axes.y.begin || y >= axes.y.end || x >= axes.x.end || x + count <= axes.x.begin;
}

template <typename T>
__device__ inline bool inside_mask(const T* __restrict__ masks, const PasteAxes& axes,
                                   const PasteMasksShape& shape, T threshold, int64_t n, int64_t y,
                                   int64_t x) {
  if (x < axes.x.begin || x >= axes.x.end || y < axes.y.begin || y >= axes.y.end) return false;
  const PasteSample<T> column = paste_sample<T>(axes.x, x);
  const PasteSample<T> row = paste_sample<T>(axes.y, y);
  const T* mask = masks + n * shape.mask_height * shape.mask_width;
  return paste_mix(mixed_row(mask, shape, row.cell, column),
                   mixed_row(mask, shape, int64_t{row.cell} + 1, column), row.weight) >= threshold;
}

// A thread writes 16 pixels of the result, which may cross into another row or picture.
template <typename T>
__global__ void paste_masks_kernel(const T* __restrict__ masks, const PasteAxes* __restrict__ axes,
                                   PasteMasksShape shape, T threshold,
                                   uint8_t* __restrict__ bitmaps) {
  const int64_t picture = shape.height * shape.width, total = shape.num_masks * picture;
  HTC_GRID_STRIDE(chunk, (total - 1) / kChunk + 1) {
    const int64_t first = chunk * kChunk;
    int64_t n = quotient(first, picture);
    int64_t y = quotient(first - n * picture, shape.width);
    int64_t x = first - n * picture - y * shape.width;
    if (x + kChunk <= shape.width && beside_box(axes[n], x, kChunk, y)) {
      *reinterpret_cast<uint4*>(bitmaps + first) = uint4{0, 0, 0, 0};
      continue;
    }
    __align__(16) uint8_t pixels[kChunk];
    for (int i = 0; i < kChunk; ++i) {
      pixels[i] =
          n < shape.num_masks && inside_mask(masks, axes[n], shape, threshold, n, y, x) ? 1 : 0;
      if (++x == shape.width) {
        x = 0;
        if (++y == shape.height) {
          y = 0;
          ++n;
        }
      }
    }
    if (first + kChunk <= total) {
      *reinterpret_cast<uint4*>(bitmaps + first) = *reinterpret_cast<const uint4*>(pixels);
    } else {
      for (int i = 0; first + i < total; ++i) bitmaps[first + i] = pixels[i];
    }
  }
}

// The pixels x .. x + 7 of a row, the first in the highest bit.
template <typename T>
__device__ inline uint8_t byte_of_bits(const T* __restrict__ masks, const PasteAxes& axes,
                                       const PasteMasksShape& shape, T threshold, int64_t n,
                                       int64_t y, int64_t x) {
  if (beside_box(axes, x, 8, y)) return 0;
  unsigned bits = 0;
  for (int i = 0; i < 8; ++i) {
    bits = 2 * bits + (inside_mask(masks, axes, shape, threshold, n, y, x + i) ? 1 : 0);
  }
  return static_cast<uint8_t>(bits);
}

// A thread writes 4 bytes of bits, which may cross into another row or picture.
template <typename T>
__global__ void paste_masks_packed_kernel(const T* __restrict__ masks,
                                          const PasteAxes* __restrict__ axes, PasteMasksShape shape,
                                          T threshold, uint8_t* __restrict__ bits) {
  const int64_t row_bytes = packed_row_bytes(shape.width), picture = shape.height * row_bytes;
  const int64_t total = shape.num_masks * picture;
  HTC_GRID_STRIDE(chunk, (total - 1) / kBitsChunk + 1) {
    const int64_t first = chunk * kBitsChunk;
    int64_t n = quotient(first, picture);
    int64_t y = quotient(first - n * picture, row_bytes);
    int64_t byte = first - n * picture - y * row_bytes;
    if (byte + kBitsChunk <= row_bytes && beside_box(axes[n], 8 * byte, 8 * kBitsChunk, y)) {
      *reinterpret_cast<uint32_t*>(bits + first) = 0;
      continue;
    }
    __align__(4) uint8_t packed[kBitsChunk];
    for (int i = 0; i < kBitsChunk; ++i) {
      packed[i] = n < shape.num_masks
                      ? byte_of_bits(masks, axes[n], shape, threshold, n, y, 8 * byte)
                      : uint8_t{0};
      if (++byte == row_bytes) {
        byte = 0;
        if (++y == shape.height) {
          y = 0;
          ++n;
        }
      }
    }
    if (first + kBitsChunk <= total) {
      *reinterpret_cast<uint32_t*>(bits + first) = *reinterpret_cast<const uint32_t*>(packed);
    } else {
      for (int i = 0; first + i < total; ++i) bits[first + i] = packed[i];
    }
  }
}

}  // namespace

int64_t paste_masks_workspace_bytes(const PasteMasksShape& shape) {
  return shape.num_masks * static_cast<int64_t>(sizeof(PasteAxes));
}

template <typename T>
int paste_masks(const T* masks, const double* boxes, const PasteMasksShape& shape, double threshold,
                void* workspace, uint8_t* bitmaps, void* stream) {
  const int64_t total = shape.num_masks * shape.height * shape.width;
  if (total == 0) return cudaSuccess;
  auto* axes = static_cast<PasteAxes*>(workspace);
  const int status =
      launch(paste_axes_kernel, blocks_for(shape.num_masks), kThreads, stream, boxes, shape, axes);
  if (status != cudaSuccess) return status;
  return launch(paste_masks_kernel<T>, blocks_for((total - 1) / kChunk + 1), kThreads, stream,
                masks, axes, shape, static_cast<T>(threshold), bitmaps);
}

template <typename T>
int paste_masks_packed(const T* masks, const double* boxes, const PasteMasksShape& shape,
                       double threshold, void* workspace, uint8_t* bits, void* stream) {
  const int64_t total = shape.num_masks * shape.height * packed_row_bytes(shape.width);
  if (total == 0) return cudaSuccess;
  auto* axes = static_cast<PasteAxes*>(workspace);
  const int status =
      launch(paste_axes_kernel, blocks_for(shape.num_masks), kThreads, stream, boxes, shape, axes);
  if (status != cudaSuccess) return status;
  return launch(paste_masks_packed_kernel<T>, blocks_for((total - 1) / kBitsChunk + 1), kThreads,
                stream, masks, axes, shape, static_cast<T>(threshold), bits);
}

#define HTC_INSTANTIATE(T)                                                                    \
  template int paste_masks<T>(const T*, const double*, const PasteMasksShape&, double, void*, \
                              uint8_t*, void*);                                               \
  template int paste_masks_packed<T>(const T*, const double*, const PasteMasksShape&, double, \
                                     void*, uint8_t*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
