// The first index of a range at which something holds that, once it holds, goes on holding.
#pragma once

#include <cstdint>

#include "htc/macros.h"

namespace htc {

// As int64, within [low, high]; NaN gives low.
HTC_HOST_DEVICE HTC_INLINE int64_t clamped_int(double value, int64_t low, int64_t high) {
  if (!(value > static_cast<double>(low))) return low;
  return value < static_cast<double>(high) ? static_cast<int64_t>(value) : high;
}

// The least index in [low, high) for which holds(index), or high. `holds` must be false up to some
// index and true from there on. Two calls when `guess` is the answer; the number of calls grows
// with the logarithm of the distance of the guess.
template <typename Predicate>
HTC_HOST_DEVICE HTC_INLINE int64_t first_where(int64_t low, int64_t high, int64_t guess,
                                               const Predicate& holds) {
  if (low >= high) return low;
  guess = guess < low ? low : (guess >= high ? high - 1 : guess);
  if (holds(guess)) {
    high = guess;
    for (int64_t step = 1; low < high; step *= 2) {
      const int64_t probe = high - low > step ? high - step : low;
      if (!holds(probe)) {
        low = probe + 1;
        break;
      }
      high = probe;
    }
  } else {
    low = guess + 1;
    for (int64_t step = 1; low < high; step *= 2) {
      const int64_t probe = high - low > step ? low + step - 1 : high - 1;
      if (holds(probe)) {
        high = probe;
        break;
      }
      low = probe + 1;
    }
  }
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (holds(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace htc
