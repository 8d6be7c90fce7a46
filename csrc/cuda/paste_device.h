// What the CUDA kernels of pasting share: the axes of every box, computed once, and the value at a
// place of a mask.
#pragma once

#include "cuda/cuda_launch.h"
#include "htc/ops/paste_masks.h"

namespace htc::cuda {

struct PasteAxes {
  PasteAxis x, y;
};

static __global__ void paste_axes_kernel(const double* __restrict__ boxes, PasteMasksShape shape,
                                         PasteAxes* __restrict__ axes) {
  HTC_GRID_STRIDE(n, shape.num_masks) {
    const double* box = boxes + 4 * n;
    axes[n].x = paste_axis(box[0], box[2], shape.mask_width, shape.width);
    axes[n].y = paste_axis(box[1], box[3], shape.mask_height, shape.height);
  }
}

template <typename T>
__device__ T cell_or_zero(const T* __restrict__ mask, const PasteMasksShape& shape, int64_t row,
                          int64_t column) {
  const bool inside =
      row >= 0 && row < shape.mask_height && column >= 0 && column < shape.mask_width;
  return inside ? mask[row * shape.mask_width + column] : T(0);
}

// Rows outside the mask are zeros as a whole, also where the columns hold a NaN.
template <typename T>
__device__ T mixed_row(const T* __restrict__ mask, const PasteMasksShape& shape, int64_t row,
                       const PasteSample<T>& x) {
  if (row < 0 || row >= shape.mask_height) return T(0);
  return paste_mix(cell_or_zero(mask, shape, row, x.cell),
                   cell_or_zero(mask, shape, row, int64_t{x.cell} + 1), x.weight);
}

}  // namespace htc::cuda
