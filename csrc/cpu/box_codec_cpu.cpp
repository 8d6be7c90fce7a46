#include <algorithm>

#include "htc/ops/box_codec.h"
#include "htc/parallel.h"

#define HTC_TARGET_SOURCE "cpu/box_codec_cpu.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"
#include "cpu/simd_boxes.h"
#include "cpu/simd_math.h"

namespace htc::cpu::HTC_TARGET {
namespace box_codec {

constexpr int kBlock = 64;  // deltas; a multiple of every target's lanes
constexpr int64_t kDeltasPerRange = 2048;

template <typename T>
struct Norm {
  Box<Vec<T>> mean, std;
  Vec<T> max_log_ratio;

  explicit Norm(const BoxCodecNorm& norm)
      : mean{number(norm.mean[0]), number(norm.mean[1]), number(norm.mean[2]),
             number(norm.mean[3])},
        std{number(norm.std[0]), number(norm.std[1]), number(norm.std[2]), number(norm.std[3])},
        max_log_ratio(number(norm.max_log_ratio)) {}

  static Vec<T> number(double value) { return broadcast(static_cast<T>(value)); }
};

// decode_box() of box_codec.h for kBlock boxes and deltas; clipped where there are widths.
template <typename T>
HTC_INLINE void decode_block(const T* boxes, const T* deltas, const T* widths, const T* heights,
                             const Norm<T>& norm, T* decoded) {
  const Vec<T> zero{}, half = broadcast(T(0.5)), limit = norm.max_log_ratio;
  for (int i = 0; i < kBlock; i += kLanes<T>) {
    const Box<Vec<T>> box = load_rows<T>(boxes + 4 * i);
    const Box<Vec<T>> delta = load_rows<T>(deltas + 4 * i);
    const Vec<T> dx = delta.x1 * norm.std.x1 + norm.mean.x1;
    const Vec<T> dy = delta.y1 * norm.std.y1 + norm.mean.y1;
    const Vec<T> dw = delta.x2 * norm.std.x2 + norm.mean.x2;
    const Vec<T> dh = delta.y2 * norm.std.y2 + norm.mean.y2;
    const Vec<T> width = box.x2 - box.x1, height = box.y2 - box.y1;
    const Vec<T> center_x = (box.x1 + box.x2) * half + width * dx;
    const Vec<T> center_y = (box.y1 + box.y2) * half + height * dy;
    const Vec<T> half_width = width * exp_lanes<T>(clamp_lanes<T>(dw, -limit, limit)) * half;
    const Vec<T> half_height = height * exp_lanes<T>(clamp_lanes<T>(dh, -limit, limit)) * half;
    Box<Vec<T>> result{center_x - half_width, center_y - half_height, center_x + half_width,
                       center_y + half_height};
    if (widths) {
      const Vec<T> right = load(widths + i), bottom = load(heights + i);
      result = {clamp_lanes<T>(result.x1, zero, right), clamp_lanes<T>(result.y1, zero, bottom),
                clamp_lanes<T>(result.x2, zero, right), clamp_lanes<T>(result.y2, zero, bottom)};
    }
    store_rows<T>(decoded + 4 * i, result);
  }
}

// Walks through the boxes in order, from picture to picture, as picture_of_box() of box_codec.h.
class PictureOfBox {
 public:
  PictureOfBox(const int64_t* boxes_num, int64_t num_pictures, int64_t num_boxes)
      : boxes_num_(boxes_num), num_pictures_(num_pictures), num_boxes_(num_boxes) {
    if (num_pictures_ > 0) end_ = boxes_num_[0];
  }

  // `box` must not fall from call to call.
  int64_t picture(int64_t box) {
    while (box >= end_ && picture_ + 1 < num_pictures_) end_ += boxes_num_[++picture_];
    return picture_;
  }

  // The first box after that picture.
  int64_t end() const { return picture_ + 1 < num_pictures_ ? end_ : num_boxes_; }

 private:
  const int64_t* boxes_num_;
  int64_t num_pictures_, num_boxes_, picture_ = 0, end_ = 0;
};

template <typename T>
void decode(const T* boxes, const T* deltas, const T* image_sizes, const int64_t* boxes_num,
            const BoxCodecShape& shape, const BoxCodecNorm& numbers, T* decoded) {
  const int64_t per_box = shape.num_deltas;
  const bool clip = shape.num_pictures > 0;
  parallel_for(shape.num_boxes * per_box, kDeltasPerRange, [&](int, int64_t begin, int64_t end) {
    const Norm<T> norm(numbers);
    PictureOfBox walk(boxes_num, shape.num_pictures, shape.num_boxes);
    alignas(64) T box_rows[4 * kBlock] = {}, delta_rows[4 * kBlock] = {}, result[4 * kBlock];
    alignas(64) T widths[kBlock] = {}, heights[kBlock] = {};
    for (int64_t at = begin; at < end; at += kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBlock, end - at));
      const bool whole = count == kBlock;
      if (!whole) std::copy_n(deltas + 4 * at, 4 * count, delta_rows);
      const bool direct = whole && per_box == 1;
      for (int i = 0; i < count && !direct; ++i) {  // a box is read once for each of its deltas
        std::copy_n(boxes + 4 * ((at + i) / per_box), 4, box_rows + 4 * i);
      }
      for (int i = 0; i < count && clip;) {
        const int64_t picture = walk.picture((at + i) / per_box);
        const int64_t same = std::min<int64_t>(count - i, walk.end() * per_box - (at + i));
        std::fill_n(heights + i, same, image_sizes[2 * picture]);
        std::fill_n(widths + i, same, image_sizes[2 * picture + 1]);
        i += static_cast<int>(same);
      }
      decode_block(direct ? boxes + 4 * at : box_rows, whole ? deltas + 4 * at : delta_rows,
                   clip ? widths : nullptr, heights, norm, whole ? decoded + 4 * at : result);
      if (!whole) std::copy_n(result, 4 * count, decoded + 4 * at);
    }
  });
}

}  // namespace box_codec
}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

template <typename T>
void decode_boxes(const T* boxes, const T* deltas, const T* image_sizes, const int64_t* boxes_num,
                  const BoxCodecShape& shape, const BoxCodecNorm& norm, T* decoded) {
  if (shape.num_deltas == 0) return;
  HTC_DISPATCH(box_codec::decode<T>)
  (boxes, deltas, image_sizes, boxes_num, shape, norm, decoded);
}

// Not vectorised: it runs on the few hundred boxes that are sampled in training.
template <typename T>
void encode_boxes(const T* boxes, const T* targets, const BoxCodecShape& shape,
                  const BoxCodecNorm& norm, T* deltas) {
  constexpr int64_t kBoxesPerRange = 512;
  parallel_for(shape.num_boxes, kBoxesPerRange, [&](int, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T delta[4];
      encode_box(load_box(boxes, r), load_box(targets, r), delta);
      for (int i = 0; i < 4; ++i) {
        deltas[4 * r + i] = (delta[i] - static_cast<T>(norm.mean[i])) / static_cast<T>(norm.std[i]);
      }
    }
  });
}

#  define HTC_INSTANTIATE(T)                                                                     \
    template void decode_boxes<T>(const T*, const T*, const T*, const int64_t*,                  \
                                  const BoxCodecShape&, const BoxCodecNorm&, T*);                \
    template void encode_boxes<T>(const T*, const T*, const BoxCodecShape&, const BoxCodecNorm&, \
                                  T*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
