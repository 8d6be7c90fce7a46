#include <limits>
#include <random>

#include "htc/ops/mask_targets.h"
#include "tests/check.h"

namespace {

using htc::MaskTargetsShape;

template <typename T>
std::vector<float> run(const std::vector<T>& boxes, const std::vector<uint8_t>& bitmaps,
                       const std::vector<int64_t>& gt_index, int64_t height, int64_t width,
                       int64_t size, double threshold, int threads = 3) {
  MaskTargetsShape shape;
  shape.num_boxes = static_cast<int64_t>(gt_index.size());
  shape.num_gts = height * width > 0 ? static_cast<int64_t>(bitmaps.size()) / (height * width) : 1;
  shape.height = height;
  shape.width = width;
  shape.target_height = shape.target_width = size;
  // Exactly as large as asked for, so that the address sanitizer sees a step beyond.
  std::vector<char> workspace(
      static_cast<size_t>(htc::cpu::mask_targets_workspace_bytes<T>(shape, threads)));
  std::vector<float> targets(static_cast<size_t>(shape.num_boxes * size * size), -1);
  htc::cpu::mask_targets<T>(boxes.data(), bitmaps.data(), gt_index.data(), shape, threshold,
                            threads, workspace.data(), targets.data());
  return targets;
}

using Targets = std::vector<float>;

template <typename T>
void means_of_four_pixels() {
  const std::vector<uint8_t> bitmap = {1, 1, 9, 0, 0, 0, 0, 0, 1, 0, 255, 1, 1, 1, 1, 1};
  CHECK((run<T>({0, 0, 4, 4}, bitmap, {0}, 4, 4, 2, 0.5) == Targets{1, 0, 1, 1}));
  CHECK((run<T>({0, 0, 4, 4}, bitmap, {0}, 4, 4, 2, 0.75) == Targets{0, 0, 1, 1}));
  CHECK((run<T>({0, 0, 4, 4}, bitmap, {0}, 4, 4, 2, 1) == Targets{0, 0, 0, 1}));
  CHECK((run<T>({0, 0, 4, 4}, bitmap, {0}, 4, 4, 1, 0.625) == Targets{1}));
  CHECK((run<T>({0, 0, 4, 4}, bitmap, {0}, 4, 4, 1, 0.626) == Targets{0}));
}

template <typename T>
void each_box_reads_its_own_bitmap() {
  const std::vector<uint8_t> bitmaps = {1, 0, 0, 1};  // two of 1 x 2
  CHECK((run<T>({0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 2, 1}, bitmaps, {0, 1, 1}, 1, 2, 1, 0.5) ==
         Targets{1, 0, 1}));
  CHECK((run<T>({0, 0, 1, 1, 0, 0, 1, 1}, {1, 1}, {-1, 9}, 1, 2, 1, 0.5) == Targets{0, 0}));
}

template <typename T>
void boxes_that_sample_nothing() {
  constexpr T kInf = std::numeric_limits<T>::infinity(), kNan = std::numeric_limits<T>::quiet_NaN(),
              kMost = std::numeric_limits<T>::max();
  const std::vector<uint8_t> ones(6 * 7, 1);
  for (const auto& box : std::vector<std::vector<T>>{{2, 0, 2, 5},
                                                     {5, 5, 1, 1},
                                                     {kNan, 0, 4, 4},
                                                     {0, 0, kInf, 4},
                                                     {-kMost, 0, kMost, 4},
                                                     {20, 0, 30, 4},
                                                     {T(-1e30), 0, T(1e30), 4},
                                                     {-90, -90, -50, -50}}) {
    CHECK(run<T>(box, ones, {0}, 6, 7, 3, 1e-6) == Targets(9, 0.0f));
    CHECK(run<T>(box, ones, {0}, 6, 7, 3, 0) == Targets(9, 1.0f));
  }
  CHECK(run<T>({0, 0, 4, 4}, {}, {0}, 0, 7, 3, 0.5) == Targets(9, 0.0f));
  CHECK(run<T>({0, 0, 4, 4}, {}, {0}, 6, 0, 3, 0.5) == Targets(9, 0.0f));
  CHECK(run<T>({}, {}, {}, 6, 7, 3, 0.5).empty());
}

// RoIAlign sample by sample, in double.
double value_at(const double* box, const uint8_t* bitmap, int64_t height, int64_t width,
                int64_t size, int64_t py, int64_t px) {
  const auto ys = htc::mask_target_axis(box[1], box[3], size, height);
  const auto xs = htc::mask_target_axis(box[0], box[2], size, width);
  double sum = 0;
  for (double i = 0; i < ys.grid; ++i) {
    for (double j = 0; j < xs.grid; ++j) {
      double y = htc::sample_position(ys, py, i), x = htc::sample_position(xs, px, j);
      if (y < -1 || y > static_cast<double>(height) || x < -1 || x > static_cast<double>(width)) {
        continue;
      }
      y = std::min(std::max(y, 0.0), static_cast<double>(height - 1));
      x = std::min(std::max(x, 0.0), static_cast<double>(width - 1));
      const int64_t y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
      const int64_t y1 = std::min(y0 + 1, height - 1), x1 = std::min(x0 + 1, width - 1);
      const double ly = y - static_cast<double>(y0), lx = x - static_cast<double>(x0);
      const auto at = [&](int64_t row, int64_t column) { return bitmap[row * width + column]; };
      sum += (1 - ly) * ((1 - lx) * at(y0, x0) + lx * at(y0, x1)) +
             ly * ((1 - lx) * at(y1, x0) + lx * at(y1, x1));
    }
  }
  const double count = ys.grid * xs.grid;
  return count > 0 ? sum / count : 0;
}

void agrees_sample_by_sample() {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> unit(0, 1);
  for (int round = 0; round < 40; ++round) {
    const int64_t height = 1 + random() % 50, width = 1 + random() % 90, size = 1 + random() % 9;
    std::vector<uint8_t> bitmap(static_cast<size_t>(height * width));
    for (auto& pixel : bitmap) pixel = random() % 2;
    const double x = (unit(random) * 1.6 - 0.6) * width, y = (unit(random) * 1.6 - 0.6) * height;
    const std::vector<double> box = {x, y, x + unit(random) * 2 * width,
                                     y + unit(random) * 2 * height};
    const auto targets = run<double>(box, bitmap, {0}, height, width, size, 0.5);
    for (int64_t cell = 0; cell < size * size; ++cell) {
      const double value =
          value_at(box.data(), bitmap.data(), height, width, size, cell / size, cell % size);
      if (std::fabs(value - 0.5) < 1e-12) continue;
      CHECK(targets[static_cast<size_t>(cell)] == (value >= 0.5 ? 1.0f : 0.0f));
    }
  }
}

// The weights of neighbouring bins must not overwrite each other in the table, and a bin's add up
// to its grid where the box lies inside.
template <typename T>
void tables_hold_every_bin() {
  for (const T side : {T(0.25), T(3), T(9.5), T(28), T(61)}) {
    const int64_t size = 100, bins = 9;
    const auto axis = htc::mask_target_axis(T(20.3), T(20.3) + side, bins, size);
    std::vector<T> table(static_cast<size_t>(htc::target_table_length(bins, size)));
    std::vector<htc::TargetTaps> taps;
    for (int64_t bin = 0; bin < bins; ++bin) {
      taps.push_back(htc::set_target_taps(axis, bin, table.data()));
    }
    for (int64_t bin = 0; bin < bins; ++bin) {
      const auto& pixels = taps[static_cast<size_t>(bin)];
      double sum = 0;
      for (int64_t k = 0; k < pixels.count; ++k) {
        sum += table[static_cast<size_t>(htc::target_table_at(bin, pixels) + k)];
      }
      CHECK_NEAR(sum, axis.grid, 1e-4);
    }
  }
}

void threads_change_nothing() {
  std::mt19937 random(4);
  std::vector<uint8_t> bitmaps(2 * 40 * 50);
  for (auto& pixel : bitmaps) pixel = random() % 3 == 0;
  std::vector<float> boxes;
  std::vector<int64_t> gt_index;
  for (int r = 0; r < 50; ++r) {
    const float x = static_cast<float>(random() % 400) / 10, y = static_cast<float>(random() % 30);
    for (const float side : {x, y, x + static_cast<float>(random() % 300) / 10, y + 9.3f}) {
      boxes.push_back(side);
    }
    gt_index.push_back(r % 2);
  }
  const auto first = run<float>(boxes, bitmaps, gt_index, 40, 50, 7, 0.4, 1);
  for (int threads = 2; threads < 6; ++threads) {
    CHECK(run<float>(boxes, bitmaps, gt_index, 40, 50, 7, 0.4, threads) == first);
  }
}

}  // namespace

int main() {
  means_of_four_pixels<float>();
  means_of_four_pixels<double>();
  each_box_reads_its_own_bitmap<float>();
  each_box_reads_its_own_bitmap<double>();
  boxes_that_sample_nothing<float>();
  boxes_that_sample_nothing<double>();
  agrees_sample_by_sample();
  tables_hold_every_bin<float>();
  tables_hold_every_bin<double>();
  threads_change_nothing();
  return 0;
}
