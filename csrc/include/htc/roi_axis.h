// One axis of RoIAlign: where the samples of a bin lie and what they weigh.
//
// Height and width do not mix: the mean over a bin's grid of bilinear samples is a weighted sum
// over rows of weighted sums over columns, border rules included. Kernels therefore work on two
// small sets of weights a box instead of on four corners a sample.
// Coordinates are rounded in the order of Paddle's roi_align, so that a sample on the border of
// the picture is in or out on both sides alike.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"
#include "htc/macros.h"

namespace htc {

template <typename T>
struct RoiAxis {
  T start = 0;       // pixel coordinate of the first bin's edge
  T bin = 0;         // pixels a bin; negative for an inverted box
  T grid = 0;        // samples a bin, a whole number; 0 = the box has no samples
  int64_t size = 0;  // pixels of the axis
};

struct SampleRange {  // samples first .. first + count - 1 of a bin are worth looking at
  double first;
  int64_t count;
};

// low, high: the box's sides. A box that is not finite, or without extent where the grid adapts to
// it, has no samples. sampling_ratio: samples a bin; 0 or -1: as many as the bin has pixels,
// rounded up; -k: as the k parts of the bin would have, each by itself.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE RoiAxis<T> roi_axis(T low, T high, T scale, int64_t bins,
                                               int64_t sampling_ratio, bool aligned, int64_t size) {
  const T offset = aligned ? T(0.5) : T(0);
  RoiAxis<T> axis;
  axis.start = low * scale - offset;
  T extent = high * scale - offset - axis.start;
  if (!aligned) extent = max_or(extent, T(1));
  axis.bin = extent / static_cast<T>(bins);
  const T parts = sampling_ratio < 0 ? static_cast<T>(-sampling_ratio) : T(1);
  axis.grid =
      sampling_ratio > 0 ? static_cast<T>(sampling_ratio) : parts * std::ceil(axis.bin / parts);
  axis.size = size;
  // max_or turned a NaN extent into 1; the sides themselves decide.
  if (!(is_finite(low) && is_finite(high) && is_finite(axis.start) && is_finite(extent)) ||
      !(axis.grid >= T(1)) || size <= 0) {
    axis.grid = 0;
  }
  return axis;
}

// Samples of a bin that may lie in [low, high] pixels: a superset, and no more than a few times
// high - low samples (or as many as a small or fixed grid has), however large the box.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE SampleRange samples_between(const RoiAxis<T>& axis, int64_t bin,
                                                       double low, double high) {
  constexpr double kSmallGrid = 16;
  const double grid = axis.grid;
  if (grid <= kSmallGrid || axis.bin == T(0)) return {0.0, static_cast<int64_t>(grid)};
  const double step = axis.bin;
  const double a = ((low - axis.start) / step - bin) * grid - 0.5;
  const double b = ((high - axis.start) / step - bin) * grid - 0.5;
  // The position is rounded to T: a sample more on each side, and more where T is coarse.
  const double slack = 1.0 + 1e-6 * grid;
  const double first = clamp(std::floor(min_or(a, b) - slack), 0.0, grid);
  const double last = clamp(std::ceil(max_or(a, b) + slack), -1.0, grid - 1.0);
  // An adaptive grid steps by more than half a pixel; what is beyond is rounding of huge numbers.
  const double most = max_or(4.0 * (high - low) + 16.0, 4096.0);
  return {first, static_cast<int64_t>(clamp(last - first + 1.0, 0.0, most))};
}

// The two pixels that a sample reads: low and, where high_weight is not 0, low + 1.
template <typename T>
struct SampleTaps {
  int64_t low;
  T low_weight, high_weight;
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE T sample_position(const RoiAxis<T>& axis, int64_t bin, T sample) {
  return axis.start + axis.bin * (static_cast<T>(bin) + (sample + T(0.5)) / axis.grid);
}

// False: the sample lies outside [-1, size] and counts as 0.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE bool sample_taps(T position, int64_t size, SampleTaps<T>& taps) {
  if (!(position >= T(-1) && position <= static_cast<T>(size))) return false;
  if (position <= T(0)) position = T(0);
  taps.low = static_cast<int64_t>(position);
  if (taps.low >= size - 1) {
    taps = {size - 1, T(1), T(0)};
  } else {
    taps.low_weight = static_cast<T>(taps.low + 1) - position;
    taps.high_weight = T(1) - taps.low_weight;
  }
  return true;
}

// First and last pixel that any sample may read; last < first when none does.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE void pixel_range(const RoiAxis<T>& axis, int64_t bins, int64_t& first,
                                            int64_t& last) {
  first = 0;
  last = -1;
  if (axis.grid == T(0)) return;
  const T end = axis.start + axis.bin * static_cast<T>(bins);
  const T low = min_or(axis.start, end), high = max_or(axis.start, end);
  last = axis.size - 1;
  constexpr T kExact = T(1 << 20);  // beyond, a pixel of slack does not cover the rounding
  if (!(low > -kExact && high < kExact)) return;
  if (high < T(-2) || low > static_cast<T>(axis.size) + T(1)) {
    last = -1;
    return;
  }
  first = clamp<int64_t>(static_cast<int64_t>(low) - 2, 0, axis.size - 1);
  last = clamp<int64_t>(static_cast<int64_t>(high) + 2, 0, axis.size - 1);
}

// First and last bin whose samples may read a pixel.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE void bins_of_pixel(const RoiAxis<T>& axis, int64_t bins, int64_t pixel,
                                              int64_t& first, int64_t& last) {
  first = 0;
  last = bins - 1;
  const T a = (static_cast<T>(pixel - 1) - axis.start) / axis.bin;
  const T b = (static_cast<T>(pixel + 1) - axis.start) / axis.bin;
  constexpr T kExact = T(1 << 20);  // beyond (and NaN), all bins
  const T low = min_or(a, b), high = max_or(a, b);
  if (!(axis.start > -kExact && axis.start < kExact)) return;
  if (low > T(-1) && low < kExact) first = clamp<int64_t>(static_cast<int64_t>(low) - 1, 0, bins);
  if (high > T(-1) && high < kExact) {
    last = clamp<int64_t>(static_cast<int64_t>(high) + 1, -1, bins - 1);
  }
}

// Sum of the weights that the samples of one bin give to one pixel, not yet divided by the grid.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE T pixel_weight(const RoiAxis<T>& axis, int64_t bin, int64_t pixel) {
  const SampleRange range = samples_between(axis, bin, pixel - 1.0, pixel + 1.0);
  T sum = 0;
  for (int64_t i = 0; i < range.count; ++i) {
    const T position = sample_position(axis, bin, static_cast<T>(range.first + i));
    SampleTaps<T> taps;
    if (!sample_taps(position, axis.size, taps)) continue;
    if (taps.low == pixel) sum += taps.low_weight;
    if (taps.low + 1 == pixel) sum += taps.high_weight;
  }
  return sum;
}

}  // namespace htc
