// Results whose length the kernel finds out: it writes to tensors long enough for any outcome, and
// the operator returns their first rows.
#pragma once

#include <cstring>

#include "paddle/op_utils.h"

namespace htc::binding {

#if defined(HTC_WITH_CUDA)
// Waits for the stream: how many results there are has to be known before a tensor can hold them.
inline int64_t read_count(const paddle::Tensor& count) {
  int64_t value = 0;
  check_cuda(
      cudaMemcpyAsync(&value, count.data(), sizeof(value), cudaMemcpyDeviceToHost, count.stream()),
      "reading the number of results");
  check_cuda(cudaStreamSynchronize(count.stream()), "reading the number of results");
  return value;
}
#endif

// The first `count` elements of a tensor of one dimension: itself if these are all, else a copy, so
// that the unused memory is given back.
inline paddle::Tensor head(const paddle::Tensor& tensor, int64_t count) {
  if (count == tensor.shape()[0]) return tensor;
  paddle::Tensor result = new_tensor({count}, tensor.dtype(), tensor.place());
  const auto bytes = static_cast<size_t>(count) * phi::SizeOf(tensor.dtype());
  if (bytes == 0) return result;
#if defined(HTC_WITH_CUDA)
  if (tensor.is_gpu()) {
    check_cuda(cudaMemcpyAsync(result.data(), tensor.data(), bytes, cudaMemcpyDeviceToDevice,
                               tensor.stream()),
               "copying the result");
    return result;
  }
#endif
  std::memcpy(result.data(), tensor.data(), bytes);
  return result;
}

}  // namespace htc::binding
