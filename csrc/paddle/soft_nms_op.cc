#include "htc/ops/soft_nms.h"
#include "paddle/counted_result.h"
#include "paddle/op_utils.h"

namespace htc::binding {
namespace {

// Fills the beginnings of `kept` and `kept_scores` and returns how much.
template <typename T>
int64_t run_soft_nms(const paddle::Tensor& boxes, const paddle::Tensor& scores,
                     const SoftNmsRule& rule, paddle::Tensor* kept, paddle::Tensor* kept_scores) {
  const int64_t num_boxes = boxes.shape()[0];
  const auto allocate = [&](int64_t count, paddle::DataType dtype) {
    return new_tensor({count}, dtype, boxes.place());
  };
#if defined(HTC_WITH_CUDA)
  if (boxes.is_gpu()) {
    paddle::Tensor workspace =
        allocate(cuda::soft_nms_workspace_bytes<T>(num_boxes), paddle::DataType::UINT8);
    paddle::Tensor count = allocate(1, paddle::DataType::INT64);
    check_cuda(cuda::soft_nms(boxes.data<T>(), scores.data<T>(), num_boxes, rule,
                              static_cast<void*>(workspace.data<uint8_t>()), kept->data<int64_t>(),
                              kept_scores->data<T>(), count.data<int64_t>(),
                              static_cast<void*>(boxes.stream())),
               "soft_nms");
    return read_count(count);
  }
#endif
  paddle::Tensor workspace =
      allocate(cpu::soft_nms_workspace_bytes<T>(num_boxes), paddle::DataType::UINT8);
  return cpu::soft_nms(boxes.data<T>(), scores.data<T>(), num_boxes, rule,
                       static_cast<void*>(workspace.data<uint8_t>()), kept->data<int64_t>(),
                       kept_scores->data<T>());
}

}  // namespace

std::vector<paddle::Tensor> soft_nms(const paddle::Tensor& boxes, const paddle::Tensor& scores,
                                     const std::string& iou_threshold, const std::string& sigma,
                                     const std::string& min_score, bool gaussian) {
  constexpr auto kOp = "soft_nms";
  check_input(boxes, kOp, "boxes");
  check_input(scores, kOp, "scores");
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, kOp, ": boxes must be [N, 4]");
  const int64_t num_boxes = boxes.shape()[0];
  PD_CHECK(num_boxes <= kNmsMaxBoxes, kOp, ": more than 2^31 - 1 boxes");
  PD_CHECK(scores.shape().size() == 1 && scores.shape()[0] == num_boxes, kOp,
           ": scores must be [N], one a box");
  PD_CHECK(scores.dtype() == boxes.dtype() && same_place(boxes, scores), kOp,
           ": boxes and scores must share dtype and device");
  SoftNmsRule rule;
  rule.iou_threshold = real(iou_threshold);
  rule.sigma = real(sigma);
  rule.min_score = real(min_score);
  rule.method = gaussian ? SoftNmsMethod::kGaussian : SoftNmsMethod::kLinear;

  auto kept = new_tensor({num_boxes}, paddle::DataType::INT64, boxes.place());
  auto kept_scores = new_tensor({num_boxes}, boxes.dtype(), boxes.place());
  if (num_boxes == 0) return {kept, kept_scores};
  int64_t num_kept = 0;
  HTC_DISPATCH_FLOATING(boxes.dtype(), kOp, {
    num_kept = run_soft_nms<scalar_t>(boxes, scores, rule, &kept, &kept_scores);
  });
  return {head(kept, num_kept), head(kept_scores, num_kept)};
}

std::vector<std::vector<int64_t>> soft_nms_shape(const std::vector<int64_t>&,
                                                 const std::vector<int64_t>&, const std::string&,
                                                 const std::string&, const std::string&, bool) {
  return {{-1}, {-1}};
}

std::vector<paddle::DataType> soft_nms_dtype(const paddle::DataType& boxes,
                                             const paddle::DataType&) {
  return {paddle::DataType::INT64, boxes};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_soft_nms)
    .Inputs({"Boxes", "Scores"})
    .Outputs({"Kept", "KeptScores"})
    .Attrs({"iou_threshold: std::string", "sigma: std::string", "min_score: std::string",
            "gaussian: bool"})
    .SetKernelFn(PD_KERNEL(htc::binding::soft_nms))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::soft_nms_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::soft_nms_dtype));
