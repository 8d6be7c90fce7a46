// Convolutions for predictions: conv2d, and conv3x3 by Winograd's minimal filtering.
#include "htc/ops/conv2d.h"
#include "htc/ops/conv3x3.h"
#include "paddle/op_utils.h"
#include "paddle/without_gil.h"

namespace htc::binding {

using Optional = paddle::optional<paddle::Tensor>;
using OptionalShape = paddle::optional<std::vector<int64_t>>;
using OptionalDtype = paddle::optional<paddle::DataType>;

namespace {

// Checks both and returns what the shapes of the two operators have in common.
template <typename Shape>
Shape shape_of(const paddle::Tensor& x, const paddle::Tensor& weight, const char* op) {
  const auto size = x.shape(), filters = weight.shape();
  PD_CHECK(size.size() == 4, op, ": x must be [B, C, H, W]");
  PD_CHECK(filters.size() == 4 && filters[1] == size[1] && filters[2] > 0 && filters[3] > 0, op,
           ": weight must be [K, C, kernel height, kernel width], C as of x");
  Shape shape;
  shape.num_pictures = size[0];
  shape.channels = size[1];
  shape.filters = filters[0];
  shape.height = size[2];
  shape.width = size[3];
  return shape;
}

// A filter's factor or bias; null where there is none.
const float* of_filters(const Optional& tensor, int64_t filters, const char* op, const char* name) {
  if (!tensor) return nullptr;
  check_cpu_float32(*tensor, op, name);
  PD_CHECK(tensor->numel() == filters, op, ": ", name, " must be [K]");
  return tensor->data<float>();
}

int64_t size_of_result(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  if (size < 0) return -1;
  return size + 2 * padding < kernel ? 0 : (size + 2 * padding - kernel) / stride + 1;
}

}  // namespace

std::vector<paddle::Tensor> conv2d(const paddle::Tensor& x, const paddle::Tensor& weight,
                                   const Optional& bias, const Optional& scale, const Optional& add,
                                   int64_t stride, int64_t padding, bool relu,
                                   bool relu_before_add) {
  constexpr auto kOp = "conv2d";
  auto shape = shape_of<Conv2dShape>(x, weight, kOp);
  PD_CHECK(stride > 0 && padding >= 0, kOp, ": stride must be positive, padding not negative");
  shape.kernel_height = weight.shape()[2];
  shape.kernel_width = weight.shape()[3];
  shape.stride = stride;
  shape.padding = padding;
  shape.relu = relu_before_add ? Relu::kBeforeAdd : relu ? Relu::kLast : Relu::kNone;
  const std::vector<int64_t> out = {shape.num_pictures, shape.filters, shape.out_height(),
                                    shape.out_width()};
  Conv2dInputs inputs;
  inputs.x = mixed_floats(x, kOp, "x");
  inputs.weights = mixed_floats(weight, kOp, "weight");
  inputs.bias = of_filters(bias, shape.filters, kOp, "bias");
  inputs.scale = of_filters(scale, shape.filters, kOp, "scale");
  if (add) {
    check_cpu_float32(*add, kOp, "add");
    shape.half_add = add->shape() != out;
    PD_CHECK(!shape.half_add ||
                 (out[2] % 2 == 0 && out[3] % 2 == 0 &&
                  add->shape() == std::vector<int64_t>({out[0], out[1], out[2] / 2, out[3] / 2})),
             kOp, ": add must be [", out[0], ", ", out[1], ", ", out[2], ", ", out[3],
             "] as the result, or half as high and wide");
    inputs.add = add->data<float>();
  }
  auto result = new_tensor(out, paddle::DataType::FLOAT32, x.place());
  float* const target = result.data<float>();
  bool done = false;
  {
    const int64_t terms = shape.channels * shape.kernel_height * shape.kernel_width;
    const WithoutGil released(static_cast<double>(result.numel()) * terms);
    done = cpu::conv2d(inputs, shape, target);
  }
  PD_CHECK(done, kOp, ": there is not enough memory");
  return {result};
}

std::vector<std::vector<int64_t>> conv2d_shape(const std::vector<int64_t>& x,
                                               const std::vector<int64_t>& weight,
                                               const OptionalShape&, const OptionalShape&,
                                               const OptionalShape&, int64_t stride,
                                               int64_t padding, bool, bool) {
  return {{x[0], weight[0], size_of_result(x[2], weight[2], stride, padding),
           size_of_result(x[3], weight[3], stride, padding)}};
}

std::vector<paddle::DataType> conv2d_dtype(const paddle::DataType&, const paddle::DataType&,
                                           const OptionalDtype&, const OptionalDtype&,
                                           const OptionalDtype&) {
  return {paddle::DataType::FLOAT32};
}

std::vector<paddle::Tensor> conv3x3(const paddle::Tensor& x, const paddle::Tensor& weight,
                                    const Optional& bias, const Optional& scale,
                                    const Optional& add, bool relu) {
  constexpr auto kOp = "conv3x3";
  check_cpu_float32(x, kOp, "x");
  auto shape = shape_of<Conv3x3Shape>(x, weight, kOp);
  PD_CHECK(weight.shape()[2] == 3 && weight.shape()[3] == 3, kOp, ": weight must be [K, C, 3, 3]");
  shape.relu = relu;
  const std::vector<int64_t> out = {shape.num_pictures, shape.filters, shape.height, shape.width};
  if (add) {
    check_cpu_float32(*add, kOp, "add");
    PD_CHECK(add->shape() == out, kOp, ": add must be [", out[0], ", ", out[1], ", ", out[2], ", ",
             out[3], "] as the result");
  }
  auto result = new_tensor(out, x.dtype(), x.place());
  const MixedFloats weights = mixed_floats(weight, kOp, "weight");
  const float* const scales = of_filters(scale, shape.filters, kOp, "scale");
  const float* const biases = of_filters(bias, shape.filters, kOp, "bias");
  const float* const pixels = x.data<float>();
  const float* const added = add ? add->data<float>() : nullptr;
  float* const target = result.data<float>();
  bool done = false;
  {
    const WithoutGil released(static_cast<double>(result.numel()) * 9 * shape.channels);
    done = cpu::conv3x3(pixels, weights, scales, biases, added, shape, target);
  }
  PD_CHECK(done, kOp, ": there is not enough memory");
  return {result};
}

std::vector<std::vector<int64_t>> conv3x3_shape(const std::vector<int64_t>& x,
                                                const std::vector<int64_t>& weight,
                                                const OptionalShape&, const OptionalShape&,
                                                const OptionalShape&, bool) {
  return {{x[0], weight[0], x[2], x[3]}};
}

std::vector<paddle::DataType> conv3x3_dtype(const paddle::DataType& x, const paddle::DataType&,
                                            const OptionalDtype&, const OptionalDtype&,
                                            const OptionalDtype&) {
  return {x};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_conv2d)
    .Inputs({"X", "Weight", paddle::Optional("Bias"), paddle::Optional("Scale"),
             paddle::Optional("Add")})
    .Outputs({"Result"})
    .Attrs({"stride: int64_t", "padding: int64_t", "relu: bool", "relu_before_add: bool"})
    .SetKernelFn(PD_KERNEL(htc::binding::conv2d))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::conv2d_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::conv2d_dtype));

PD_BUILD_OP(htc_conv3x3)
    .Inputs({"X", "Weight", paddle::Optional("Bias"), paddle::Optional("Scale"),
             paddle::Optional("Add")})
    .Outputs({"Result"})
    .Attrs({"relu: bool"})
    .SetKernelFn(PD_KERNEL(htc::binding::conv3x3))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::conv3x3_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::conv3x3_dtype));
