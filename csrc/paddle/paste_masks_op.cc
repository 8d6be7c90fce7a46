#include "paddle/paste_masks_input.h"

namespace htc::binding {

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

std::vector<paddle::Tensor> paste_masks_packed(const paddle::Tensor& masks,
                                               const paddle::Tensor& boxes, int64_t height,
                                               int64_t width, const std::string& threshold) {
  constexpr auto kOp = "paste_masks_packed";
  const PasteInput input = paste_input(masks, boxes, height, width, kOp);
  const PasteMasksShape& shape = input.shape;
  auto bits = new_tensor({shape.num_masks, shape.height, packed_row_bytes(shape.width)},
                         paddle::DataType::UINT8, masks.place());
  HTC_DISPATCH_FLOATING(input.masks.dtype(), kOp, {
#if defined(HTC_WITH_CUDA)
    if (masks.is_gpu()) {
      auto workspace = new_tensor({cuda::paste_masks_workspace_bytes(shape)},
                                  paddle::DataType::UINT8, masks.place());
      check_cuda(
          cuda::paste_masks_packed(input.masks.data<scalar_t>(), input.boxes.data<double>(), shape,
                                   real(threshold), static_cast<void*>(workspace.data<uint8_t>()),
                                   bits.data<uint8_t>(), static_cast<void*>(masks.stream())),
          kOp);
      return {bits};
    }
#endif
    cpu::paste_masks_packed(input.masks.data<scalar_t>(), input.boxes.data<double>(), shape,
                            real(threshold), bits.data<uint8_t>());
  });
  return {bits};
}

std::vector<std::vector<int64_t>> paste_masks_shape(const std::vector<int64_t>& masks,
                                                    const std::vector<int64_t>&, int64_t height,
                                                    int64_t width, const std::string&) {
  return {{masks[0], height, width}};
}

std::vector<std::vector<int64_t>> paste_masks_packed_shape(const std::vector<int64_t>& masks,
                                                           const std::vector<int64_t>&,
                                                           int64_t height, int64_t width,
                                                           const std::string&) {
  return {{masks[0], height, packed_row_bytes(width)}};
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

PD_BUILD_OP(htc_paste_masks_packed)
    .Inputs({"Masks", "Boxes"})
    .Outputs({"Bits"})
    .Attrs({"height: int64_t", "width: int64_t", "threshold: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::paste_masks_packed))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::paste_masks_packed_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::paste_masks_dtype));
