#include "htc/ops/paste_masks.h"
#include "paddle/op_utils.h"

namespace htc::binding {
namespace {

struct PasteInput {
  paddle::Tensor masks;  // float32 or float64
  paddle::Tensor boxes;  // float64
  PasteMasksShape shape;
};

PasteInput paste_input(const paddle::Tensor& masks, const paddle::Tensor& boxes, int64_t height,
                       int64_t width, const char* op) {
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

}  // namespace

std::vector<paddle::Tensor> paste_masks(const paddle::Tensor& masks, const paddle::Tensor& boxes,
                                        int64_t height, int64_t width,
                                        const std::string& threshold) {
  constexpr auto kOp = "paste_masks";
  const PasteInput input = paste_input(masks, boxes, height, width, kOp);
  const PasteMasksShape& shape = input.shape;
  auto bitmaps = new_tensor({shape.num_masks, shape.height, shape.width}, paddle::DataType::UINT8,
                            masks.place());
  HTC_DISPATCH_FLOATING(input.masks.dtype(), kOp, {
#if defined(HTC_WITH_CUDA)
    if (masks.is_gpu()) {
      auto workspace = new_tensor({cuda::paste_masks_workspace_bytes(shape)},
                                  paddle::DataType::UINT8, masks.place());
      check_cuda(cuda::paste_masks(input.masks.data<scalar_t>(), input.boxes.data<double>(), shape,
                                   real(threshold), static_cast<void*>(workspace.data<uint8_t>()),
                                   bitmaps.data<uint8_t>(), static_cast<void*>(masks.stream())),
                 kOp);
      return {bitmaps};
    }
#endif
    cpu::paste_masks(input.masks.data<scalar_t>(), input.boxes.data<double>(), shape,
                     real(threshold), bitmaps.data<uint8_t>());
  });
  return {bitmaps};
}

std::vector<std::vector<int64_t>> paste_masks_shape(const std::vector<int64_t>& masks,
                                                    const std::vector<int64_t>&, int64_t height,
                                                    int64_t width, const std::string&) {
  return {{masks[0], height, width}};
}

std::vector<paddle::DataType> paste_masks_dtype(const paddle::DataType&, const paddle::DataType&) {
  return {paddle::DataType::UINT8};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_paste_masks)
    .Inputs({"Masks", "Boxes"})
    .Outputs({"Bitmaps"})
    .Attrs({"height: int64_t", "width: int64_t", "threshold: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::paste_masks))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::paste_masks_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::paste_masks_dtype));
