#include "htc/ops/match_anchors.h"
#include "paddle/op_utils.h"

namespace htc::binding {
namespace {

int64_t count_boxes(const paddle::Tensor& boxes, const paddle::Tensor& anchors, const char* op,
                    const char* argument) {
  check_input(boxes, op, argument);
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, op, ": ", argument,
           " must be [N, 4]");
  PD_CHECK(boxes.dtype() == anchors.dtype() && same_place(boxes, anchors), op, ": ", argument,
           " must share dtype and device with anchors");
  return boxes.shape()[0];
}

}  // namespace

std::vector<paddle::Tensor> match_anchors(const paddle::Tensor& anchors,
                                          const paddle::Tensor& gt_boxes,
                                          const paddle::optional<paddle::Tensor>& ignore_boxes,
                                          const std::string& positive_iou,
                                          const std::string& negative_iou,
                                          const std::string& min_positive_iou,
                                          bool match_low_quality, const std::string& ignore_iof) {
  constexpr auto kOp = "match_anchors";
  MatchShape shape;
  shape.num_anchors = count_boxes(anchors, anchors, kOp, "anchors");
  shape.num_gts = count_boxes(gt_boxes, anchors, kOp, "gt_boxes");
  PD_CHECK(shape.num_gts <= INT32_MAX, kOp, ": gt_boxes must be fewer than 2^31");
  if (ignore_boxes) shape.num_ignores = count_boxes(*ignore_boxes, anchors, kOp, "ignore_boxes");
  MatchRule rule;
  rule.positive_iou = real(positive_iou);
  rule.negative_iou = real(negative_iou);
  rule.min_positive_iou = real(min_positive_iou);
  rule.low_quality = match_low_quality;
  rule.ignore_iof = real(ignore_iof);
  PD_CHECK(rule.negative_iou <= rule.positive_iou, kOp,
           ": negative_iou must not be above positive_iou");

  const std::vector<int64_t> count{shape.num_anchors};
  auto matched = new_tensor(count, paddle::DataType::INT64, anchors.place());
  auto max_iou = new_tensor(count, anchors.dtype(), anchors.place());
  HTC_DISPATCH_FLOATING(anchors.dtype(), kOp, {
    auto workspace = paddle::empty({match_anchors_workspace_bytes<scalar_t>(shape)},
                                   paddle::DataType::UINT8, anchors.place());
    const scalar_t* ignores = shape.num_ignores ? ignore_boxes->data<scalar_t>() : nullptr;
    HTC_ON_DEVICE(anchors, kOp, match_anchors, anchors.data<scalar_t>(), gt_boxes.data<scalar_t>(),
                  ignores, shape, rule, workspace.data<uint8_t>(), matched.data<int64_t>(),
                  max_iou.data<scalar_t>());
  });
  return {matched, max_iou};
}

std::vector<std::vector<int64_t>> match_anchors_shape(const std::vector<int64_t>& anchors,
                                                      const std::vector<int64_t>&,
                                                      const paddle::optional<std::vector<int64_t>>&,
                                                      const std::string&, const std::string&,
                                                      const std::string&, bool,
                                                      const std::string&) {
  return {{anchors[0]}, {anchors[0]}};
}

std::vector<paddle::DataType> match_anchors_dtype(const paddle::DataType& anchors,
                                                  const paddle::DataType&,
                                                  const paddle::optional<paddle::DataType>&) {
  return {paddle::DataType::INT64, anchors};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_match_anchors)
    .Inputs({"Anchors", "GtBoxes", paddle::Optional("IgnoreBoxes")})
    .Outputs({"Matched", "MaxIou"})
    .Attrs({"positive_iou: std::string", "negative_iou: std::string",
            "min_positive_iou: std::string", "match_low_quality: bool", "ignore_iof: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::match_anchors))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::match_anchors_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::match_anchors_dtype));
