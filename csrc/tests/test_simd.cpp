// The vector helpers themselves, in the copy that HTC_OPS_TARGET names.
#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/check.h"

#define HTC_TARGET_SOURCE "tests/test_simd.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"
#include "cpu/simd_boxes.h"
#include "cpu/simd_math.h"

namespace htc::cpu::HTC_TARGET {
namespace simd_test {

// A preprocessor that does not follow `#pragma GCC target` once made all targets 16 bytes wide.
static_assert(kVectorBytes == (HTC_TARGET_LEVEL == 2 ? 64 : HTC_TARGET_LEVEL == 1 ? 32 : 16));

template <typename T>
void lanes_go_where_they_should() {
  constexpr int n = kLanes<T>;
  const Vec<T> a = iota<T>(), b = iota<T>() + broadcast(T(n));
  const Vec<T> even = even_lanes<T>(a, b), odd = odd_lanes<T>(a, b);
  const Vec<T> low = zip_low<T>(even, odd), high = zip_high<T>(even, odd);
  for (int i = 0; i < n; ++i) {
    CHECK(even[i] == T(2 * i) && odd[i] == T(2 * i + 1));
    CHECK(low[i] == a[i] && high[i] == b[i]);
  }
  T memory[4 * n], back[4 * n];
  for (int i = 0; i < 4 * n; ++i) memory[i] = T(i);
  const Box<Vec<T>> rows = load_rows<T>(memory);
  for (int i = 0; i < n; ++i) {
    CHECK(rows.x1[i] == T(4 * i) && rows.y1[i] == T(4 * i + 1));
    CHECK(rows.x2[i] == T(4 * i + 2) && rows.y2[i] == T(4 * i + 3));
  }
  store_rows<T>(back, rows);
  for (int i = 0; i < 4 * n; ++i) CHECK(back[i] == memory[i]);
}

template <typename T>
T exp_of(T value) {
  const Vec<T> result = exp_lanes<T>(broadcast(value));
  for (int i = 1; i < kLanes<T>; ++i) CHECK(!(result[i] != result[0]) || value != value);
  return result[0];
}

template <typename T>
void exp_is_near_the_exact_value() {
  const T infinity = std::numeric_limits<T>::infinity();
  CHECK(exp_of(T(0)) == 1);
  CHECK(exp_of(-infinity) == 0);
  CHECK(exp_of(infinity) == infinity);
  CHECK(std::isnan(exp_of(std::numeric_limits<T>::quiet_NaN())));
  const T largest = std::log(std::numeric_limits<T>::max());
  CHECK(exp_of(largest + T(1)) == infinity);
  const T step = sizeof(T) == 4 ? T(0.00137) : T(0.0137);
  for (T x = -largest; x < largest; x += step) {
    const long double exact = std::exp(static_cast<long double>(x));
    const T nearest = static_cast<T>(exact);
    const long double unit = std::nextafter(nearest, infinity) - nearest;
    if (nearest == infinity || nearest < std::numeric_limits<T>::min()) continue;
    CHECK(std::fabs(exp_of(x) - exact) <= 2 * unit);
  }
}

void run() {
  lanes_go_where_they_should<float>();
  lanes_go_where_they_should<double>();
  exp_is_near_the_exact_value<float>();
  exp_is_near_the_exact_value<double>();
}

}  // namespace simd_test
}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {
static void run_tests() { HTC_DISPATCH(simd_test::run)(); }
}  // namespace htc::cpu

int main() {
  htc::cpu::run_tests();
  return 0;
}
#endif
