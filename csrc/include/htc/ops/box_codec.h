// Box deltas: what turns a reference box into another (decode), and back (encode).
// Paper: R-CNN, appendix C. Reference: mmdetection 3.3.0, models/task_modules/coders.
#pragma once

#include <cmath>
#include <cstdint>

#include "htc/geometry.h"

namespace htc {

struct BoxCodecShape {
  int64_t num_boxes = 0;     // R
  int64_t num_deltas = 1;    // K: deltas a box; deltas are [R, 4 * K]
  int64_t num_pictures = 0;  // B: rows of image_sizes and of boxes_num; 0 = do not clip
};

// Of one coordinate set each: dx, dy, dw, dh. delta = stored * std + mean.
struct BoxCodecNorm {
  double mean[4] = {0, 0, 0, 0};
  double std[4] = {1, 1, 1, 1};
  double max_log_ratio = 4.135166556742356;  // log(1000 / 16): |dw|, |dh| are clamped here
};

// One box, one delta (already scaled by std and shifted by mean).
template <typename T>
HTC_HOST_DEVICE HTC_INLINE Box<T> decode_box(const Box<T>& box, T dx, T dy, T dw, T dh,
                                             T max_log_ratio) {
  const T width = box.x2 - box.x1, height = box.y2 - box.y1;
  const T center_x = (box.x1 + box.x2) * T(0.5) + width * dx;
  const T center_y = (box.y1 + box.y2) * T(0.5) + height * dy;
  const T half_width = width * std::exp(clamp(dw, -max_log_ratio, max_log_ratio)) * T(0.5);
  const T half_height = height * std::exp(clamp(dh, -max_log_ratio, max_log_ratio)) * T(0.5);
  return {center_x - half_width, center_y - half_height, center_x + half_width,
          center_y + half_height};
}

// The delta, before mean and std, that decode_box turns into `target`.
template <typename T>
HTC_HOST_DEVICE HTC_INLINE void encode_box(const Box<T>& box, const Box<T>& target, T delta[4]) {
  const T width = box.x2 - box.x1, height = box.y2 - box.y1;
  const T target_width = target.x2 - target.x1, target_height = target.y2 - target.y1;
  delta[0] = ((target.x1 + target.x2) * T(0.5) - (box.x1 + box.x2) * T(0.5)) / width;
  delta[1] = ((target.y1 + target.y2) * T(0.5) - (box.y1 + box.y2) * T(0.5)) / height;
  delta[2] = std::log(target_width / width);
  delta[3] = std::log(target_height / height);
}

// The picture that box `index` belongs to: boxes lie one picture after another.
HTC_HOST_DEVICE HTC_INLINE int64_t picture_of_box(int64_t index, const int64_t* boxes_num,
                                                  int64_t num_pictures) {
  int64_t picture = 0, end = boxes_num[0];
  while (index >= end && picture + 1 < num_pictures) end += boxes_num[++picture];
  return picture;
}

namespace cpu {

// decoded[r, k] = boxes[r] moved by deltas[r, k], clipped to [0, width] x [0, height] of its
// picture. boxes [R, 4] xyxy; deltas, decoded [R, 4 * K]; image_sizes [B, 2] (height, width), null
// when B is 0; boxes_num [B]: the first boxes_num[0] boxes are of picture 0, and so on; the last
// picture has the rest. NaN in, NaN out. T: float, double.
template <typename T>
void decode_boxes(const T* boxes, const T* deltas, const T* image_sizes, const int64_t* boxes_num,
                  const BoxCodecShape& shape, const BoxCodecNorm& norm, T* decoded);

// deltas[r] that decode_boxes turns into targets[r] from boxes[r] (no clamping). A side of no
// positive length gives an infinite or NaN delta, as the logarithm does. boxes, targets, deltas
// [R, 4]. T: float, double.
template <typename T>
void encode_boxes(const T* boxes, const T* targets, const BoxCodecShape& shape,
                  const BoxCodecNorm& norm, T* deltas);

}  // namespace cpu

#if defined(HTC_WITH_CUDA)
namespace cuda {

// As on the CPU, with device pointers, queued on `stream` (a cudaStream_t). Returns a cudaError_t.
template <typename T>
int decode_boxes(const T* boxes, const T* deltas, const T* image_sizes, const int64_t* boxes_num,
                 const BoxCodecShape& shape, const BoxCodecNorm& norm, T* decoded, void* stream);
template <typename T>
int encode_boxes(const T* boxes, const T* targets, const BoxCodecShape& shape,
                 const BoxCodecNorm& norm, T* deltas, void* stream);

}  // namespace cuda
#endif

}  // namespace htc
