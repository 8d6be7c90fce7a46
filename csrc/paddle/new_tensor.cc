// The one file that looks beneath paddle::Tensor. Of DenseTensor it calls functions of Paddle's
// library alone: what the class holds differs from build to build.
#undef PADDLE_WITH_CUDA  // its header would want all of the CUDA libraries installed
#if __has_include("paddle/phi/core/dense_tensor.inl")  // Paddle 2.6 comes without
#  define HTC_OWN_MEMORY 1
#  undef PADDLE_WITH_CUSTOM_KERNEL  // for a custom kernel it leaves ResetHolder out
#else
#  define HTC_OWN_MEMORY 0
#endif

#include "paddle/new_tensor.h"

#include "htc/large_blocks.h"
#include "paddle/phi/core/dense_tensor.h"

namespace htc::binding {
namespace {

phi::DenseTensor& dense(const paddle::Tensor& tensor) {
  return *static_cast<phi::DenseTensor*>(tensor.impl().get());
}

#if HTC_OWN_MEMORY
// (paddle::from_blob would do, but the deleters that it is given get lost in some versions.)
paddle::Tensor kept_tensor(const std::vector<int64_t>& shape, int64_t bytes, paddle::DataType dtype,
                           const paddle::Place& place) {
  const LargeBlock block = take_large_block(bytes);
  if (block.data == nullptr) return paddle::empty(shape, dtype, place);  // which says so
  const auto give_back = [](phi::Allocation* memory) {
    give_large_block({memory->ptr(), static_cast<int64_t>(memory->size())});
  };
  const auto memory = std::make_shared<phi::Allocation>(
      block.data, static_cast<size_t>(block.capacity), give_back, place);
  auto tensor = paddle::empty({1}, dtype, place);
  dense(tensor).ResetHolder(memory);
  dense(tensor).Resize(phi::make_ddim(shape));
  return tensor;
}
#endif

}  // namespace

paddle::Tensor new_tensor(const std::vector<int64_t>& shape, paddle::DataType dtype,
                          const paddle::Place& place) {
  int64_t bytes = static_cast<int64_t>(phi::SizeOf(dtype));
  for (const int64_t size : shape) bytes *= size;
  if (bytes == 0) {
    auto tensor = paddle::empty({1}, dtype, place);
    dense(tensor).Resize(phi::make_ddim(shape));
    return tensor;
  }
#if HTC_OWN_MEMORY
  if (bytes >= kLargeBlock && place.GetType() == phi::AllocationType::CPU) {
    return kept_tensor(shape, bytes, dtype, place);
  }
#endif
  auto tensor = paddle::empty(shape, dtype, place);
  if (tensor.is_cpu()) prefer_large_pages(tensor.data(), bytes);
  return tensor;
}

}  // namespace htc::binding
