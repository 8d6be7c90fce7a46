#include "htc/ops/box_codec.h"
#include "htc/parallel.h"

namespace htc::cpu {
namespace {

constexpr int64_t kBoxesPerRange = 2048;

}  // namespace

template <typename T>
void decode_boxes(const T* boxes, const T* deltas, const T* image_sizes, const int64_t* boxes_num,
                  const BoxCodecShape& shape, const BoxCodecNorm& norm, T* decoded) {
  const T max_log_ratio = static_cast<T>(norm.max_log_ratio);
  T mean[4], std[4];
  for (int i = 0; i < 4; ++i) {
    mean[i] = static_cast<T>(norm.mean[i]);
    std[i] = static_cast<T>(norm.std[i]);
  }
  parallel_for(shape.num_boxes, kBoxesPerRange, [&](int, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Box<T> box = load_box(boxes, r);
      T height = 0, width = 0;
      if (shape.num_pictures > 0) {
        const int64_t picture = picture_of_box(r, boxes_num, shape.num_pictures);
        height = image_sizes[2 * picture];
        width = image_sizes[2 * picture + 1];
      }
      for (int64_t k = 0; k < shape.num_deltas; ++k) {
        const int64_t at = 4 * (r * shape.num_deltas + k);
        const T* d = deltas + at;
        Box<T> result = decode_box(box, d[0] * std[0] + mean[0], d[1] * std[1] + mean[1],
                                   d[2] * std[2] + mean[2], d[3] * std[3] + mean[3], max_log_ratio);
        if (shape.num_pictures > 0) {
          result = {clamp(result.x1, T(0), width), clamp(result.y1, T(0), height),
                    clamp(result.x2, T(0), width), clamp(result.y2, T(0), height)};
        }
        decoded[at] = result.x1;
        decoded[at + 1] = result.y1;
        decoded[at + 2] = result.x2;
        decoded[at + 3] = result.y2;
      }
    }
  });
}

template <typename T>
void encode_boxes(const T* boxes, const T* targets, const BoxCodecShape& shape,
                  const BoxCodecNorm& norm, T* deltas) {
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

#define HTC_INSTANTIATE(T)                                                      \
  template void decode_boxes<T>(const T*, const T*, const T*, const int64_t*,   \
                                const BoxCodecShape&, const BoxCodecNorm&, T*); \
  template void encode_boxes<T>(const T*, const T*, const BoxCodecShape&, const BoxCodecNorm&, T*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cpu
