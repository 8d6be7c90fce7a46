// Shared by the CUDA kernels: launch sizes, and a launch that gives its error back.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace htc::cuda {

constexpr int kThreads = 256;

// Blocks for `work` items at one item a thread, within the grid limit: kernels stride over the
// rest (`HTC_GRID_STRIDE`), so any int64 amount of work is safe.
inline unsigned blocks_for(int64_t work, int threads = kThreads) {
  const int64_t blocks = (work + threads - 1) / threads;
  constexpr int64_t kMaxBlocks = 1 << 20;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

#define HTC_GRID_STRIDE(index, count)                                               \
  for (int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; \
       index < (count); index += static_cast<int64_t>(gridDim.x) * blockDim.x)

// a / b of numbers that are not negative: 64-bit division takes some hundred instructions.
__device__ inline int64_t quotient(int64_t a, int64_t b) {
  constexpr int64_t kSmall = int64_t{1} << 32;
  if (a < kSmall && b < kSmall) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

inline cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

// Queues a kernel on `stream`. Returns the cudaError_t of this launch, not of one before it; what
// goes wrong while the kernel runs shows in a later call. (A function and not <<<>>>, so that the
// kernels compile as C++ too: csrc/tests/cuda_on_host.)
template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, int threads, void* stream,
           const Arguments&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = as_stream(stream);
  const cudaError_t status =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  // The caller is told; the next one to ask CUDA for its last error must not be told as well.
  if (status != cudaSuccess) static_cast<void>(cudaGetLastError());
  return static_cast<int>(status);
}

}  // namespace htc::cuda
