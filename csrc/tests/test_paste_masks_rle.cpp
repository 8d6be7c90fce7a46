#include <random>
#include <string>

#include "htc/ops/paste_masks.h"
#include "htc/rle_code.h"
#include "tests/check.h"

namespace {

using htc::PasteMasksShape;

// The code of a bitmap, pixel by pixel. The format once more, on its own.
std::string encode(const uint8_t* bitmap, int64_t height, int64_t width) {
  std::vector<int64_t> runs;
  int64_t run = 0;
  uint8_t value = 0;
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t y = 0; y < height; ++y) {
      if (bitmap[y * width + x] != value) {
        runs.push_back(run);
        run = 0;
        value = bitmap[y * width + x];
      }
      ++run;
    }
  }
  runs.push_back(run);
  std::string code;
  for (size_t i = 0; i < runs.size(); ++i) {
    int64_t rest = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    for (bool more = true; more;) {
      const int64_t group = rest & 31;
      rest >>= 5;
      more = !((rest == 0 && group < 16) || (rest == -1 && group >= 16));
      code += static_cast<char>(48 + group + (more ? 32 : 0));
    }
  }
  return code;
}

template <typename T>
std::vector<std::string> run(const std::vector<T>& masks, const std::vector<double>& boxes,
                             const PasteMasksShape& shape, double threshold, int threads,
                             int64_t room = -1) {
  const auto count = static_cast<size_t>(shape.num_masks);
  std::vector<int64_t> slots(count + 1), lengths(count);
  htc::cpu::paste_masks_rle_slots(boxes.data(), shape, slots.data());
  if (room >= 0) {
    for (size_t n = 0; n <= count; ++n) slots[n] = static_cast<int64_t>(n) * room;
  }
  // Exactly as large as asked for, so that the address sanitizer sees a step beyond.
  std::vector<char> workspace(
      static_cast<size_t>(htc::cpu::paste_masks_rle_workspace_bytes<T>(shape, threads)));
  const auto go = [&] {
    std::vector<uint8_t> codes(static_cast<size_t>(slots[count]));
    htc::cpu::paste_masks_rle<T>(masks.data(), boxes.data(), shape, threshold, threads,
                                 workspace.data(), slots.data(), codes.data(), lengths.data());
    return codes;
  };
  go();
  for (size_t n = 0; n < count; ++n) slots[n + 1] = slots[n] + lengths[n];
  const auto codes = go();
  std::vector<std::string> result;
  for (size_t n = 0; n < count; ++n) {
    result.emplace_back(codes.begin() + slots[n], codes.begin() + slots[n + 1]);
  }
  return result;
}

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

void hand_computed_codes() {
  const std::vector<double> whole = {-50, -50, 50, 50};
  // 12 pixels of 0: 12 -> '<'. 12 of 1 -> a run of 0, then 12.
  CHECK(run<float>({0}, whole, shape_of(1, 1, 1, 3, 4), 0.5, 1)[0] == "<");
  CHECK(run<float>({1}, whole, shape_of(1, 1, 1, 3, 4), 0.5, 1)[0] == "0<");
  // The middle 2 x 2 of 4 x 4: 5 2 2 2 5; from the fourth on, differences to the run two before:
  // 2 - 2 = 0, 5 - 2 = 3.
  CHECK(run<float>({1}, {1, 1, 3, 3}, shape_of(1, 1, 1, 4, 4), 0.5625, 1)[0] == "52203");
  // 100 zeros: 100 = 3 * 32 + 4 -> groups 4 and 3, the first with the mark of more: 'T' '3'.
  CHECK(run<float>({0}, whole, shape_of(1, 1, 1, 10, 10), 0.5, 1)[0] == "T3");
  CHECK(run<float>({0}, whole, shape_of(1, 1, 1, 0, 10), 0.5, 1)[0] == "0");
  CHECK(run<float>({}, {}, shape_of(0, 1, 1, 3, 3), 0.5, 1).empty());
}

void numbers_in_groups_of_5_bits() {
  const auto text = [](int64_t number) {
    std::string code;
    const int64_t length = htc::rle_number(number, [&](int64_t index, uint8_t c) {
      CHECK(index == static_cast<int64_t>(code.size()));
      code += static_cast<char>(c);
    });
    CHECK(length == static_cast<int64_t>(code.size()));
    return code;
  };
  CHECK(text(0) == "0" && text(15) == "?" && text(-1) == "O" && text(-16) == "@");
  CHECK(text(16) == "`0" && text(31) == "o0" && text(32) == "P1" && text(-17) == "_O");
  CHECK(text(int64_t{1} << 62).size() == 13 && text(-(int64_t{1} << 62)).size() == 13);
}

void changes_at_one_place_cancel() {
  uint8_t code[8] = {};
  htc::RleWriter writer(code, 8);
  for (const int64_t at : {2, 4, 4, 6, 9}) writer.change(at);  // 1 from 2 to 6; 9 is the end
  CHECK(writer.finish(9) == 3);
  CHECK(std::string(code, code + 3) == "243");
  htc::RleWriter measuring(nullptr, 0);
  measuring.change(0);
  CHECK(measuring.finish(1000) == 4);  // "0"; groups 8, 31, and 0, since 31 alone would be -1
}

template <typename T>
void agrees_with_the_bitmaps() {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> unit(0, 1);
  for (int round = 0; round < 150; ++round) {
    const auto shape = shape_of(3, 1 + random() % (round % 10 == 0 ? 140 : 30), 1 + random() % 9,
                                1 + random() % 300, 1 + random() % 20);
    std::vector<T> masks(static_cast<size_t>(3 * shape.mask_height * shape.mask_width));
    for (T& value : masks) {
      value = static_cast<T>(round % 2 ? unit(random) : static_cast<double>(random() % 5) / 4);
    }
    std::vector<double> boxes;
    for (int n = 0; n < 3; ++n) {
      const double x = (unit(random) * 1.5 - 0.5) * shape.width,
                   y = (unit(random) * 1.5 - 0.5) * shape.height;
      for (const double side :
           {x, y, x + unit(random) * 2 * shape.width, y + unit(random) * 2 * shape.height}) {
        boxes.push_back(side);
      }
    }
    const double threshold = static_cast<double>(random() % 5) / 4;
    std::vector<uint8_t> bitmaps(static_cast<size_t>(3 * shape.height * shape.width));
    htc::cpu::paste_masks<T>(masks.data(), boxes.data(), shape, threshold, bitmaps.data());
    const auto codes = run<T>(masks, boxes, shape, threshold, 1 + round % 4);
    for (int64_t n = 0; n < 3; ++n) {
      CHECK(codes[static_cast<size_t>(n)] ==
            encode(bitmaps.data() + n * shape.height * shape.width, shape.height, shape.width));
    }
    for (const int64_t room : {0, 3})
      CHECK(run<T>(masks, boxes, shape, threshold, 2, room) == codes);
  }
}

}  // namespace

int main() {
  hand_computed_codes();
  numbers_in_groups_of_5_bits();
  changes_at_one_place_cancel();
  agrees_with_the_bitmaps<float>();
  agrees_with_the_bitmaps<double>();
  return 0;
}
