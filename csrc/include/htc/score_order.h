// Scores as unsigned integers that rise while the scores fall, so that sorting integers (radix
// sorts, on CPU and GPU) sorts scores. A stable sort on these keys is the order that nms.h states.
#pragma once

#include <cstdint>
#include <cstring>

#include "htc/macros.h"

namespace htc {

template <typename T>
struct ScoreKey;
template <>
struct ScoreKey<float> {
  using type = uint32_t;
};
template <>
struct ScoreKey<double> {
  using type = uint64_t;
};

template <typename T>
HTC_HOST_DEVICE HTC_INLINE typename ScoreKey<T>::type falling_key(T score) {
  using Key = typename ScoreKey<T>::type;
  constexpr Key kSign = Key{1} << (8 * sizeof(Key) - 1);
  if (score != score) return ~Key{0};  // NaN of either sign: last
  score += T(0);                       // -0 becomes 0: they are equal scores
  Key word;
  memcpy(&word, &score, sizeof(word));
  return (word & kSign) ? word : ~(word | kSign);
}

}  // namespace htc
