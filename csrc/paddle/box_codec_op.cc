#include "htc/ops/box_codec.h"
#include "paddle/op_utils.h"

namespace htc::binding {
namespace {

BoxCodecNorm norm_of(const std::vector<std::string>& means, const std::vector<std::string>& stds) {
  PD_CHECK(means.size() == 4 && stds.size() == 4, "box_codec: means and stds must have 4 values");
  BoxCodecNorm norm;
  for (int i = 0; i < 4; ++i) {
    norm.mean[i] = real(means[i]);
    norm.std[i] = real(stds[i]);
  }
  return norm;
}

}  // namespace

std::vector<paddle::Tensor> decode_boxes(const paddle::Tensor& boxes, const paddle::Tensor& deltas,
                                         const paddle::optional<paddle::Tensor>& image_sizes,
                                         const paddle::optional<paddle::Tensor>& boxes_num,
                                         const std::vector<std::string>& means,
                                         const std::vector<std::string>& stds,
                                         const std::string& max_log_ratio) {
  constexpr auto kOp = "decode_boxes";
  check_input(boxes, kOp, "boxes");
  check_input(deltas, kOp, "deltas");
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, kOp, ": boxes must be [R, 4]");
  PD_CHECK(deltas.shape().size() == 2 && deltas.shape()[0] == boxes.shape()[0] &&
               deltas.shape()[1] % 4 == 0,
           kOp, ": deltas must be [R, 4 * K]");
  PD_CHECK(deltas.dtype() == boxes.dtype() && same_place(boxes, deltas), kOp,
           ": boxes and deltas must share dtype and device");

  BoxCodecShape shape;
  shape.num_boxes = boxes.shape()[0];
  shape.num_deltas = deltas.shape()[1] / 4;
  paddle::Tensor counts;
  if (image_sizes) {
    check_input(*image_sizes, kOp, "image_sizes");
    PD_CHECK(boxes_num, kOp, ": image_sizes needs boxes_num");
    check_input(*boxes_num, kOp, "boxes_num");
    shape.num_pictures = image_sizes->shape()[0];
    PD_CHECK(image_sizes->shape().size() == 2 && image_sizes->shape()[1] == 2 &&
                 boxes_num->numel() == shape.num_pictures && shape.num_pictures > 0,
             kOp, ": image_sizes must be [B, 2] and boxes_num [B], B at least 1");
    PD_CHECK(image_sizes->dtype() == boxes.dtype() && same_place(boxes, *image_sizes) &&
                 same_place(boxes, *boxes_num),
             kOp, ": image_sizes must share dtype and device with boxes");
    counts = as_int64(*boxes_num);
  }
  BoxCodecNorm norm = norm_of(means, stds);
  norm.max_log_ratio = real(max_log_ratio);

  auto decoded = new_tensor(deltas.shape(), deltas.dtype(), deltas.place());
  HTC_DISPATCH_FLOATING(boxes.dtype(), kOp, {
    const scalar_t* sizes = image_sizes ? image_sizes->data<scalar_t>() : nullptr;
    const int64_t* num = image_sizes ? counts.data<int64_t>() : nullptr;
    HTC_ON_DEVICE(boxes, kOp, decode_boxes, boxes.data<scalar_t>(), deltas.data<scalar_t>(), sizes,
                  num, shape, norm, decoded.data<scalar_t>());
  });
  return {decoded};
}

std::vector<std::vector<int64_t>> decode_boxes_shape(
    const std::vector<int64_t>&, const std::vector<int64_t>& deltas,
    const paddle::optional<std::vector<int64_t>>&, const paddle::optional<std::vector<int64_t>>&,
    const std::vector<std::string>&, const std::vector<std::string>&, const std::string&) {
  return {deltas};
}

std::vector<paddle::DataType> decode_boxes_dtype(const paddle::DataType& boxes,
                                                 const paddle::DataType&,
                                                 const paddle::optional<paddle::DataType>&,
                                                 const paddle::optional<paddle::DataType>&) {
  return {boxes};
}

std::vector<paddle::Tensor> encode_boxes(const paddle::Tensor& boxes, const paddle::Tensor& targets,
                                         const std::vector<std::string>& means,
                                         const std::vector<std::string>& stds) {
  constexpr auto kOp = "encode_boxes";
  check_input(boxes, kOp, "boxes");
  check_input(targets, kOp, "targets");
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4 && targets.shape() == boxes.shape(),
           kOp, ": boxes and targets must be [R, 4]");
  PD_CHECK(targets.dtype() == boxes.dtype() && same_place(boxes, targets), kOp,
           ": boxes and targets must share dtype and device");
  BoxCodecShape shape;
  shape.num_boxes = boxes.shape()[0];
  const BoxCodecNorm norm = norm_of(means, stds);
  auto deltas = new_tensor(boxes.shape(), boxes.dtype(), boxes.place());
  HTC_DISPATCH_FLOATING(boxes.dtype(), kOp, {
    HTC_ON_DEVICE(boxes, kOp, encode_boxes, boxes.data<scalar_t>(), targets.data<scalar_t>(), shape,
                  norm, deltas.data<scalar_t>());
  });
  return {deltas};
}

std::vector<std::vector<int64_t>> encode_boxes_shape(const std::vector<int64_t>& boxes,
                                                     const std::vector<int64_t>&,
                                                     const std::vector<std::string>&,
                                                     const std::vector<std::string>&) {
  return {boxes};
}

std::vector<paddle::DataType> encode_boxes_dtype(const paddle::DataType& boxes,
                                                 const paddle::DataType&) {
  return {boxes};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_decode_boxes)
    .Inputs({"Boxes", "Deltas", paddle::Optional("ImageSizes"), paddle::Optional("BoxesNum")})
    .Outputs({"Decoded"})
    .Attrs({"means: std::vector<std::string>", "stds: std::vector<std::string>",
            "max_log_ratio: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::decode_boxes))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::decode_boxes_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::decode_boxes_dtype));

PD_BUILD_OP(htc_encode_boxes)
    .Inputs({"Boxes", "Targets"})
    .Outputs({"Deltas"})
    .Attrs({"means: std::vector<std::string>", "stds: std::vector<std::string>"})
    .SetKernelFn(PD_KERNEL(htc::binding::encode_boxes))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::encode_boxes_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::encode_boxes_dtype));
