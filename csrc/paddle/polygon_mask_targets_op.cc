#include <algorithm>

#include "htc/ops/polygon_mask_targets.h"
#include "htc/parallel.h"
#include "paddle/op_utils.h"

namespace htc::binding {
namespace {

constexpr auto kOp = "polygon_mask_targets";

void check_offsets(const paddle::Tensor& offsets, int64_t end, const char* name) {
  const int64_t* values = offsets.data<int64_t>();
  const int64_t count = offsets.numel();
  bool rises = values[0] == 0 && values[count - 1] == end;
  for (int64_t i = 1; i < count; ++i) rises = rises && values[i] >= values[i - 1];
  PD_CHECK(rises, kOp, ": ", name, " must rise from 0 to ", end);
}

}  // namespace

std::vector<paddle::Tensor> polygon_mask_targets(const paddle::Tensor& boxes,
                                                 const paddle::Tensor& points,
                                                 const paddle::Tensor& part_offsets,
                                                 const paddle::Tensor& gt_offsets,
                                                 const paddle::Tensor& gt_index,
                                                 int64_t target_height, int64_t target_width) {
  const paddle::Tensor* inputs[] = {&boxes, &points, &part_offsets, &gt_offsets, &gt_index};
  const char* names[] = {"boxes", "points", "part_offsets", "gt_offsets", "gt_index"};
  for (int i = 0; i < 5; ++i) {
    check_input(*inputs[i], kOp, names[i]);
    PD_CHECK(same_place(boxes, *inputs[i]), kOp, ": ", names[i], " must be on the device of boxes");
  }
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, kOp, ": boxes must be [R, 4]");
  PD_CHECK(points.shape().size() == 2 && points.shape()[1] == 2 &&
               points.dtype() == paddle::DataType::FLOAT64,
           kOp, ": points must be float64 [P, 2]");
  for (const auto* offsets : {&part_offsets, &gt_offsets}) {
    PD_CHECK(offsets->shape().size() == 1 && offsets->numel() > 0 &&
                 offsets->dtype() == paddle::DataType::INT64,
             kOp, ": offsets must be int64, one more than there are parts or ground truths");
  }
  PD_CHECK(gt_index.shape().size() == 1 && gt_index.shape()[0] == boxes.shape()[0], kOp,
           ": gt_index must be [R], one a box");
  PD_CHECK(target_height > 0 && target_width > 0, kOp, ": size must be positive");
  PolygonMaskTargetsShape shape;
  shape.num_boxes = boxes.shape()[0];
  shape.num_gts = gt_offsets.numel() - 1;
  shape.num_parts = part_offsets.numel() - 1;
  shape.num_points = points.shape()[0];
  shape.target_height = target_height;
  shape.target_width = target_width;

  const paddle::Tensor index = as_int64(gt_index);
  if (boxes.is_cpu()) {
    check_offsets(part_offsets, shape.num_points, "part_offsets");
    check_offsets(gt_offsets, shape.num_parts, "gt_offsets");
    const int64_t* indices = index.data<int64_t>();
    for (int64_t r = 0; r < shape.num_boxes; ++r) {
      PD_CHECK(indices[r] >= 0 && indices[r] < shape.num_gts, kOp, ": gt_index[", r, "] is ",
               indices[r], ", there are ", shape.num_gts, " ground truths");
    }
  }
  auto targets = new_tensor({shape.num_boxes, target_height, target_width},
                            paddle::DataType::FLOAT32, boxes.place());
  HTC_DISPATCH_FLOATING(boxes.dtype(), kOp, {
#if defined(HTC_WITH_CUDA)
    if (boxes.is_gpu()) {
      auto workspace = new_tensor({cuda::polygon_mask_targets_workspace_bytes(shape)},
                                  paddle::DataType::UINT8, boxes.place());
      check_cuda(cuda::polygon_mask_targets(
                     boxes.data<scalar_t>(), points.data<double>(), part_offsets.data<int64_t>(),
                     gt_offsets.data<int64_t>(), index.data<int64_t>(), shape,
                     static_cast<void*>(workspace.data<uint8_t>()), targets.data<float>(),
                     static_cast<void*>(boxes.stream())),
                 kOp);
      return {targets};
    }
#endif
    const int threads = static_cast<int>(std::clamp<int64_t>(shape.num_boxes, 1, num_threads()));
    auto workspace = new_tensor({cpu::polygon_mask_targets_workspace_bytes(shape, threads)},
                                paddle::DataType::UINT8, boxes.place());
    cpu::polygon_mask_targets(boxes.data<scalar_t>(), points.data<double>(),
                              part_offsets.data<int64_t>(), gt_offsets.data<int64_t>(),
                              index.data<int64_t>(), shape, threads,
                              static_cast<void*>(workspace.data<uint8_t>()), targets.data<float>());
  });
  return {targets};
}

std::vector<std::vector<int64_t>> polygon_mask_targets_shape(
    const std::vector<int64_t>& boxes, const std::vector<int64_t>&, const std::vector<int64_t>&,
    const std::vector<int64_t>&, const std::vector<int64_t>&, int64_t target_height,
    int64_t target_width) {
  return {{boxes[0], target_height, target_width}};
}

std::vector<paddle::DataType> polygon_mask_targets_dtype(const paddle::DataType&,
                                                         const paddle::DataType&,
                                                         const paddle::DataType&,
                                                         const paddle::DataType&,
                                                         const paddle::DataType&) {
  return {paddle::DataType::FLOAT32};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_polygon_mask_targets)
    .Inputs({"Boxes", "Points", "PartOffsets", "GtOffsets", "GtIndex"})
    .Outputs({"Targets"})
    .Attrs({"target_height: int64_t", "target_width: int64_t"})
    .SetKernelFn(PD_KERNEL(htc::binding::polygon_mask_targets))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::polygon_mask_targets_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::polygon_mask_targets_dtype));
