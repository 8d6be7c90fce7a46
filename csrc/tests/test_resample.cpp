#include "htc/ops/resample.h"
#include "tests/check.h"
#include "tests/ramp.h"
#include "tests/threads.h"

namespace {

using Values = std::vector<float>;

void pooling_takes_the_largest() {
  const int64_t sizes[][2] = {{1, 1}, {1, 2}, {2, 1}, {5, 7}, {4, 33}, {9, 64}, {3, 70}};
  for (const auto& [height, width] : sizes) {
    const int64_t planes = 3, out_height = (height + 1) / 2, out_width = (width + 1) / 2;
    const Values x = ramp(planes * height * width);
    Values result(static_cast<size_t>(planes * out_height * out_width), -77.f);
    htc::cpu::max_pool_half(x.data(), planes, height, width, result.data());
    for (int64_t p = 0; p < planes; ++p) {
      for (int64_t i = 0; i < out_height; ++i) {
        for (int64_t j = 0; j < out_width; ++j) {
          float largest = -100;
          for (int64_t y = std::max<int64_t>(2 * i - 1, 0); y < std::min(2 * i + 2, height); ++y) {
            for (int64_t z = std::max<int64_t>(2 * j - 1, 0); z < std::min(2 * j + 2, width); ++z) {
              largest = std::max(largest, x[(p * height + y) * width + z]);
            }
          }
          CHECK(result[(p * out_height + i) * out_width + j] == largest);
        }
      }
    }
  }
}

Values resize(const Values& x, const Values& add, htc::cpu::ResizeShape shape) {
  Values result(static_cast<size_t>(shape.planes * shape.new_height * shape.new_width), -77.f);
  htc::cpu::resize_bilinear(x.data(), add.empty() ? nullptr : add.data(), shape, result.data());
  return result;
}

// 0 2 / 4 6 to 3 x 3: corners stay, the middle is the mean.
void resizing_by_hand() {
  const Values x = {0, 2, 4, 6};
  CHECK(resize(x, {}, {1, 2, 2, 3, 3, false}) == Values({0, 1, 2, 2, 3, 4, 4, 5, 6}));
  CHECK(resize(x, {}, {1, 2, 2, 1, 1, false}) == Values({0}));
  CHECK(resize({5}, {}, {1, 1, 1, 2, 3, false}) == Values(6, 5.f));
}

void resizing_then_relu_then_addition() {
  const Values x = {-4, 4}, add = {10, 20, 30};
  CHECK(resize(x, add, {1, 1, 2, 1, 3, true}) == Values({10, 20, 34}));
  CHECK(resize(x, add, {1, 1, 2, 1, 3, false}) == Values({6, 20, 34}));
}

void threads_change_nothing() {
  const Values x = ramp(7 * 11 * 13);
  check_threads_change_nothing([&] { return resize(x, {}, {7, 11, 13, 30, 29, true}); });
}

}  // namespace

int main() {
  pooling_takes_the_largest();
  resizing_by_hand();
  resizing_then_relu_then_addition();
  threads_change_nothing();
  return 0;
}
