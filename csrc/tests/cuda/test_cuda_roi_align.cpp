// RoIAlign and its gradient: the CUDA kernels on the host agree with the CPU kernels to rounding,
// and with themselves to the bit.
#include <limits>

#include "htc/ops/roi_align.h"
#include "tests/cuda/in_every_order.h"

namespace {

using htc::RoiAlignShape;
using on_host::boxes;
using on_host::in_every_order;
using on_host::memory;
using on_host::uniform;

template <typename T>
T from_double(double value) {
  if constexpr (sizeof(T) == 2) {
    return T::from_float(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}
template <typename T>
double to_double(T value) {
  if constexpr (sizeof(T) == 2) {
    return static_cast<double>(value.to_float());
  } else {
    return static_cast<double>(value);
  }
}

template <typename T>
std::vector<T> noise(int64_t count) {
  auto values = memory<T>(count);
  for (T& value : values) value = from_double<T>(uniform(-1, 1));
  return values;
}

// Sums in another order: a few roundings apart, of values of this size.
template <typename T>
void check_close(const std::vector<T>& actual, const std::vector<T>& expected, double scale) {
  const double rounding = sizeof(T) == 8 ? 1e-13 : sizeof(T) == 4 ? 4e-6 : 8e-3;
  CHECK(actual.size() == expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double value = to_double(expected[i]);
    // The CPU kernel multiplies pixels beside a sample by 0, CUDA leaves them alone; a NaN shows
    // it.
    if (std::isnan(value)) continue;
    CHECK_NEAR(to_double(actual[i]), value, rounding * (scale + std::fabs(value)));
  }
}

template <typename T>
void compare(RoiAlignShape shape, const std::vector<int64_t>& boxes_num, bool odd,
             bool odd_features = false) {
  using C = typename htc::Compute<T>::type;
  const auto box = boxes<C>(shape.num_rois, 60, 80, odd);
  shape.num_pictures = static_cast<int64_t>(boxes_num.size());
  std::vector<std::vector<T>> features, grads, expected_grads;
  std::vector<const T*> pointers;
  for (int l = 0; l < shape.num_levels; ++l) {
    features.push_back(
        noise<T>(shape.num_pictures * shape.channels * shape.heights[l] * shape.widths[l]));
    if (odd_features) {
      for (size_t i = 5; i < features.back().size(); i += 97) {
        features.back()[i] = from_double<T>(std::numeric_limits<double>::quiet_NaN());
      }
    }
    pointers.push_back(features.back().data());
  }
  const int64_t size = shape.num_rois * shape.channels * shape.pooled_height * shape.pooled_width;
  auto expected = memory<T>(size);
  htc::cpu::roi_align<T>(pointers.data(), box.data(), boxes_num.data(), shape, expected.data());
  const auto pooled = in_every_order([&] {
    auto result = memory<T>(size);
    CHECK(htc::cuda::roi_align<T>(pointers.data(), box.data(), boxes_num.data(), shape,
                                  result.data(), nullptr) == 0);
    return result;
  });
  check_close(pooled, expected, 1);

  const auto pooled_grad = noise<T>(size);
  const auto gradient = [&](const auto& run) {
    std::vector<std::vector<T>> results;
    std::vector<T*> targets;
    for (const auto& level : features) results.push_back(memory<T>(int64_t(level.size())));
    for (auto& result : results) targets.push_back(result.data());
    run(targets.data());
    std::vector<T> all;
    for (const auto& result : results) all.insert(all.end(), result.begin(), result.end());
    return all;
  };
  const auto expected_grad = gradient([&](T* const* targets) {
    htc::cpu::roi_align_grad<T>(pooled_grad.data(), box.data(), boxes_num.data(), shape, targets);
  });
  const auto grad = in_every_order([&] {
    return gradient([&](T* const* targets) {
      auto workspace = memory<char>(htc::cuda::roi_align_grad_workspace_bytes(shape));
      CHECK(htc::cuda::roi_align_grad<T>(pooled_grad.data(), box.data(), boxes_num.data(), shape,
                                         targets, workspace.data(), nullptr) == 0);
    });
  });
  check_close(grad, expected_grad, 4);
}

RoiAlignShape one_level(int64_t rois, int64_t channels, int64_t pooled) {
  RoiAlignShape shape;
  shape.num_rois = rois;
  shape.channels = channels;
  shape.pooled_height = shape.pooled_width = pooled;
  shape.heights[0] = 30;
  shape.widths[0] = 41;
  shape.scales[0] = 0.5;
  return shape;
}

template <typename T>
void all() {
  for (const bool odd : {false, true}) {
    compare<T>(one_level(9, 5, 3), {3, 0, 6}, odd);
    compare<T>(one_level(5, 37, 7), {5}, odd);  // more channels than a thread of the gradient has
    RoiAlignShape shape = one_level(7, 3, 7);
    shape.pooled_height = 2;
    for (const int64_t sampling : {1, 2, 40}) {  // of 1 and 2, samples are more than a pixel apart
      shape.sampling_ratio = sampling;
      compare<T>(shape, {4, 3}, odd);
      shape.aligned = !shape.aligned;
      compare<T>(shape, {4, 3}, odd);
    }
    shape = one_level(12, 4, 7);
    shape.num_levels = 3;
    shape.canonical_size = 12;
    for (int l = 0; l < 3; ++l) {
      shape.heights[l] = 30 >> l;
      shape.widths[l] = 41 >> l;
      shape.scales[l] = 0.5 / (1 << l);
    }
    compare<T>(shape, {5, 7}, odd);
    compare<T>(shape, {5, 7}, odd, /*odd_features=*/true);
  }
  compare<T>(one_level(300, 2, 2), {120, 180}, false);  // more RoIs than a block lists at a time
  compare<T>(one_level(3, 2, 33), {3}, false);          // bins in three parts
  compare<T>(one_level(2, 2, 70), {2}, false);          // more bins than a table has
  RoiAlignShape shape = one_level(0, 3, 7);
  compare<T>(shape, {0, 0}, false);
  shape = one_level(2, 0, 7);
  compare<T>(shape, {1, 1}, false);
  shape = one_level(2, 3, 7);
  shape.heights[0] = 0;
  compare<T>(shape, {1, 1}, false);
  // A picture wider than a table is long, so that some RoIs are pooled sample by sample.
  shape = one_level(9, 2, 3);
  shape.widths[0] = 700;
  shape.heights[0] = 9;
  shape.scales[0] = 9;
  compare<T>(shape, {9}, false);
}

}  // namespace

int main() {
  all<float>();
  all<double>();
  all<htc::float16>();
  all<htc::bfloat16>();
  return 0;
}
