// Pooling and interpolation, a plane at a time. A lane is a column.
#include <algorithm>
#include <vector>

#include "htc/ops/resample.h"
#include "htc/parallel.h"

#define HTC_TARGET_SOURCE "cpu/resample_cpu.cpp"
#include "cpu/foreach_target.h"
// Per target from here on.
#include "cpu/simd.h"

namespace htc::cpu::HTC_TARGET {

using V = Vec<float>;

// The larger of each pair of pixels side by side is shared by no two windows; a window is the pair
// at 2 x and the pixel before it.
inline void pool_row(const float* tall, int64_t width, float* target) {
  const int64_t lanes = kLanes<float>, out_width = (width + 1) / 2;
  target[0] = width > 1 ? std::max(tall[0], tall[1]) : tall[0];
  int64_t x = 1;
  for (; 2 * (x + lanes) <= width; x += lanes) {
    const float* at = tall + 2 * x - 1;
    const V first = load(at), second = load(at + lanes);
    const V left = even_lanes<float>(first, second), middle = odd_lanes<float>(first, second);
    const V right = odd_lanes<float>(load(at + 1), load(at + 1 + lanes));
    store(target + x, max_or(max_or(left, middle), right));
  }
  for (; x < out_width; ++x) {
    float value = std::max(tall[2 * x - 1], tall[2 * x]);
    if (2 * x + 1 < width) value = std::max(value, tall[2 * x + 1]);
    target[x] = value;
  }
}

void max_pool_half(const float* x, int64_t planes, int64_t height, int64_t width, float* result) {
  const int64_t out_height = (height + 1) / 2, out_width = (width + 1) / 2;
  if (planes == 0 || height == 0 || width == 0) return;
  std::vector<float> lines(static_cast<size_t>(num_threads() * width));
  parallel_for(planes, 1, [&](int worker, int64_t begin, int64_t end) {
    float* const tall = lines.data() + worker * width;  // the largest of three pixels of a column
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t y = 0; y < out_height; ++y) {
        const float* middle = x + (p * height + 2 * y) * width;
        const float* above = y > 0 ? middle - width : middle;
        const float* below = 2 * y + 1 < height ? middle + width : middle;
        for (int64_t i = 0; i < width; ++i) {
          tall[i] = std::max(std::max(above[i], middle[i]), below[i]);
        }
        pool_row(tall, width, result + (p * out_height + y) * out_width);
      }
    }
  });
}

// Two pixels that a new one lies between, and the share of the second.
struct Between {
  int64_t first, second;
  float share;
};

inline std::vector<Between> between(int64_t size, int64_t new_size) {
  std::vector<Between> places(static_cast<size_t>(new_size));
  const double step = new_size > 1 ? static_cast<double>(size - 1) / (new_size - 1) : 0;
  for (int64_t i = 0; i < new_size; ++i) {
    const double at = i * step;
    const int64_t first = std::min<int64_t>(static_cast<int64_t>(at), size - 1);
    places[static_cast<size_t>(i)] = {first, std::min(first + 1, size - 1),
                                      static_cast<float>(at - static_cast<double>(first))};
  }
  return places;
}

void resize_bilinear(const float* x, const float* add, const ResizeShape& shape, float* result) {
  const int64_t width = shape.width, new_width = shape.new_width, new_height = shape.new_height;
  if (shape.planes == 0 || new_height == 0 || new_width == 0) return;
  const std::vector<Between> rows = between(shape.height, new_height);
  const std::vector<Between> columns = between(width, new_width);
  std::vector<float> lines(static_cast<size_t>(num_threads() * width));
  parallel_for(shape.planes, 1, [&](int worker, int64_t begin, int64_t end) {
    float* const mixed = lines.data() + worker * width;  // of two rows
    for (int64_t p = begin; p < end; ++p) {
      const float* plane = x + p * shape.height * width;
      for (int64_t y = 0; y < new_height; ++y) {
        const Between& row = rows[static_cast<size_t>(y)];
        const float* first = plane + row.first * width;
        const float* second = plane + row.second * width;
        for (int64_t i = 0; i < width; ++i) {
          mixed[i] = first[i] + (second[i] - first[i]) * row.share;
        }
        const int64_t at = (p * new_height + y) * new_width;
        float* target = result + at;
        for (int64_t i = 0; i < new_width; ++i) {
          const Between& column = columns[static_cast<size_t>(i)];
          const float left = mixed[column.first];
          const float right = mixed[column.second];
          float value = left + (right - left) * column.share;
          if (shape.relu) value = value > 0 ? value : 0.f;
          target[i] = add == nullptr ? value : value + add[at + i];
        }
      }
    }
  });
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

void max_pool_half(const float* x, int64_t planes, int64_t height, int64_t width, float* result) {
  HTC_DISPATCH(max_pool_half)(x, planes, height, width, result);
}

void resize_bilinear(const float* x, const float* add, const ResizeShape& shape, float* result) {
  HTC_DISPATCH(resize_bilinear)(x, add, shape, result);
}

}  // namespace htc::cpu
#endif
