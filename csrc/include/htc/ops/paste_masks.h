// Masks of detections pasted into their picture: each mask is stretched over its box, read at the
// centre of every pixel by bilinear interpolation, and compared with a threshold.
// Reference: mmdetection 3.3.0, mask_heads/fcn_mask_head.py, _do_paste_mask (a grid_sample with
// zero padding, align_corners=False).
//
// The arithmetic below is the one definition: the bitmap and the run-length code come from the same
// rounded values, on CPU and CUDA alike, so they agree pixel by pixel.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"
#include "htc/macros.h"
#include "htc/search.h"

namespace htc {

struct PasteMasksShape {
  int64_t num_masks = 0;    // N
  int64_t mask_height = 0;  // cells of a mask, each side at most kPasteMaxSide
  int64_t mask_width = 0;
  int64_t height = 0;  // pixels of the picture, each side at most kPasteMaxSide
  int64_t width = 0;
};

constexpr int64_t kPasteMaxSide = (int64_t{1} << 31) - 1;

// Bytes of a row of packed bits: eight pixels a byte, the first in its highest bit, and zeros after
// the last one, as numpy.packbits has them.
HTC_HOST_DEVICE HTC_INLINE int64_t packed_row_bytes(int64_t width) { return (width + 7) / 8; }

// One axis of one box. The pixel `p` has its centre at p + 0.5; on the mask that is position
// (p + 0.5 - start) * (cells / side) - 0.5, where the centre of cell i is at position i. Pixels
// whose position lies strictly between -1 and `cells` read a cell; they are [begin, end). All
// others are 0, whatever the threshold.
struct PasteAxis {
  double start = 0, scale = 0;
  int64_t begin = 0, end = 0;

  HTC_HOST_DEVICE HTC_INLINE double position(int64_t pixel) const {
    return (static_cast<double>(pixel) + 0.5 - start) * scale - 0.5;
  }
  // The first pixel whose position is at least `at`, about: a place to start a search from.
  HTC_HOST_DEVICE HTC_INLINE int64_t pixel_near(double at, int64_t low, int64_t high) const {
    return clamped_int((at + 0.5) / scale + start + 0.5, low, high);
  }
  // The first pixel in [low, high) whose position is at least `at`.
  HTC_HOST_DEVICE HTC_INLINE int64_t first_at(double at, int64_t low, int64_t high) const {
    return first_where(low, high, pixel_near(at, low, high),
                       [this, at](int64_t pixel) { return position(pixel) >= at; });
  }
};

// A box without a positive, finite side takes no pixels.
HTC_HOST_DEVICE HTC_INLINE PasteAxis paste_axis(double start, double stop, int64_t cells,
                                                int64_t pixels) {
  PasteAxis axis;
  const double side = stop - start;
  if (!(side > 0) || !is_finite(side) || cells == 0) return axis;
  axis.start = start;
  axis.scale = static_cast<double>(cells) / side;
  axis.begin = first_where(0, pixels, axis.pixel_near(-1, 0, pixels),
                           [&axis](int64_t pixel) { return axis.position(pixel) > -1; });
  axis.end = axis.first_at(static_cast<double>(cells), axis.begin, pixels);
  return axis;
}

// A position as the cell at or before it, -1 to cells - 1 (cells -1 and `cells` are zeros), and the
// weight of the next one. The weight never falls from one pixel to the next within a cell.
template <typename T>
struct PasteSample {
  int32_t cell;
  T weight;
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE PasteSample<T> paste_sample(const PasteAxis& axis, int64_t pixel) {
  const double at = axis.position(pixel), cell = std::floor(at);
  return {static_cast<int32_t>(cell), static_cast<T>(at - cell)};
}

// First between the cells of a row, then between the two rows.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T paste_mix(T first, T second, T weight) {
  return first + weight * (second - first);
}

// Between two rows of cells the value moves from `upper` to `lower` and never turns back, rounded
// or not. Of the pixels [low, high] of such a segment, the first that is at or above the threshold
// just as `high` is.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE int64_t paste_change(const PasteAxis& axis, int32_t cell, T upper,
                                                T lower, T threshold, int64_t low, int64_t high,
                                                bool high_inside) {
  const double at = cell + static_cast<double>((threshold - upper) / (lower - upper));
  return first_where(low, high, axis.pixel_near(at, low, high), [&](int64_t pixel) {
    const T weight = static_cast<T>(axis.position(pixel) - static_cast<double>(cell));
    return (paste_mix(upper, lower, weight) >= threshold) == high_inside;
  });
}

namespace cpu {

// masks [N, mask_height, mask_width]; boxes [N, 4] xyxy pixels; threshold rounded to T. Writes
// bitmaps [N, height, width]: 1 where the value is at least the threshold, 0 elsewhere and where it
// is NaN. T: float, double.
template <typename T>
void paste_masks(const T* masks, const double* boxes, const PasteMasksShape& shape,
                 double threshold, uint8_t* bitmaps);

// The same as bits [N, height, packed_row_bytes(width)].
template <typename T>
void paste_masks_packed(const T* masks, const double* boxes, const PasteMasksShape& shape,
                        double threshold, uint8_t* bits);

// Where to put the code of each mask at first: slots [N + 1] of a buffer of slots[N] bytes, wide
// enough for most masks.
void paste_masks_rle_slots(const double* boxes, const PasteMasksShape& shape, int64_t* slots);

// Bytes that `paste_masks_rle` needs at `workspace` (aligned to 64) to run on `threads` threads:
// some four masks for each, whatever the picture.
template <typename T>
int64_t paste_masks_rle_workspace_bytes(const PasteMasksShape& shape, int threads);

// COCO's compressed run-length code (rle_code.h) of the bitmaps that paste_masks writes, without
// those bitmaps. The code of mask n goes to codes + slots[n], as much of it as fits before
// slots[n + 1]; its whole length to lengths[n]. T: float, double.
template <typename T>
void paste_masks_rle(const T* masks, const double* boxes, const PasteMasksShape& shape,
                     double threshold, int threads, void* workspace, const int64_t* slots,
                     uint8_t* codes, int64_t* lengths);

}  // namespace cpu

#if defined(HTC_WITH_CUDA)
namespace cuda {

// Of all functions here, aligned to 16: some 64 bytes a mask.
int64_t paste_masks_workspace_bytes(const PasteMasksShape& shape);

// As on the CPU, with device pointers, queued on `stream` (a cudaStream_t); bitmaps aligned to
// 16. Returns a cudaError_t.
template <typename T>
int paste_masks(const T* masks, const double* boxes, const PasteMasksShape& shape, double threshold,
                void* workspace, uint8_t* bitmaps, void* stream);
template <typename T>
int paste_masks_packed(const T* masks, const double* boxes, const PasteMasksShape& shape,
                       double threshold, void* workspace, uint8_t* bits, void* stream);

// The run-length codes in three steps, since the host must make room between them:
//   1. changes[n]: how often the pixels of mask n change, in column order.
//   2. With change_offsets [N + 1], the sums of those: the places of all changes, and the length of
//      each code.
//   3. With code_offsets [N + 1], the sums of those lengths: the codes.
// The workspace is filled by the first and read by the second. T: float, double.
template <typename T>
int paste_masks_rle_count(const T* masks, const double* boxes, const PasteMasksShape& shape,
                          double threshold, void* workspace, int64_t* changes, void* stream);
template <typename T>
int paste_masks_rle_places(const T* masks, const PasteMasksShape& shape, double threshold,
                           const void* workspace, const int64_t* change_offsets, int64_t* places,
                           int64_t* lengths, void* stream);
int paste_masks_rle_write(const PasteMasksShape& shape, const int64_t* change_offsets,
                          const int64_t* places, const int64_t* code_offsets, uint8_t* codes,
                          void* stream);

}  // namespace cuda
#endif

}  // namespace htc
