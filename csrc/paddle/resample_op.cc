#include "htc/ops/resample.h"
#include "paddle/op_utils.h"

namespace htc::binding {

namespace {

void check_map(const paddle::Tensor& tensor, const char* op, const char* name) {
  check_cpu_float32(tensor, op, name);
  PD_CHECK(tensor.shape().size() == 4, op, ": ", name, " must be [B, C, H, W]");
}

}  // namespace

std::vector<paddle::Tensor> max_pool_half(const paddle::Tensor& x) {
  check_map(x, "max_pool_half", "x");
  const auto size = x.shape();
  auto result =
      new_tensor({size[0], size[1], (size[2] + 1) / 2, (size[3] + 1) / 2}, x.dtype(), x.place());
  cpu::max_pool_half(x.data<float>(), size[0] * size[1], size[2], size[3], result.data<float>());
  return {result};
}

std::vector<std::vector<int64_t>> max_pool_half_shape(const std::vector<int64_t>& x) {
  const auto half = [](int64_t size) { return size < 0 ? -1 : (size + 1) / 2; };
  return {{x[0], x[1], half(x[2]), half(x[3])}};
}

std::vector<paddle::DataType> max_pool_half_dtype(const paddle::DataType& x) { return {x}; }

std::vector<paddle::Tensor> resize_like(const paddle::Tensor& x, const paddle::Tensor& like,
                                        bool relu, bool add) {
  constexpr auto kOp = "resize_like";
  check_map(x, kOp, "x");
  check_map(like, kOp, "like");
  const auto size = x.shape(), goal = like.shape();
  PD_CHECK(size[2] > 0 && size[3] > 0, kOp, ": x must have pixels");
  PD_CHECK(!add || (goal[0] == size[0] && goal[1] == size[1]), kOp,
           ": like must have the pictures and channels of x to be added");
  cpu::ResizeShape shape;
  shape.planes = size[0] * size[1];
  shape.height = size[2];
  shape.width = size[3];
  shape.new_height = goal[2];
  shape.new_width = goal[3];
  shape.relu = relu;
  auto result = new_tensor({size[0], size[1], goal[2], goal[3]}, x.dtype(), x.place());
  cpu::resize_bilinear(x.data<float>(), add ? like.data<float>() : nullptr, shape,
                       result.data<float>());
  return {result};
}

std::vector<std::vector<int64_t>> resize_like_shape(const std::vector<int64_t>& x,
                                                    const std::vector<int64_t>& like, bool, bool) {
  return {{x[0], x[1], like[2], like[3]}};
}

std::vector<paddle::DataType> resize_like_dtype(const paddle::DataType& x,
                                                const paddle::DataType&) {
  return {x};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_max_pool_half)
    .Inputs({"X"})
    .Outputs({"Result"})
    .SetKernelFn(PD_KERNEL(htc::binding::max_pool_half))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::max_pool_half_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::max_pool_half_dtype));

PD_BUILD_OP(htc_resize_like)
    .Inputs({"X", "Like"})
    .Outputs({"Result"})
    .Attrs({"relu: bool", "add: bool"})
    .SetKernelFn(PD_KERNEL(htc::binding::resize_like))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::resize_like_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::resize_like_dtype));
