// The axes of every box of a paste, computed once for the kernels that read them at every pixel.
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

}  // namespace htc::cuda
