#include "htc/ops/mask_logits.h"
#include "paddle/op_utils.h"
#include "paddle/without_gil.h"

namespace htc::binding {

std::vector<paddle::Tensor> mask_logits(const paddle::Tensor& features,
                                        const paddle::Tensor& upsample_weight,
                                        const paddle::Tensor& upsample_bias,
                                        const paddle::Tensor& weight, const paddle::Tensor& bias,
                                        const paddle::Tensor& labels) {
  constexpr auto kOp = "mask_logits";
  check_cpu_float32(features, kOp, "features");
  check_cpu_float32(upsample_bias, kOp, "upsample_bias");
  check_cpu_float32(weight, kOp, "weight");
  check_cpu_float32(bias, kOp, "bias");
  check_input(labels, kOp, "labels");
  const auto size = features.shape(), up = upsample_weight.shape(), last = weight.shape();
  PD_CHECK(size.size() == 4, kOp, ": features must be [R, C, H, W]");
  PD_CHECK(up.size() == 4 && up[0] == size[1] && up[2] == 2 && up[3] == 2, kOp,
           ": upsample_weight must be [C, D, 2, 2], C as of features");
  PD_CHECK(upsample_bias.numel() == up[1], kOp, ": upsample_bias must be [D]");
  PD_CHECK(last.size() == 4 && last[1] == up[1] && last[2] == 1 && last[3] == 1, kOp,
           ": weight must be [classes, D, 1, 1]");
  PD_CHECK(bias.numel() == last[0], kOp, ": bias must be [classes]");
  PD_CHECK(labels.is_cpu() && labels.numel() == size[0], kOp, ": labels must be [R] on the CPU");
  const auto rows = as_int64(labels);
  for (int64_t r = 0; r < size[0]; ++r) {
    const int64_t label = rows.data<int64_t>()[r];
    PD_CHECK(label >= 0 && label < last[0], kOp, ": labels must be in 0 .. ", last[0] - 1,
             ", but label ", r, " is ", label);
  }
  MaskLogitsShape shape;
  shape.num_rois = size[0];
  shape.channels = size[1];
  shape.hidden = up[1];
  shape.height = size[2];
  shape.width = size[3];
  MaskLogitsInputs inputs;
  inputs.features = features.data<float>();
  inputs.upsample_weights = mixed_floats(upsample_weight, kOp, "upsample_weight");
  inputs.upsample_bias = upsample_bias.data<float>();
  inputs.weights = weight.data<float>();
  inputs.bias = bias.data<float>();
  inputs.labels = rows.data<int64_t>();
  auto result = new_tensor({size[0], 2 * size[2], 2 * size[3]}, features.dtype(), features.place());
  float* const target = result.data<float>();
  bool done = false;
  {
    const WithoutGil released(static_cast<double>(result.numel()) * size[1] * up[1]);
    done = cpu::mask_logits(inputs, shape, target);
  }
  PD_CHECK(done, kOp, ": there is not enough memory");
  return {result};
}

std::vector<std::vector<int64_t>> mask_logits_shape(
    const std::vector<int64_t>& features, const std::vector<int64_t>&, const std::vector<int64_t>&,
    const std::vector<int64_t>&, const std::vector<int64_t>&, const std::vector<int64_t>&) {
  const auto twice = [](int64_t size) { return size < 0 ? -1 : 2 * size; };
  return {{features[0], twice(features[2]), twice(features[3])}};
}

std::vector<paddle::DataType> mask_logits_dtype(const paddle::DataType& features,
                                                const paddle::DataType&, const paddle::DataType&,
                                                const paddle::DataType&, const paddle::DataType&,
                                                const paddle::DataType&) {
  return {features};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_mask_logits)
    .Inputs({"Features", "UpsampleWeight", "UpsampleBias", "Weight", "Bias", "Labels"})
    .Outputs({"Logits"})
    .SetKernelFn(PD_KERNEL(htc::binding::mask_logits))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::mask_logits_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::mask_logits_dtype));
