#include <algorithm>
#include <limits>
#include <random>

#include "htc/ops/paste_masks.h"
#include "htc/search.h"
#include "tests/check.h"

namespace {

using htc::PasteMasksShape;

PasteMasksShape shape_of(int64_t num, int64_t cells_y, int64_t cells_x, int64_t height,
                         int64_t width) {
  PasteMasksShape shape;
  shape.num_masks = num;
  shape.mask_height = cells_y;
  shape.mask_width = cells_x;
  shape.height = height;
  shape.width = width;
  return shape;
}

template <typename T>
std::vector<uint8_t> run(const std::vector<T>& masks, const std::vector<double>& boxes,
                         const PasteMasksShape& shape, double threshold) {
  std::vector<uint8_t> bitmaps(static_cast<size_t>(shape.num_masks * shape.height * shape.width),
                               7);
  htc::cpu::paste_masks<T>(masks.data(), boxes.data(), shape, threshold, bitmaps.data());

  const int64_t row_bytes = htc::packed_row_bytes(shape.width);
  std::vector<uint8_t> bits(static_cast<size_t>(shape.num_masks * shape.height * row_bytes), 7);
  std::vector<uint8_t> expected(bits.size(), 0);
  htc::cpu::paste_masks_packed<T>(masks.data(), boxes.data(), shape, threshold, bits.data());
  for (size_t at = 0; at < bitmaps.size(); ++at) {
    const int64_t pixel = static_cast<int64_t>(at), x = pixel % shape.width;
    const auto byte = static_cast<size_t>(pixel / shape.width * row_bytes + x / 8);
    expected[byte] = static_cast<uint8_t>(expected[byte] | bitmaps[at] << (7 - x % 8));
  }
  CHECK(bits == expected);
  return bitmaps;
}

using Bytes = std::vector<uint8_t>;

template <typename T>
void one_cell() {
  // A cell of 1 over columns and rows 1 and 2. Centres of pixels 0..3 lie at -3/4, -1/4, 1/4, 3/4
  // of the cell: values 1/4, 3/4, 3/4, 1/4 in each direction.
  const auto shape = shape_of(1, 1, 1, 4, 4);
  CHECK((run<T>({1}, {1, 1, 3, 3}, shape, 0.5625) ==
         Bytes{0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0}));
  CHECK((run<T>({1}, {1, 1, 3, 3}, shape, 0.1875) ==
         Bytes{0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0}));
  CHECK(run<T>({1}, {1, 1, 3, 3}, shape, 0.0625) == Bytes(16, 1));
  CHECK(run<T>({1}, {1, 1, 3, 3}, shape, 0.6) == Bytes(16, 0));
}

template <typename T>
void two_masks_in_their_own_pictures() {
  // A mask of 1 x 2 cells over a row of four pixels: values 0, 1/4, 3/4, 1 times 1 in the middle.
  const auto shape = shape_of(2, 1, 2, 1, 4);
  CHECK((run<T>({0, 1, 1, 0}, {0, 0, 4, 1, 0, 0, 4, 1}, shape, 0.7) ==
         Bytes{0, 0, 1, 1, 1, 1, 0, 0}));
}

// A cell of 1 over the pixels [first, last) of one row, at a threshold that takes just those: their
// bytes begin with the highest bit, and what is left of the last byte is 0.
template <typename T>
Bytes row_of_bits(int64_t width, double first, double last) {
  const auto shape = shape_of(1, 1, 1, 1, width);
  Bytes bits(static_cast<size_t>(htc::packed_row_bytes(width)), 7);
  const std::vector<T> masks = {1};
  const std::vector<double> boxes = {first, -9, last, 10};
  htc::cpu::paste_masks_packed<T>(masks.data(), boxes.data(), shape, 0.5, bits.data());
  return bits;
}

template <typename T>
void rows_of_bits() {
  CHECK((row_of_bits<T>(1, 0, 1) == Bytes{0x80}));
  CHECK((row_of_bits<T>(7, 0, 7) == Bytes{0xfe}));
  CHECK((row_of_bits<T>(8, 3, 5) == Bytes{0x18}));
  CHECK((row_of_bits<T>(9, 0, 9) == Bytes{0xff, 0x80}));
  CHECK((row_of_bits<T>(10, 1, 9) == Bytes{0x7f, 0x80}));
  CHECK((row_of_bits<T>(24, 7, 17) == Bytes{0x01, 0xff, 0x80}));
  CHECK((row_of_bits<T>(24, 8, 16) == Bytes{0x00, 0xff, 0x00}));
  // Pixels are worked on a thousand at a time: a row of more, which begins within a byte.
  const Bytes wide = row_of_bits<T>(2101, 3, 2099);
  CHECK(wide.size() == 263 && wide[0] == 0x1f && wide[261] == 0xff && wide[262] == 0xe0);
  CHECK(std::all_of(wide.begin() + 1, wide.begin() + 262, [](uint8_t b) { return b == 0xff; }));
}

void boxes_without_pixels() {
  constexpr double kInf = std::numeric_limits<double>::infinity(),
                   kNan = std::numeric_limits<double>::quiet_NaN(),
                   kMost = std::numeric_limits<double>::max(),
                   kLeast = std::numeric_limits<double>::denorm_min();
  const auto shape = shape_of(1, 1, 1, 3, 5);
  for (const auto& box : std::vector<std::vector<double>>{{2, 0, 2, 3},
                                                          {4, 0, 1, 3},
                                                          {kNan, 0, 4, 3},
                                                          {0, kNan, 4, 3},
                                                          {-kInf, 0, kInf, 3},
                                                          {0, 0, 4, kInf},
                                                          {-kMost, 0, kMost, 3},
                                                          {0.5, 0, 0.5 + kLeast, 3},
                                                          {-kLeast, 0, kLeast, 3},
                                                          {90, 0, 99, 3},
                                                          {-9, 0, -5, 3}}) {
    CHECK(run<float>({1}, box, shape, 0) == Bytes(15, 0));
    CHECK(run<double>({1}, box, shape, 0.5) == Bytes(15, 0));
  }
  // A box too wide to move from pixel to pixel: all read one place.
  CHECK(run<float>({1}, {-1e30, -1e30, 1e30, 1e30}, shape, 0.5) == Bytes(15, 1));
}

void nothing_at_all() {
  CHECK(run<float>({}, {}, shape_of(0, 4, 4, 5, 5), 0.5).empty());
  CHECK(run<float>({1, 1}, {0, 0, 1, 1, 0, 0, 1, 1}, shape_of(2, 1, 1, 0, 5), 0.5).empty());
  CHECK(run<float>({}, {0, 0, 1, 1}, shape_of(1, 0, 3, 1, 2), 0) == Bytes(2, 0));
}

// The formula, pixel by pixel.
template <typename T>
void agrees_with_the_formula() {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> unit(0, 1);
  for (int round = 0; round < 60; ++round) {
    const auto shape = shape_of(3, 1 + random() % 9, 1 + random() % 9, 1 + random() % 40,
                                1 + random() % (round % 10 == 0 ? 2500 : 40));
    std::vector<T> masks(static_cast<size_t>(3 * shape.mask_height * shape.mask_width));
    for (T& value : masks) value = static_cast<T>(unit(random));
    std::vector<double> boxes;
    for (int n = 0; n < 3; ++n) {
      const double x = (unit(random) * 1.5 - 0.5) * shape.width,
                   y = (unit(random) * 1.5 - 0.5) * shape.height;
      for (const double side :
           {x, y, x + unit(random) * 1.5 * shape.width, y + unit(random) * 1.5 * shape.height}) {
        boxes.push_back(side);
      }
    }
    const Bytes actual = run<T>(masks, boxes, shape, 0.5);
    for (int64_t at = 0; at < static_cast<int64_t>(actual.size()); ++at) {
      const int64_t x = at % shape.width, y = at / shape.width % shape.height,
                    n = at / shape.width / shape.height;
      const double* box = &boxes[static_cast<size_t>(4 * n)];
      const double px = (x + 0.5 - box[0]) * (shape.mask_width / (box[2] - box[0])) - 0.5;
      const double py = (y + 0.5 - box[1]) * (shape.mask_height / (box[3] - box[1])) - 0.5;
      const auto cell = [&](double row, double column) {
        const bool inside =
            row >= 0 && row < shape.mask_height && column >= 0 && column < shape.mask_width;
        const double index = (static_cast<double>(n * shape.mask_height) + row) *
                                 static_cast<double>(shape.mask_width) +
                             column;
        return inside ? masks[static_cast<size_t>(index)] : T(0);
      };
      const T tx = static_cast<T>(px - std::floor(px)), ty = static_cast<T>(py - std::floor(py));
      T rows[2];
      for (int i = 0; i < 2; ++i) {
        const T a = cell(std::floor(py) + i, std::floor(px)),
                b = cell(std::floor(py) + i, std::floor(px) + 1);
        rows[i] = a + tx * (b - a);
      }
      const T value = rows[0] + ty * (rows[1] - rows[0]);
      CHECK(actual[static_cast<size_t>(at)] == (value >= T(0.5) ? 1 : 0));
    }
  }
}

void the_search_finds_every_answer_from_every_guess() {
  for (int64_t high = 0; high < 40; ++high) {
    for (int64_t answer = 0; answer <= high; ++answer) {
      for (int64_t guess = -3; guess < high + 3; ++guess) {
        int calls = 0;
        const int64_t found = htc::first_where(0, high, guess, [&](int64_t index) {
          CHECK(index >= 0 && index < high);
          ++calls;
          return index >= answer;
        });
        CHECK(found == answer);
        CHECK(calls <= 12 && (guess != answer || calls <= 2));
      }
    }
  }
  constexpr int64_t kFar = int64_t{1} << 62;
  CHECK(htc::first_where(-kFar, kFar, 0, [](int64_t index) { return index >= kFar - 5; }) ==
        kFar - 5);
  CHECK(htc::clamped_int(std::numeric_limits<double>::quiet_NaN(), 3, 9) == 3);
  CHECK(htc::clamped_int(1e300, 3, 9) == 9 && htc::clamped_int(-1e300, 3, 9) == 3);
  CHECK(htc::clamped_int(4.9, 3, 9) == 4);
}

}  // namespace

int main() {
  one_cell<float>();
  one_cell<double>();
  two_masks_in_their_own_pictures<float>();
  two_masks_in_their_own_pictures<double>();
  rows_of_bits<float>();
  rows_of_bits<double>();
  boxes_without_pixels();
  nothing_at_all();
  agrees_with_the_formula<float>();
  agrees_with_the_formula<double>();
  the_search_finds_every_answer_from_every_guess();
  return 0;
}
