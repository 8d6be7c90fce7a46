#include <algorithm>
#include <cstring>

#include "htc/parallel.h"
#include "paddle/paste_masks_input.h"

namespace htc::binding {
namespace {

constexpr auto kOp = "paste_masks_rle";

paddle::Tensor new_cpu_tensor(int64_t count, paddle::DataType dtype) {
  return new_tensor({count}, dtype, paddle::CPUPlace());
}

// Codes one after another, and where each begins.
template <typename T>
std::vector<paddle::Tensor> on_cpu(const PasteInput& input, double threshold) {
  const PasteMasksShape& shape = input.shape;
  const T* masks = input.masks.data<T>();
  const double* boxes = input.boxes.data<double>();
  const int64_t count = shape.num_masks;
  const int threads = static_cast<int>(std::clamp<int64_t>(count, 1, num_threads()));
  paddle::Tensor workspace = new_cpu_tensor(cpu::paste_masks_rle_workspace_bytes<T>(shape, threads),
                                            paddle::DataType::UINT8);
  std::vector<int64_t> slots(count + 1), lengths(count);
  cpu::paste_masks_rle_slots(boxes, shape, slots.data());
  const auto run = [&](const int64_t* into, uint8_t* codes) {
    cpu::paste_masks_rle(masks, boxes, shape, threshold, threads,
                         static_cast<void*>(workspace.data<uint8_t>()), into, codes,
                         lengths.data());
  };
  paddle::Tensor drafts = new_cpu_tensor(slots[count], paddle::DataType::UINT8);
  const uint8_t* draft = drafts.data<uint8_t>();
  run(slots.data(), drafts.data<uint8_t>());

  paddle::Tensor offsets = new_cpu_tensor(count + 1, paddle::DataType::INT64);
  int64_t* offset = offsets.data<int64_t>();
  bool all_fit = true;
  offset[0] = 0;
  for (int64_t n = 0; n < count; ++n) {
    offset[n + 1] = offset[n] + lengths[n];
    all_fit = all_fit && lengths[n] <= slots[n + 1] - slots[n];
  }
  paddle::Tensor codes = new_cpu_tensor(offset[count], paddle::DataType::UINT8);
  uint8_t* code = codes.data<uint8_t>();
  if (all_fit) {
    for (int64_t n = 0; n < count; ++n) {
      std::memcpy(code + offset[n], draft + slots[n], static_cast<size_t>(lengths[n]));
    }
  } else {
    run(offset, code);
  }
  return {codes, offsets};
}

#if defined(HTC_WITH_CUDA)
// Sums of the values before each and of all: on the host, which must know the last to make room.
paddle::Tensor offsets_of(const paddle::Tensor& values) {
  const paddle::Tensor on_host = values.copy_to(paddle::CPUPlace(), /*blocking=*/true);
  const int64_t count = values.numel();
  paddle::Tensor offsets = new_cpu_tensor(count + 1, paddle::DataType::INT64);
  const int64_t* value = on_host.data<int64_t>();
  int64_t* offset = offsets.data<int64_t>();
  offset[0] = 0;
  for (int64_t n = 0; n < count; ++n) offset[n + 1] = offset[n] + value[n];
  return offsets;
}

template <typename T>
std::vector<paddle::Tensor> on_gpu(const PasteInput& input, double threshold) {
  const PasteMasksShape& shape = input.shape;
  const auto place = input.masks.place();
  const auto allocate = [&](int64_t count, paddle::DataType dtype) {
    return new_tensor({count}, dtype, place);
  };
  void* stream = static_cast<void*>(input.masks.stream());
  paddle::Tensor workspace =
      allocate(cuda::paste_masks_workspace_bytes(shape), paddle::DataType::UINT8);
  paddle::Tensor sizes = allocate(shape.num_masks, paddle::DataType::INT64);
  if (shape.num_masks == 0) {
    return {allocate(0, paddle::DataType::UINT8),
            offsets_of(sizes).copy_to(place, /*blocking=*/true)};
  }
  void* block = static_cast<void*>(workspace.data<uint8_t>());
  check_cuda(cuda::paste_masks_rle_count(input.masks.data<T>(), input.boxes.data<double>(), shape,
                                         threshold, block, sizes.data<int64_t>(), stream),
             kOp);
  const paddle::Tensor change_sums = offsets_of(sizes);
  const paddle::Tensor change_offsets = change_sums.copy_to(place, /*blocking=*/true);
  paddle::Tensor places =
      allocate(change_sums.data<int64_t>()[shape.num_masks], paddle::DataType::INT64);
  check_cuda(cuda::paste_masks_rle_places(input.masks.data<T>(), shape, threshold, block,
                                          change_offsets.data<int64_t>(), places.data<int64_t>(),
                                          sizes.data<int64_t>(), stream),
             kOp);
  const paddle::Tensor code_sums = offsets_of(sizes);
  const paddle::Tensor code_offsets = code_sums.copy_to(place, /*blocking=*/true);
  paddle::Tensor codes =
      allocate(code_sums.data<int64_t>()[shape.num_masks], paddle::DataType::UINT8);
  check_cuda(
      cuda::paste_masks_rle_write(shape, change_offsets.data<int64_t>(), places.data<int64_t>(),
                                  code_offsets.data<int64_t>(), codes.data<uint8_t>(), stream),
      kOp);
  return {codes, code_offsets};
}
#endif

}  // namespace

std::vector<paddle::Tensor> paste_masks_rle(const paddle::Tensor& masks,
                                            const paddle::Tensor& boxes, int64_t height,
                                            int64_t width, const std::string& threshold) {
  const PasteInput input = paste_input(masks, boxes, height, width, kOp);
  HTC_DISPATCH_FLOATING(input.masks.dtype(), kOp, {
#if defined(HTC_WITH_CUDA)
    if (masks.is_gpu()) return on_gpu<scalar_t>(input, real(threshold));
#endif
    return on_cpu<scalar_t>(input, real(threshold));
  });
  return {};
}

std::vector<std::vector<int64_t>> paste_masks_rle_shape(const std::vector<int64_t>& masks,
                                                        const std::vector<int64_t>&, int64_t,
                                                        int64_t, const std::string&) {
  return {{-1}, {masks[0] < 0 ? -1 : masks[0] + 1}};
}

std::vector<paddle::DataType> paste_masks_rle_dtype(const paddle::DataType&,
                                                    const paddle::DataType&) {
  return {paddle::DataType::UINT8, paddle::DataType::INT64};
}

}  // namespace htc::binding

PD_BUILD_OP(htc_paste_masks_rle)
    .Inputs({"Masks", "Boxes"})
    .Outputs({"Codes", "Offsets"})
    .Attrs({"height: int64_t", "width: int64_t", "threshold: std::string"})
    .SetKernelFn(PD_KERNEL(htc::binding::paste_masks_rle))
    .SetInferShapeFn(PD_INFER_SHAPE(htc::binding::paste_masks_rle_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(htc::binding::paste_masks_rle_dtype));
