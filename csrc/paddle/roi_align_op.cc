#include "htc/ops/roi_align.h"
#include "paddle/op_utils.h"

namespace htc::binding {
namespace {

constexpr auto kOp = "roi_align";
constexpr int64_t kMostPixels = int64_t{1} << 30;  // of a side
constexpr int64_t kMostBins = int64_t{1} << 15;    // of a side

// What the kernels hold 16-bit numbers in: the same bits as Paddle's own types.
template <typename T>
struct Storage {
  using type = T;
};
template <>
struct Storage<paddle::float16> {
  using type = htc::float16;
};
template <>
struct Storage<paddle::bfloat16> {
  using type = htc::bfloat16;
};

template <typename Function>
void dispatch_dtype(paddle::DataType dtype, Function&& function) {
  switch (dtype) {
    case paddle::DataType::FLOAT32:
      return function(float{});
    case paddle::DataType::FLOAT64:
      return function(double{});
    case paddle::DataType::FLOAT16:
      return function(paddle::float16{});
    case paddle::DataType::BFLOAT16:
      return function(paddle::bfloat16{});
    default:
      PD_THROW(kOp, ": features must be float32, float64, float16 or bfloat16");
  }
}

RoiAlignShape checked_shape(const std::vector<paddle::Tensor>& features,
                            const paddle::Tensor& boxes, const paddle::Tensor& boxes_num,
                            int64_t pooled_height, int64_t pooled_width,
                            const std::vector<std::string>& scales,
                            const std::string& canonical_size, int64_t sampling_ratio,
                            bool aligned) {
  PD_CHECK(
      !features.empty() && features.size() <= kMaxRoiLevels && features.size() == scales.size(),
      kOp, ": needs 1 to ", kMaxRoiLevels, " feature maps and a scale for each");
  const auto first = features[0].shape();
  RoiAlignShape shape;
  for (size_t l = 0; l < features.size(); ++l) {
    check_input(features[l], kOp, "features");
    const auto size = features[l].shape();
    PD_CHECK(size.size() == 4 && size[0] == first[0] && size[1] == first[1], kOp,
             ": features must be [B, C, H, W], B and C the same on all levels");
    PD_CHECK(size[2] <= kMostPixels && size[3] <= kMostPixels, kOp,
             ": a feature map has sides of 2^30 at most");
    PD_CHECK(features[l].dtype() == features[0].dtype() && same_place(features[l], boxes), kOp,
             ": features must share dtype, and device with boxes");
    shape.heights[l] = size[2];
    shape.widths[l] = size[3];
    shape.scales[l] = real(scales[l]);
  }
  check_input(boxes, kOp, "boxes");
  check_input(boxes_num, kOp, "boxes_num");
  PD_CHECK(boxes.shape().size() == 2 && boxes.shape()[1] == 4, kOp, ": boxes must be [R, 4]");
  const bool wide = features[0].dtype() == paddle::DataType::FLOAT64;
  PD_CHECK(boxes.dtype() == (wide ? paddle::DataType::FLOAT64 : paddle::DataType::FLOAT32), kOp,
           ": boxes must be float64 with float64 features, float32 with others");
  PD_CHECK(boxes_num.numel() == first[0] && same_place(boxes, boxes_num), kOp,
           ": boxes_num must be [B] on the device of boxes");
  PD_CHECK(first[0] > 0 || boxes.shape()[0] == 0, kOp, ": boxes without a picture");
  PD_CHECK(pooled_height > 0 && pooled_width > 0 && pooled_height <= kMostBins &&
               pooled_width <= kMostBins,
           kOp, ": output_size must be 1 to 2^15 a side");
  shape.num_rois = boxes.shape()[0];
  shape.num_pictures = first[0];
  shape.channels = first[1];
  shape.pooled_height = pooled_height;
  shape.pooled_width = pooled_width;
  shape.num_levels = static_cast<int>(features.size());
  shape.canonical_size = real(canonical_size);
  shape.sampling_ratio = sampling_ratio;
  shape.aligned = aligned;
  return shape;
}

// On the GPU the kernels give boxes left over to the last picture: looking would mean waiting.
paddle::Tensor checked_counts(const paddle::Tensor& boxes_num, int64_t num_rois) {
  const paddle::Tensor counts = as_int64(boxes_num);
  if (!counts.is_cpu()) return counts;
  const int64_t* count = counts.data<int64_t>();
  int64_t left = num_rois;
  for (int64_t i = 0; i < counts.numel(); ++i) {
    PD_CHECK(count[i] >= 0 && count[i] <= left, kOp,
             ": boxes_num must add up to the rows of boxes");
    left -= count[i];
  }
  PD_CHECK(left == 0, kOp, ": boxes_num must add up to the rows of boxes");
  return counts;
}

}  // namespace

std::vector<paddle::Tensor> roi_align_forward(const std::vector<paddle::Tensor>& features,
                                              const paddle::Tensor& boxes,
                                              const paddle::Tensor& boxes_num,
                                              int64_t pooled_height, int64_t pooled_width,
                                              const std::vector<std::string>& scales,
                                              const std::string& canonical_size,
                                              int64_t sampling_ratio, bool aligned) {
  const RoiAlignShape shape = checked_shape(features, boxes, boxes_num, pooled_height, pooled_width,
                                            scales, canonical_size, sampling_ratio, aligned);
  const paddle::Tensor counts = checked_counts(boxes_num, shape.num_rois);
  auto pooled = new_tensor({shape.num_rois, shape.channels, pooled_height, pooled_width},
                           features[0].dtype(), boxes.place());
  dispatch_dtype(features[0].dtype(), [&](auto example) {
    using P = decltype(example);
    using T = typename Storage<P>::type;
    const T* data[kMaxRoiLevels] = {};
    for (int l = 0; l < shape.num_levels; ++l) {
      data[l] = reinterpret_cast<const T*>(features[l].data<P>());
    }
    HTC_ON_DEVICE(boxes, kOp, roi_align, data, boxes.data<typename Compute<T>::type>(),
                  counts.data<int64_t>(), shape, reinterpret_cast<T*>(pooled.data<P>()));
  });
  return {pooled};
}

std::vector<paddle::Tensor> roi_align_backward(
    const std::vector<paddle::Tensor>& features, const paddle::Tensor& boxes,
    const paddle::Tensor& boxes_num, const paddle::Tensor& pooled_grad, int64_t pooled_height,
    int64_t pooled_width, const std::vector<std::string>& scales, const std::string& canonical_size,
    int64_t sampling_ratio, bool aligned) {
  const RoiAlignShape shape = checked_shape(features, boxes, boxes_num, pooled_height, pooled_width,
                                            scales, canonical_size, sampling_ratio, aligned);
  check_input(pooled_grad, kOp, "gradient");
  const std::vector<int64_t> expected = {shape.num_rois, shape.channels, pooled_height,
                                         pooled_width};
  PD_CHECK(pooled_grad.shape() == expected && pooled_grad.dtype() == features[0].dtype() &&
               same_place(pooled_grad, boxes),
           kOp, ": the gradient must have the shape, dtype and device of the result");
  const paddle::Tensor counts = checked_counts(boxes_num, shape.num_rois);
  std::vector<paddle::Tensor> grads;
  for (const auto& level : features) {
    grads.push_back(new_tensor(level.shape(), level.dtype(), level.place()));
  }
  dispatch_dtype(features[0].dtype(), [&](auto example) {
    using P = decltype(example);
    using T = typename Storage<P>::type;
    using C = typename Compute<T>::type;
    T* data[kMaxRoiLevels] = {};
    for (int l = 0; l < shape.num_levels; ++l) data[l] = reinterpret_cast<T*>(grads[l].data<P>());
    const T* source = reinterpret_cast<const T*>(pooled_grad.data<P>());
#if defined(HTC_WITH_CUDA)
    if (boxes.is_gpu()) {
      auto workspace = paddle::empty({cuda::roi_align_grad_workspace_bytes(shape)},
                                     paddle::DataType::UINT8, boxes.place());
      check_cuda(cuda::roi_align_grad(source, boxes.data<C>(), counts.data<int64_t>(), shape, data,
                                      static_cast<void*>(workspace.data<uint8_t>()),
                                      static_cast<void*>(boxes.stream())),
                 kOp);
      return;
    }
#endif
    cpu::roi_align_grad(source, boxes.data<C>(), counts.data<int64_t>(), shape, data);
  });
  return grads;
}

std::vector<std::vector<int64_t>> roi_align_shape(const std::vector<std::vector<int64_t>>& features,
                                                  const std::vector<int64_t>& boxes,
                                                  const std::vector<int64_t>&,
                                                  int64_t pooled_height, int64_t pooled_width,
                                                  const std::vector<std::string>&,
                                                  const std::string&, int64_t, bool) {
  return {{boxes[0], features[0][1], pooled_height, pooled_width}};
}

std::vector<paddle::DataType> roi_align_dtype(const std::vector<paddle::DataType>& features,
                                              const paddle::DataType&, const paddle::DataType&) {
  return {features[0]};
}

}  // namespace htc::binding

#define HTC_ROI_ALIGN_ATTRS                                                                      \
  {"pooled_height: int64_t",      "pooled_width: int64_t",   "scales: std::vector<std::string>", \
   "canonical_size: std::string", "sampling_ratio: int64_t", "aligned: bool"}

PD_BUILD_OP(htc_roi_align)
    .Inputs({paddle::Vec("Features"), "Boxes", "BoxesNum"})
    .Outputs({"Pooled"})
    .Attrs(HTC_ROI_ALIGN_ATTRS)
    .SetKernelFn(PD_KERNEL(htc::binding::roi_align_forward))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::roi_align_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::roi_align_dtype));

PD_BUILD_GRAD_OP(htc_roi_align)
    .Inputs({paddle::Vec("Features"), "Boxes", "BoxesNum", paddle::Grad("Pooled")})
    .Outputs({paddle::Grad(paddle::Vec("Features"))})
    .Attrs(HTC_ROI_ALIGN_ATTRS)
    .SetKernelFn(PD_KERNEL(htc::binding::roi_align_backward));
