#include "htc/ops/conv3x3.h"
#include "tests/check.h"
#include "tests/ramp.h"
#include "tests/threads.h"

namespace {

using Values = std::vector<float>;

Values convolve(const Values& x, const htc::MixedFloats& weights, const Values& bias,
                int64_t pictures, int64_t channels, int64_t filters, int64_t height, int64_t width,
                bool relu, const Values& add = {}) {
  htc::Conv3x3Shape shape;
  shape.num_pictures = pictures;
  shape.channels = channels;
  shape.filters = filters;
  shape.height = height;
  shape.width = width;
  shape.relu = relu;
  Values result(static_cast<size_t>(pictures * filters * height * width), -7.f);
  CHECK(htc::cpu::conv3x3(x.data(), weights, nullptr, bias.empty() ? nullptr : bias.data(),
                          add.empty() ? nullptr : add.data(), shape, result.data()));
  return result;
}

Values convolve(const Values& x, const Values& weights, const Values& bias, int64_t pictures,
                int64_t channels, int64_t filters, int64_t height, int64_t width, bool relu,
                const Values& add = {}) {
  return convolve(x, htc::MixedFloats(weights.data()), bias, pictures, channels, filters, height,
                  width, relu, add);
}

void one_pixel() {
  const Values weights = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK_NEAR(convolve({2}, weights, {}, 1, 1, 1, 1, 1, false)[0], 10, 1e-5);
  CHECK_NEAR(convolve({2}, weights, {-3}, 1, 1, 1, 1, 1, false)[0], 7, 1e-5);
  CHECK_NEAR(convolve({-2}, weights, {-3}, 1, 1, 1, 1, 1, true)[0], 0, 0);
}

// 1 2 3 / 4 5 6 / 7 8 9 with the weights 1 .. 9.
void three_by_three_by_hand() {
  const Values x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const Values expected = {94, 154, 106, 186, 285, 186, 106, 154, 94};
  const Values result = convolve(x, x, {}, 1, 1, 1, 3, 3, false);
  for (size_t i = 0; i < 9; ++i) CHECK_NEAR(result[i], expected[i], 1e-3);
}

void shifts_move_the_picture() {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{9, 13}, {4, 70}, {17, 4}}) {
    const Values x = ramp(2 * height * width);
    Values weights(2 * 2 * 9, 0.f);  // filter 0: the right neighbour of channel 1; 1: above, of 0
    weights[9 + 5] = 1;
    weights[18 + 1] = 1;
    const Values result = convolve(x, weights, {}, 1, 2, 2, height, width, false);
    for (int64_t i = 0; i < height; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        const float right = j + 1 < width ? x[(height + i) * width + j + 1] : 0;
        const float above = i > 0 ? x[(i - 1) * width + j] : 0;
        CHECK_NEAR(result[i * width + j], right, 1e-4);
        CHECK_NEAR(result[(height + i) * width + j], above, 1e-4);
      }
    }
  }
}

void any_shape_is_the_sum() {
  const int64_t shapes[][5] = {{1, 1, 1, 1, 2},
                               {2, 3, 5, 7, 9},
                               {3, 8, 4, 14, 14},
                               {1, 5, 6, 30, 33},
                               {2, 17, 9, 4, 131},
                               {40, 2, 3, 5, 5},
                               // Small pictures, of which one vector has several rows; and nearly.
                               {9, 4, 5, 14, 13},
                               {2, 3, 4, 31, 16},
                               {3, 2, 3, 6, 15},
                               {5, 2, 3, 18, 14},
                               {2, 2, 3, 13, 16},
                               {1, 2, 2, 70, 14}};
  for (const auto& [b, c, k, h, w] : shapes) {
    const Values x = ramp(b * c * h * w), weights = ramp(k * c * 9), bias = ramp(k);
    const Values add = (b + c) % 2 == 0 ? ramp(b * k * h * w) : Values{};
    const Values result = convolve(x, weights, bias, b, c, k, h, w, true, add);
    const auto half_weights = halves(weights);
    const Values half_result = convolve(x, half_weights.data(), bias, b, c, k, h, w, true, add);
    for (int64_t n = 0; n < b * k; ++n) {
      for (int64_t i = 0; i < h; ++i) {
        for (int64_t j = 0; j < w; ++j) {
          double sum = bias[n % k];
          for (int64_t channel = 0; channel < c; ++channel) {
            const float* plane = x.data() + (n / k * c + channel) * h * w;
            const float* weight = weights.data() + (n % k * c + channel) * 9;
            for (int64_t p = 0; p < 9; ++p) {
              const int64_t y = i + p / 3 - 1, z = j + p % 3 - 1;
              if (y >= 0 && y < h && z >= 0 && z < w) sum += weight[p] * plane[y * w + z];
            }
          }
          const int64_t place = (n * h + i) * w + j;
          if (!add.empty()) sum += add[place];
          const double found = result[place];
          const double root = std::sqrt(static_cast<double>(c));
          CHECK_NEAR(found, std::max(sum, 0.0), 2e-3 * root);
          // Sums are some 130 times the root large; the error of bfloat16 by way of Winograd is
          // 0.8 % of that on average, with a long tail.
          CHECK_NEAR(half_result[place], std::max(sum, 0.0), 20 * root);
        }
      }
    }
  }
}

void threads_change_nothing() {
  const Values x = ramp(3 * 6 * 21 * 34), weights = ramp(8 * 6 * 9);
  check_threads_change_nothing([&] { return convolve(x, weights, {}, 3, 6, 8, 21, 34, false); });
}

void nothing_to_do() {
  CHECK(convolve({}, ramp(9), {}, 0, 1, 1, 4, 4, false).empty());
  CHECK(convolve({}, ramp(9), {}, 1, 1, 1, 0, 4, false).empty());
  CHECK(convolve(ramp(16), Values{}, {}, 1, 1, 0, 4, 4, false).empty());
  for (const float value : convolve({}, Values{}, {2}, 1, 0, 1, 3, 5, false)) CHECK(value == 2);
}

}  // namespace

int main() {
  one_pixel();
  three_by_three_by_hand();
  shifts_move_the_picture();
  any_shape_is_the_sum();
  threads_change_nothing();
  nothing_to_do();
  return 0;
}
