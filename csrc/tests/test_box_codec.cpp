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

}  // namespace

int main() {
  decode_moves_and_grows();
  decode_clips_to_the_box_s_own_picture();
  encode_undoes_decode();
  return 0;
}
