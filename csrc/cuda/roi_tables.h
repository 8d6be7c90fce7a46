// What a block keeps in shared memory of the one RoI that it works on: the RoI, and which pixels
// each bin row and each bin column reads and what they weigh.
#pragma once

#include "cuda/roi_device.h"
#include "htc/ops/mask_targets.h"  // the table of an axis

namespace htc::cuda {

constexpr int kTableBins = 64;
constexpr int kTableLength = 512;

template <typename C>
struct AxisTable {
  int first[kTableBins], count[kTableBins], at[kTableBins];  // pixels of a bin; their weights
  C weights[kTableLength];

  // Weights follow each other in the table if positions rise, by no more than a pixel.
  static __device__ bool holds(const RoiAxis<C>& axis, int64_t bins, int64_t first, int64_t last) {
    return bins <= kTableBins && last < (int64_t{1} << 30) &&
           target_table_length(bins, last - first + 1) <= kTableLength && axis.bin >= C(0) &&
           axis.bin <= axis.grid;
  }
  __device__ void set(const RoiAxis<C>& axis, int64_t bin, int64_t first_pixel) {
    if (axis.grid == C(0)) {
      count[bin] = 0;
      return;
    }
    // The table begins at the first pixel of the RoI, not of the picture.
    const TargetTaps taps = set_target_taps(axis, bin, weights, first_pixel);
    first[bin] = static_cast<int>(taps.first);
    count[bin] = static_cast<int>(taps.count);
    at[bin] = static_cast<int>(target_table_at(bin, taps) - first_pixel);
  }
};

// Shared memory runs no constructors.
template <typename C>
struct RoiStorage {
  alignas(DeviceRoi<C>) unsigned char bytes[sizeof(DeviceRoi<C>)];
  __device__ DeviceRoi<C>& roi() { return *reinterpret_cast<DeviceRoi<C>*>(bytes); }
};

}  // namespace htc::cuda
