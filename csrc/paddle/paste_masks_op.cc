#include "paddle/paste_masks_input.h"

namespace htc::binding {
namespace {

int64_t row_bytes(int64_t width, bool packed) { return packed ? packed_row_bytes(width) : width; }

// Bitmaps, or with kPacked bits. One operator each: the shape of the result is to be known early.
template <bool kPacked>
std::vector<paddle::Tensor> paste(const paddle::Tensor& masks, const paddle::Tensor& boxes,
                                  int64_t height, int64_t width, const std::string& threshold) {
  constexpr auto kOp = kPacked ? "paste_masks_packed" : "paste_masks";
  const PasteInput input = paste_input(masks, boxes, height, width, kOp);
  const PasteMasksShape& shape = input.shape;
  auto result = new_tensor({shape.num_masks, shape.height, row_bytes(shape.width, kPacked)},
                           paddle::DataType::UINT8, masks.place());
  HTC_DISPATCH_FLOATING(input.masks.dtype(), kOp, {
#if defined(HTC_WITH_CUDA)
    if (masks.is_gpu()) {
      auto workspace = new_tensor({cuda::paste_masks_workspace_bytes(shape)},
                                  paddle::DataType::UINT8, masks.place());
      const auto function =
          kPacked ? cuda::paste_masks_packed<scalar_t> : cuda::paste_masks<scalar_t>;
      check_cuda(function(input.masks.data<scalar_t>(), input.boxes.data<double>(), shape,
                          real(threshold), static_cast<void*>(workspace.data<uint8_t>()),
                          result.data<uint8_t>(), static_cast<void*>(masks.stream())),
                 kOp);
      return {result};
    }
#endif
    const auto function = kPacked ? cpu::paste_masks_packed<scalar_t> : cpu::paste_masks<scalar_t>;
    function(input.masks.data<scalar_t>(), input.boxes.data<double>(), shape, real(threshold),
             result.data<uint8_t>());
  });
  return {result};
}

template <bool kPacked>
std::vector<std::vector<int64_t>> paste_shape(const std::vector<int64_t>& masks,
                                              const std::vector<int64_t>&, int64_t height,
                                              int64_t width, const std::string&) {
  return {{masks[0], height, row_bytes(width, kPacked)}};
}

std::vector<paddle::DataType> paste_dtype(const paddle::DataType&, const paddle::DataType&) {
  return {paddle::DataType::UINT8};
}

}  // namespace
}  // namespace htc::binding

PD_BUILD_OP(htc_paste_masks)
    .Inputs({"Masks", "Boxes"})
    .Outputs({"Bitmaps"})
    .Attrs({"height: int64_t", "width: int64_t", "threshold: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::paste<false>))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::paste_shape<false>))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::paste_dtype));

PD_BUILD_OP(htc_paste_masks_packed)
    .Inputs({"Masks", "Boxes"})
    .Outputs({"Bits"})
    .Attrs({"height: int64_t", "width: int64_t", "threshold: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::paste<true>))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::paste_shape<true>))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::paste_dtype));
