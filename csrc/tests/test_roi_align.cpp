#include "cpu/roi_plan.h"
#include "htc/ops/roi_align.h"
#include "htc/parallel.h"
#include "tests/check.h"

using htc::RoiAlignShape;
using htc::RoiAxis;

namespace {

// A small generator, so that the cases are the same everywhere.
double uniform(uint64_t& state, double low, double high) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return low + (high - low) * static_cast<double>(state >> 11) / static_cast<double>(1ull << 53);
}

RoiAlignShape one_map(int64_t height, int64_t width, int64_t bins_y, int64_t bins_x) {
  RoiAlignShape shape;
  shape.num_pictures = shape.channels = 1;
  shape.heights[0] = height;
  shape.widths[0] = width;
  shape.scales[0] = 1;
  shape.pooled_height = bins_y;
  shape.pooled_width = bins_x;
  return shape;
}

template <typename T>
std::vector<T> pool(const std::vector<T>& x,
                    const std::vector<typename htc::Compute<T>::type>& boxes, RoiAlignShape shape) {
  shape.num_rois = static_cast<int64_t>(boxes.size() / 4);
  std::vector<T> pooled(static_cast<size_t>(shape.num_rois * shape.channels * shape.pooled_height *
                                            shape.pooled_width));
  const T* features[] = {x.data()};
  htc::cpu::roi_align<T>(features, boxes.data(), &shape.num_rois, shape, pooled.data());
  return pooled;
}

// Pixel (y, x) of a 5 x 6 map is 10 y + x: bilinear samples are exact.
std::vector<float> ramp() {
  std::vector<float> x(30);
  for (int i = 0; i < 30; ++i) x[i] = static_cast<float>(i / 6 * 10 + i % 6);
  return x;
}

void samples_lie_in_the_middle_of_bins() {
  // Two bins of 1 x 1 px a side from (0.5, 0.5) on: samples at 1 and 2.
  const auto pooled = pool<float>(ramp(), {1, 1, 3, 3}, one_map(5, 6, 2, 2));
  const float expected[] = {11, 12, 21, 22};
  for (int i = 0; i < 4; ++i) CHECK_NEAR(pooled[i], expected[i], 1e-5);
}

void not_aligned_has_no_shift_and_a_pixel_at_least() {
  RoiAlignShape shape = one_map(5, 6, 1, 1);
  shape.aligned = false;
  CHECK_NEAR(pool<float>(ramp(), {1, 1, 3, 3}, shape)[0], 22, 1e-5);    // the mean of the box
  CHECK_NEAR(pool<float>(ramp(), {2, 1, 2, 1}, shape)[0], 17.5, 1e-5);  // (1.5, 2.5)
}

void adaptive_grid_follows_each_side() {
  // 3 px high: 3 rows of samples at 0.5, 1.5, 2.5 (after the shift: 0, 1, 2); 1 px wide: one.
  CHECK_NEAR(pool<float>(ramp(), {2, 0, 3, 3}, one_map(5, 6, 1, 1))[0], 12, 1e-5);
}

void the_border_reaches_one_pixel_out_and_beyond_is_zero() {
  // Samples at x = -2, -1, 0, 1 (bin of 4 px), y = 0: those at -2 count 0, at -1 as the border.
  CHECK_NEAR(pool<float>(ramp(), {-2, 0, 2, 1}, one_map(5, 6, 1, 1))[0], (0 + 0 + 0 + 1) / 4.0,
             1e-5);
  // Right: samples at x = 4, 5, 6, 7 of a map 6 wide: 4, 5, then 6 as the border, 7 as nothing.
  CHECK_NEAR(pool<float>(ramp(), {4, 0, 8, 1}, one_map(5, 6, 1, 1))[0], (4 + 5 + 5 + 0) / 4.0,
             1e-5);
}

void odd_boxes_give_zeros() {
  const float nan = std::nanf(""), inf = INFINITY;
  const std::vector<float> boxes = {nan, 0, 3,     3,     0,    0,    inf, 3,  2,  2,
                                    2,   2, 3,     3,     1,    1,    9,   9,  12, 12,
                                    0,   0, 1e30f, 1e30f, -inf, -inf, inf, inf};
  for (const float value : pool<float>(ramp(), boxes, one_map(5, 6, 3, 3))) {
    CHECK_NEAR(value, 0, 1e-20);
  }
}

void each_level_and_picture_is_read() {
  // Level l, picture b is constant 10 b + l.
  RoiAlignShape shape = one_map(32, 32, 1, 1);
  shape.num_levels = 2;
  shape.num_pictures = 2;
  shape.heights[1] = shape.widths[1] = 16;
  shape.scales[1] = 0.5;
  shape.canonical_size = 8;
  std::vector<float> fine(2 * 32 * 32), coarse(2 * 16 * 16);
  for (size_t i = 0; i < fine.size(); ++i) fine[i] = i < fine.size() / 2 ? 0.f : 10.f;
  for (size_t i = 0; i < coarse.size(); ++i) coarse[i] = i < coarse.size() / 2 ? 1.f : 11.f;
  const float boxes[] = {0, 0, 16, 16, 0, 0, 15.9f, 15.9f, 0, 0, 8, 31, 0, 0, 9, 32};
  const int64_t boxes_num[] = {1, 3};
  shape.num_rois = 4;
  float pooled[4];
  const float* features[] = {fine.data(), coarse.data()};
  htc::cpu::roi_align<float>(features, boxes, boxes_num, shape, pooled);
  const float expected[] = {1, 10, 10, 11};  // sqrt(8 * 31) is under 16, sqrt(9 * 32) is not
  for (int i = 0; i < 4; ++i) CHECK_NEAR(pooled[i], expected[i], 1e-5);
}

// <pool(x), g> = <x, gradient(g)> for any x and g says that the gradient is the pooling's own.
template <typename T>
void gradient_is_the_transpose(int64_t height, int64_t width, int64_t bins_y, int64_t bins_x,
                               int64_t sampling_ratio, double tolerance) {
  uint64_t seed = static_cast<uint64_t>(height * 1000 + width * 100 + bins_y * 10 + bins_x);
  RoiAlignShape shape = one_map(height, width, bins_y, bins_x);
  shape.channels = 3;
  shape.sampling_ratio = sampling_ratio;
  std::vector<T> x(static_cast<size_t>(3 * height * width)), boxes;
  for (auto& value : x) value = static_cast<T>(uniform(seed, -1, 1));
  for (int r = 0; r < 20; ++r) {
    const double wide = static_cast<double>(width), high = static_cast<double>(height);
    const double x1 = uniform(seed, -4, wide + 1), y1 = uniform(seed, -4, high + 1);
    boxes.push_back(static_cast<T>(x1));
    boxes.push_back(static_cast<T>(y1));
    boxes.push_back(static_cast<T>(x1 + uniform(seed, -2, wide + 4)));
    boxes.push_back(static_cast<T>(y1 + uniform(seed, -2, high + 4)));
  }
  const std::vector<T> pooled = pool<T>(x, boxes, shape);
  std::vector<T> sent(pooled.size()), received(x.size());
  for (auto& value : sent) value = static_cast<T>(uniform(seed, -1, 1));
  shape.num_rois = 20;
  T* grads[] = {received.data()};
  htc::cpu::roi_align_grad<T>(sent.data(), boxes.data(), &shape.num_rois, shape, grads);
  double forward = 0, backward = 0;
  for (size_t i = 0; i < sent.size(); ++i) forward += double(pooled[i]) * double(sent[i]);
  for (size_t i = 0; i < x.size(); ++i) backward += double(received[i]) * double(x[i]);
  CHECK_NEAR(forward, backward, tolerance);
  CHECK(forward != 0);
}

template <typename T>
void gradients(double tolerance) {
  for (const int64_t ratio : {0, 2}) {
    for (const int64_t width : {1, 3, 7, 8, 9, 16, 23, 100}) {
      gradient_is_the_transpose<T>(5, width, 7, 7, ratio, tolerance);
      gradient_is_the_transpose<T>(30, width, 14, 14, ratio, tolerance);
      gradient_is_the_transpose<T>(4, width, 3, 20, ratio, tolerance);
      gradient_is_the_transpose<T>(4, width, 17, 2, ratio, tolerance);
    }
  }
}

// What the CUDA kernels work with, against the lists of the CPU.
template <typename T>
void axis_weights_agree(const RoiAxis<T>& axis, int64_t bins) {
  int64_t first, last;
  htc::pixel_range(axis, bins, first, last);
  std::vector<htc::cpu::AxisEntry<T>> entries(static_cast<size_t>(
      htc::cpu::max_axis_entries(std::max<int64_t>(last - first + 1, 0), bins)));
  const int64_t count = htc::cpu::axis_entries(axis, bins, entries.data());
  CHECK(count <= static_cast<int64_t>(entries.size()));
  std::vector<double> expected(static_cast<size_t>(bins * std::max<int64_t>(axis.size, 1)));
  for (int64_t k = 0; k < count; ++k) {
    CHECK(entries[k].pixel >= first && entries[k].pixel <= last);
    if (k > 0 && entries[k].bin == entries[k - 1].bin) {
      CHECK(entries[k].pixel > entries[k - 1].pixel);
    }
    expected[entries[k].bin * axis.size + entries[k].pixel] = entries[k].weight;
  }
  if (axis.grid == T(0)) return;
  for (int64_t pixel = 0; pixel < axis.size; ++pixel) {
    int64_t bin_first, bin_last;
    htc::bins_of_pixel(axis, bins, pixel, bin_first, bin_last);
    for (int64_t bin = 0; bin < bins; ++bin) {
      const double wanted = expected[bin * axis.size + pixel];
      const bool looked_at = bin >= bin_first && bin <= bin_last;
      const double weight = looked_at ? htc::pixel_weight(axis, bin, pixel) / axis.grid : 0;
      CHECK_NEAR(weight, wanted, 1e-6);
    }
  }
}

void axes_agree() {
  uint64_t seed = 1;
  for (int i = 0; i < 2000; ++i) {
    const int64_t size = static_cast<int64_t>(uniform(seed, 1, 40));
    const int64_t bins = static_cast<int64_t>(uniform(seed, 1, 20));
    const int64_t ratio = static_cast<int64_t>(uniform(seed, -4, 5));
    const double reach = i % 4 == 0 ? 1000 : 40;
    const double low = uniform(seed, -reach, reach);
    const double high = i % 3 == 0 ? uniform(seed, -reach, reach) : low + uniform(seed, 0, 30);
    const bool aligned = i % 2 == 0;
    axis_weights_agree(htc::roi_axis(static_cast<float>(low), static_cast<float>(high), 0.5f, bins,
                                     ratio, aligned, size),
                       bins);
    axis_weights_agree(htc::roi_axis(low, high, 0.5, bins, ratio, aligned, size), bins);
  }
  const float huge[] = {-1e30f, -1e9f, -3e6f, -1e5f, 0, 1e5f, 3e6f, 1e9f, 1e30f, 3e38f};
  for (const float low : huge) {
    for (const float high : huge) {
      for (const int64_t ratio : {-2, 0, 2, 4096}) {
        const auto axis = htc::roi_axis(low, high, 1.f, 3, ratio, true, 50);
        int64_t first, last;
        htc::pixel_range(axis, int64_t{3}, first, last);
        std::vector<htc::cpu::AxisEntry<float>> entries(static_cast<size_t>(
            htc::cpu::max_axis_entries(std::max<int64_t>(last - first + 1, 0), 3)));
        const int64_t count = htc::cpu::axis_entries(axis, 3, entries.data());
        for (int64_t k = 0; k < count; ++k) {
          CHECK(entries[k].pixel >= first && entries[k].pixel <= last);
          CHECK(entries[k].weight >= 0 && entries[k].weight <= 1.001f);
        }
      }
    }
  }
}

void threads_change_nothing() {
  RoiAlignShape shape = one_map(40, 50, 7, 7);
  shape.channels = 9;
  shape.num_rois = 300;
  uint64_t seed = 5;
  std::vector<float> x(9 * 40 * 50), boxes;
  for (auto& value : x) value = static_cast<float>(uniform(seed, -1, 1));
  for (int i = 0; i < 600; ++i) {
    boxes.push_back(static_cast<float>(uniform(seed, -5, 40)));
    boxes.push_back(static_cast<float>(uniform(seed, -5, 40)));
  }
  const int threads = htc::num_threads();
  std::vector<float> first_pooled, first_grad;
  for (const int count : {1, 2, 3, 4, 5}) {
    htc::set_num_threads(count);
    const auto pooled = pool<float>(x, boxes, shape);
    std::vector<float> grad(x.size());
    float* grads[] = {grad.data()};
    htc::cpu::roi_align_grad<float>(pooled.data(), boxes.data(), &shape.num_rois, shape, grads);
    if (count == 1) {
      first_pooled = pooled;
      first_grad = grad;
    }
    CHECK(pooled == first_pooled);
    CHECK(grad == first_grad);
  }
  htc::set_num_threads(threads);
}

template <typename T>
void half_types_add_up_in_float() {
  std::vector<T> x(30);
  const auto exact = ramp();
  for (int i = 0; i < 30; ++i) x[i] = T::from_float(exact[i]);
  const auto pooled = pool<T>(x, {1, 1, 3, 3, 0, 0, 6, 5}, one_map(5, 6, 2, 2));
  const float expected[] = {11, 12, 21, 22};
  for (int i = 0; i < 4; ++i) CHECK(pooled[i].to_float() == expected[i]);

  // The sum of eight, 8 + 8 / 128, is exact in 16 bits, but some of the sums on the way are not.
  RoiAlignShape shape = one_map(1, 1, 1, 1);
  shape.num_rois = 8;
  std::vector<float> boxes;
  std::vector<T> sent(8, T::from_float(1.0f + 1.0f / 128));
  for (int r = 0; r < 8; ++r) boxes.insert(boxes.end(), {0, 0, 1, 1});
  T grad;
  T* grads[] = {&grad};
  htc::cpu::roi_align_grad<T>(sent.data(), boxes.data(), &shape.num_rois, shape, grads);
  CHECK(grad.to_float() == 8 * sent[0].to_float());
}

}  // namespace

int main() {
  samples_lie_in_the_middle_of_bins();
  not_aligned_has_no_shift_and_a_pixel_at_least();
  adaptive_grid_follows_each_side();
  the_border_reaches_one_pixel_out_and_beyond_is_zero();
  odd_boxes_give_zeros();
  each_level_and_picture_is_read();
  gradients<float>(2e-3);
  gradients<double>(1e-9);
  axes_agree();
  threads_change_nothing();
  half_types_add_up_in_float<htc::float16>();
  half_types_add_up_in_float<htc::bfloat16>();
  return 0;
}
