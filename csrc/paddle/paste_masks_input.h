// The checks that paste_masks and paste_masks_rle share.
#pragma once

#include "htc/ops/paste_masks.h"
#include "paddle/op_utils.h"

namespace htc::binding {

struct PasteInput {
  paddle::Tensor masks;  // float32 or float64
  paddle::Tensor boxes;  // float64
  PasteMasksShape shape;
};

inline PasteInput paste_input(const paddle::Tensor& masks, const paddle::Tensor& boxes,
                              int64_t height, int64_t width, const char* op) {
  check_input(masks, op, "masks");
  check_input(boxes, op, "boxes");
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, op, ": boxes must be [N, 4]");
  PD_CHECK(masks.shape().size() == 3 && masks.shape()[0] == boxes.shape()[0], op,
           ": masks must be [N, M, M'], one a box");
  PD_CHECK(same_place(masks, boxes), op, ": masks and boxes must share the device");
  PasteInput input;
  input.shape.num_masks = masks.shape()[0];
  input.shape.mask_height = masks.shape()[1];
  input.shape.mask_width = masks.shape()[2];
  input.shape.height = height;
  input.shape.width = width;
  for (const int64_t side :
       {input.shape.mask_height, input.shape.mask_width, input.shape.height, input.shape.width}) {
    PD_CHECK(side >= 0 && side <= kPasteMaxSide, op, ": sides must be 0 to 2^31 - 1");
  }
  const bool is_half =
      masks.dtype() == paddle::DataType::FLOAT16 || masks.dtype() == paddle::DataType::BFLOAT16;
  input.masks = is_half ? masks.cast(paddle::DataType::FLOAT32) : masks;
  input.boxes =
      boxes.dtype() == paddle::DataType::FLOAT64 ? boxes : boxes.cast(paddle::DataType::FLOAT64);
  return input;
}

}  // namespace htc::binding
