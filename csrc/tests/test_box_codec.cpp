#include "htc/ops/box_codec.h"
#include "tests/check.h"

using htc::BoxCodecNorm;
using htc::BoxCodecShape;

namespace {

void decode_moves_and_grows() {
  // A 10 x 20 box at (0, 0); half a width to the right, a quarter height down, twice as wide.
  const float boxes[] = {0, 0, 10, 20};
  const float deltas[] = {5, 2.5f, std::log(2.0f) / 0.2f, 0};
  BoxCodecShape shape;
  shape.num_boxes = 1;
  BoxCodecNorm norm;
  for (int i = 0; i < 4; ++i) norm.std[i] = i < 2 ? 0.1 : 0.2;
  float decoded[4];
  htc::cpu::decode_boxes<float>(boxes, deltas, nullptr, nullptr, shape, norm, decoded);
  const double expected[] = {0, 5, 20, 25};
  for (int i = 0; i < 4; ++i) CHECK_NEAR(decoded[i], expected[i], 1e-4);
}

void decode_clips_to_the_box_s_own_picture() {
  const double boxes[] = {-5, -5, 50, 50, -5, -5, 50, 50};
  const double deltas[8] = {};
  const double sizes[] = {30, 40, 20, 10};  // height, width
  const int64_t boxes_num[] = {1, 1};
  BoxCodecShape shape;
  shape.num_boxes = 2;
  shape.num_pictures = 2;
  double decoded[8];
  htc::cpu::decode_boxes<double>(boxes, deltas, sizes, boxes_num, shape, {}, decoded);
  const double expected[] = {0, 0, 40, 30, 0, 0, 10, 20};
  for (int i = 0; i < 8; ++i) CHECK(decoded[i] == expected[i]);
}

void encode_undoes_decode() {
  const double boxes[] = {3, 4, 13, 34}, targets[] = {1, 10, 31, 15};
  BoxCodecShape shape;
  shape.num_boxes = 1;
  double deltas[4], decoded[4];
  htc::cpu::encode_boxes<double>(boxes, targets, shape, {}, deltas);
  htc::cpu::decode_boxes<double>(boxes, deltas, nullptr, nullptr, shape, {}, decoded);
  for (int i = 0; i < 4; ++i) CHECK_NEAR(decoded[i], targets[i], 1e-12);
}

// Every size of the last block, several deltas a box, pictures that end anywhere in a block: as
// decode_box() box by box, to rounding.
template <typename T>
void decode_many_as_one_by_one() {
  uint32_t state = 7;
  const auto next = [&](int limit) {
    state = state * 1664525u + 1013904223u;
    return static_cast<T>((state >> 16) % static_cast<uint32_t>(limit));
  };
  for (const int per_box : {1, 3}) {
    for (const int count : {1, 63, 64, 65, 5000}) {
      std::vector<T> boxes, deltas;
      for (int i = 0; i < count; ++i) {
        const T x = next(300), y = next(200);
        for (const T value : {x, y, x + next(60), y + next(60)}) boxes.push_back(value);
      }
      for (int i = 0; i < 4 * count * per_box; ++i) deltas.push_back(next(64) / T(16) - T(2));
      const std::vector<T> sizes = {150, 250, 90, 100, 200, 300, 1, 1};
      const std::vector<int64_t> boxes_num = {count / 3, 0, count - count / 3 - 1, 1};
      BoxCodecShape shape;
      shape.num_boxes = count;
      shape.num_deltas = per_box;
      shape.num_pictures = 4;
      std::vector<T> decoded(deltas.size());
      htc::cpu::decode_boxes<T>(boxes.data(), deltas.data(), sizes.data(), boxes_num.data(), shape,
                                {}, decoded.data());
      for (int i = 0; i < count * per_box; ++i) {
        const T* d = deltas.data() + 4 * i;
        const auto box = htc::decode_box(htc::load_box(boxes.data(), i / per_box), d[0], d[1], d[2],
                                         d[3], T(4.135166556742356));
        const int64_t picture = htc::picture_of_box(i / per_box, boxes_num.data(), 4);
        const T width = sizes[2 * picture + 1], height = sizes[2 * picture];
        const T* result = decoded.data() + 4 * i;
        const double near = sizeof(T) == 4 ? 1e-2 : 1e-10;  // coordinates reach 10^4
        CHECK_NEAR(result[0], htc::clamp(box.x1, T(0), width), near);
        CHECK_NEAR(result[1], htc::clamp(box.y1, T(0), height), near);
        CHECK_NEAR(result[2], htc::clamp(box.x2, T(0), width), near);
        CHECK_NEAR(result[3], htc::clamp(box.y2, T(0), height), near);
      }
    }
  }
}

}  // namespace

int main() {
  decode_many_as_one_by_one<float>();
  decode_many_as_one_by_one<double>();
  decode_moves_and_grows();
  decode_clips_to_the_box_s_own_picture();
  encode_undoes_decode();
  return 0;
}
