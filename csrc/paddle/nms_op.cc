#include <algorithm>

#include "htc/ops/nms.h"
#include "paddle/counted_result.h"
#include "paddle/op_utils.h"

namespace htc::binding {
namespace {

// Fills the beginning of `kept` and returns how much.
template <typename T>
int64_t run_nms(const paddle::Tensor& boxes, const paddle::Tensor& scores, const int64_t* class_ids,
                const NmsShape& shape, double iou_threshold, paddle::Tensor* kept) {
  const auto allocate = [&](int64_t count, paddle::DataType dtype) {
    return new_tensor({count}, dtype, boxes.place());
  };
#if defined(HTC_WITH_CUDA)
  if (boxes.is_gpu()) {
    paddle::Tensor workspace =
        allocate(cuda::nms_workspace_bytes<T>(shape.num_boxes), paddle::DataType::UINT8);
    paddle::Tensor count = allocate(1, paddle::DataType::INT64);
    check_cuda(cuda::nms(boxes.data<T>(), scores.data<T>(), class_ids, shape, iou_threshold,
                         static_cast<void*>(workspace.data<uint8_t>()), kept->data<int64_t>(),
                         count.data<int64_t>(), static_cast<void*>(boxes.stream())),
               "nms");
    return read_count(count);
  }
#endif
  paddle::Tensor workspace =
      allocate(cpu::nms_workspace_bytes<T>(shape.num_boxes), paddle::DataType::UINT8);
  return cpu::nms(boxes.data<T>(), scores.data<T>(), class_ids, shape, iou_threshold,
                  static_cast<void*>(workspace.data<uint8_t>()), kept->data<int64_t>());
}

}  // namespace

std::vector<paddle::Tensor> nms(const paddle::Tensor& boxes, const paddle::Tensor& scores,
                                const paddle::optional<paddle::Tensor>& class_ids,
                                const std::string& iou_threshold, int64_t max_keep) {
  constexpr auto kOp = "nms";
  check_input(boxes, kOp, "boxes");
  check_input(scores, kOp, "scores");
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, kOp, ": boxes must be [N, 4]");
  NmsShape shape;
  shape.num_boxes = boxes.shape()[0];
  shape.max_keep = max_keep < 0 ? shape.num_boxes : std::min(max_keep, shape.num_boxes);
  PD_CHECK(shape.num_boxes <= kNmsMaxBoxes, kOp, ": more than 2^31 - 1 boxes");
  PD_CHECK(scores.shape().size() == 1 && scores.shape()[0] == shape.num_boxes, kOp,
           ": scores must be [N], one a box");
  PD_CHECK(scores.dtype() == boxes.dtype() && same_place(boxes, scores), kOp,
           ": boxes and scores must share dtype and device");
  paddle::Tensor ids;
  if (class_ids) {
    check_input(*class_ids, kOp, "class_ids");
    PD_CHECK(class_ids->shape() == scores.shape() && same_place(boxes, *class_ids), kOp,
             ": class_ids must be [N], one a box, on the device of boxes");
    ids = as_int64(*class_ids);
  }
  const int64_t* id_data = class_ids ? ids.data<int64_t>() : nullptr;
  const double threshold = real(iou_threshold);
  auto kept = new_tensor({shape.max_keep}, paddle::DataType::INT64, boxes.place());
  if (shape.max_keep == 0) return {kept};
  int64_t num_kept = 0;
  HTC_DISPATCH_FLOATING(boxes.dtype(), kOp, {
    num_kept = run_nms<scalar_t>(boxes, scores, id_data, shape, threshold, &kept);
  });
  return {head(kept, num_kept)};
}

std::vector<std::vector<int64_t>> nms_shape(const std::vector<int64_t>&,
                                            const std::vector<int64_t>&,
                                            const paddle::optional<std::vector<int64_t>>&,
                                            const std::string&, int64_t) {
  return {{-1}};
}

std::vector<paddle::DataType> nms_dtype(const paddle::DataType&, const paddle::DataType&,
                                        const paddle::optional<paddle::DataType>&) {
  return {paddle::DataType::INT64};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_nms)
    .Inputs({"Boxes", "Scores", paddle::Optional("ClassIds")})
    .Outputs({"Kept"})
    .Attrs({"iou_threshold: std::string", "max_keep: int64_t"})
    .SetKernelFn(PD_KERNEL(htc::binding::nms))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::nms_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::nms_dtype));
