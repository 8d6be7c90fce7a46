#include "htc/ops/conv3x3.h"
#include "paddle/op_utils.h"

namespace htc::binding {

std::vector<paddle::Tensor> winograd_conv(const paddle::Tensor& x, const paddle::Tensor& weight,
                                          const paddle::Tensor& bias, bool relu) {
  constexpr auto kOp = "conv3x3";
  check_input(x, kOp, "x");
  check_input(weight, kOp, "weight");
  check_input(bias, kOp, "bias");
  PD_CHECK(x.is_cpu() && weight.is_cpu() && bias.is_cpu(), kOp, ": runs on the CPU alone");
  PD_CHECK(x.dtype() == paddle::DataType::FLOAT32 && weight.dtype() == x.dtype() &&
               bias.dtype() == x.dtype(),
           kOp, ": x, weight and bias must be float32");
  const auto size = x.shape(), filters = weight.shape();
  PD_CHECK(size.size() == 4, kOp, ": x must be [B, C, H, W]");
  PD_CHECK(filters.size() == 4 && filters[1] == size[1] && filters[2] == 3 && filters[3] == 3, kOp,
           ": weight must be [K, C, 3, 3], C as of x");
  PD_CHECK(bias.numel() == filters[0], kOp, ": bias must be [K]");
  Conv3x3Shape shape;
  shape.num_pictures = size[0];
  shape.channels = size[1];
  shape.filters = filters[0];
  shape.height = size[2];
  shape.width = size[3];
  shape.relu = relu;
  auto result = new_tensor({size[0], filters[0], size[2], size[3]}, x.dtype(), x.place());
  PD_CHECK(cpu::conv3x3(x.data<float>(), weight.data<float>(), bias.data<float>(), shape,
                        result.data<float>()),
           kOp, ": there is not enough memory");
  return {result};
}

std::vector<std::vector<int64_t>> winograd_conv_shape(const std::vector<int64_t>& x,
                                                      const std::vector<int64_t>& weight,
                                                      const std::vector<int64_t>&, bool) {
  return {{x[0], weight[0], x[2], x[3]}};
}

std::vector<paddle::DataType> winograd_conv_dtype(const paddle::DataType& x,
                                                  const paddle::DataType&,
                                                  const paddle::DataType&) {
  return {x};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_winograd_conv)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Result"})
    .Attrs({"relu: bool"})
    .SetKernelFn(PD_KERNEL(htc::binding::winograd_conv))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::winograd_conv_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::winograd_conv_dtype));
