// Boxes a vector at a time: rows of four numbers in memory, one vector a coordinate in registers.
//
// No include guard: foreach_target.h reads it again for every instruction set, after simd.h.
#include "htc/geometry.h"

namespace htc::cpu::HTC_TARGET {

// kLanes<T> rows.
template <typename T>
HTC_INLINE Box<Vec<T>> load_rows(const T* source) {
  const Vec<T> a = load(source), b = load(source + kLanes<T>);
  const Vec<T> c = load(source + 2 * kLanes<T>), d = load(source + 3 * kLanes<T>);
  const Vec<T> x_ab = even_lanes<T>(a, b), x_cd = even_lanes<T>(c, d);
  const Vec<T> y_ab = odd_lanes<T>(a, b), y_cd = odd_lanes<T>(c, d);
  return {even_lanes<T>(x_ab, x_cd), even_lanes<T>(y_ab, y_cd), odd_lanes<T>(x_ab, x_cd),
          odd_lanes<T>(y_ab, y_cd)};
}

template <typename T>
HTC_INLINE void store_rows(T* target, const Box<Vec<T>>& rows) {
  const Vec<T> x_low = zip_low<T>(rows.x1, rows.x2), x_high = zip_high<T>(rows.x1, rows.x2);
  const Vec<T> y_low = zip_low<T>(rows.y1, rows.y2), y_high = zip_high<T>(rows.y1, rows.y2);
  store(target, zip_low<T>(x_low, y_low));
  store(target + kLanes<T>, zip_high<T>(x_low, y_low));
  store(target + 2 * kLanes<T>, zip_low<T>(x_high, y_high));
  store(target + 3 * kLanes<T>, zip_high<T>(x_high, y_high));
}

// NaN stays NaN, as in geometry.h.
template <typename T>
HTC_INLINE Vec<T> clamp_lanes(Vec<T> value, Vec<T> low, Vec<T> high) {
  const Vec<T> above = value < low ? low : value;
  return value > high ? high : above;
}

}  // namespace htc::cpu::HTC_TARGET
