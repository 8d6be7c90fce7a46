#include <algorithm>

#include "htc/ops/mask_targets.h"
#include "htc/parallel.h"
#include "paddle/op_utils.h"

namespace htc::binding {

std::vector<paddle::Tensor> mask_targets(const paddle::Tensor& boxes, const paddle::Tensor& bitmaps,
                                         const paddle::Tensor& gt_index, int64_t target_height,
                                         int64_t target_width, const std::string& threshold) {
  constexpr auto kOp = "mask_targets";
  check_input(boxes, kOp, "boxes");
  check_input(bitmaps, kOp, "gt_masks");
  check_input(gt_index, kOp, "gt_index");
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, kOp, ": boxes must be [R, 4]");
  PD_CHECK(bitmaps.shape().size() == 3, kOp, ": gt_masks must be [G, H, W]");
  const bool is_bool = bitmaps.dtype() == paddle::DataType::BOOL;
  PD_CHECK(is_bool || bitmaps.dtype() == paddle::DataType::UINT8, kOp,
           ": gt_masks must be uint8 or bool");
  PD_CHECK(gt_index.shape().size() == 1 && gt_index.shape()[0] == boxes.shape()[0], kOp,
           ": gt_index must be [R], one a box");
  PD_CHECK(same_place(boxes, bitmaps) && same_place(boxes, gt_index), kOp,
           ": boxes, gt_masks and gt_index must share the device");
  PD_CHECK(target_height > 0 && target_width > 0, kOp, ": size must be positive");
  MaskTargetsShape shape;
  shape.num_boxes = boxes.shape()[0];
  shape.num_gts = bitmaps.shape()[0];
  shape.height = bitmaps.shape()[1];
  shape.width = bitmaps.shape()[2];
  shape.target_height = target_height;
  shape.target_width = target_width;

  const paddle::Tensor index = as_int64(gt_index);
  const uint8_t* bytes =
      is_bool ? reinterpret_cast<const uint8_t*>(bitmaps.data<bool>()) : bitmaps.data<uint8_t>();
  auto targets = new_tensor({shape.num_boxes, target_height, target_width},
                            paddle::DataType::FLOAT32, boxes.place());
  if (boxes.is_cpu()) {
    const int64_t* indices = index.data<int64_t>();
    for (int64_t r = 0; r < shape.num_boxes; ++r) {
      PD_CHECK(indices[r] >= 0 && indices[r] < shape.num_gts, kOp, ": gt_index[", r, "] is ",
               indices[r], ", gt_masks has ", shape.num_gts, " bitmaps");
    }
  }
  HTC_DISPATCH_FLOATING(boxes.dtype(), kOp, {
#if defined(HTC_WITH_CUDA)
    if (boxes.is_gpu()) {
      auto workspace = new_tensor({cuda::mask_targets_workspace_bytes<scalar_t>(shape)},
                                  paddle::DataType::UINT8, boxes.place());
      check_cuda(cuda::mask_targets(boxes.data<scalar_t>(), bytes, index.data<int64_t>(), shape,
                                    real(threshold), static_cast<void*>(workspace.data<uint8_t>()),
                                    targets.data<float>(), static_cast<void*>(boxes.stream())),
                 kOp);
      return {targets};
    }
#endif
    const int threads = static_cast<int>(std::clamp<int64_t>(shape.num_boxes, 1, num_threads()));
    auto workspace = new_tensor({cpu::mask_targets_workspace_bytes<scalar_t>(shape, threads)},
                                paddle::DataType::UINT8, boxes.place());
    cpu::mask_targets(boxes.data<scalar_t>(), bytes, index.data<int64_t>(), shape, real(threshold),
                      threads, static_cast<void*>(workspace.data<uint8_t>()),
                      targets.data<float>());
  });
  return {targets};
}

std::vector<std::vector<int64_t>> mask_targets_shape(const std::vector<int64_t>& boxes,
                                                     const std::vector<int64_t>&,
                                                     const std::vector<int64_t>&,
                                                     int64_t target_height, int64_t target_width,
                                                     const std::string&) {
  return {{boxes[0], target_height, target_width}};
}

std::vector<paddle::DataType> mask_targets_dtype(const paddle::DataType&, const paddle::DataType&,
                                                 const paddle::DataType&) {
  return {paddle::DataType::FLOAT32};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_mask_targets)
    .Inputs({"Boxes", "GtMasks", "GtIndex"})
    .Outputs({"Targets"})
    .Attrs({"target_height: int64_t", "target_width: int64_t", "threshold: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::mask_targets))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::mask_targets_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::mask_targets_dtype));
