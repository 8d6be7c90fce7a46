// What the kernels use of CUDA, on the host: a .cu file of this project compiles as C++ with this
// folder before CUDA's own in the search path, and its kernels run on memory of the host.
//
// Blocks run one after another. The threads of a block are coroutines that change over only at
// barriers and warp operations, in an order that a test can choose: results that depend on it show
// that a barrier is missing. A barrier that not all threads of a block reach, a warp operation that
// not all lanes reach, and a launch that CUDA would refuse end the test or give the error back.
// Nothing here is about speed, and memory is as strong as on one processor.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static  // blocks take turns
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint4 {
  unsigned x, y, z, w;
};

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
using cudaStream_t = struct CUstream_st*;

namespace cuda_on_host {

enum class Order { kRising, kFalling, kShuffled };

// The order in which threads of a block run between barriers, and blocks of a grid.
void set_order(Order order);

cudaError_t launch(dim3 grid, dim3 block, const std::function<void()>& kernel);

// Waits for all threads of the block, or all lanes of the warp; `value` is shown to them.
void block_barrier(uint64_t value);
void warp_barrier(uint64_t value);
uint64_t shown_by_thread(unsigned thread);
uint64_t shown_by_lane(unsigned lane);

template <typename T>
uint64_t as_word(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "one word a lane");
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  return word;
}
template <typename T>
T from_word(uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof(T));
  return value;
}

}  // namespace cuda_on_host

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::max;
using std::min;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  return cuda_on_host::launch(config->gridDim, config->blockDim,
                              [=] { kernel(Parameters(arguments)...); });
}

inline cudaError_t cudaGetLastError() { return cudaSuccess; }

inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
  std::memset(memory, value, bytes);
  return cudaSuccess;
}

inline void __syncthreads() { cuda_on_host::block_barrier(0); }

inline int __syncthreads_and(int value) {
  cuda_on_host::block_barrier(value != 0);
  for (unsigned t = 0; t < blockDim.x; ++t) {
    if (cuda_on_host::shown_by_thread(t) == 0) return 0;
  }
  return 1;
}

inline void __syncwarp(unsigned = ~0u) { cuda_on_host::warp_barrier(0); }

inline unsigned __ballot_sync(unsigned, int value) {
  cuda_on_host::warp_barrier(value != 0);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    votes |= static_cast<unsigned>(cuda_on_host::shown_by_lane(lane)) << lane;
  }
  return votes;
}
inline int __any_sync(unsigned mask, int value) { return __ballot_sync(mask, value) != 0; }

template <typename T>
T __shfl_sync(unsigned, T value, int source) {
  cuda_on_host::warp_barrier(cuda_on_host::as_word(value));
  return cuda_on_host::from_word<T>(
      cuda_on_host::shown_by_lane(static_cast<unsigned>(source) % 32));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
  const unsigned lane = threadIdx.x % 32;
  return __shfl_sync(mask, value, static_cast<int>(lane + delta < 32 ? lane + delta : lane));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int other) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ other);
}

template <typename T>
T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = old + value;
  return old;
}
template <typename T>
T atomicOr(T* at, T value) {
  const T old = *at;
  *at = old | value;
  return old;
}
template <typename T>
T atomicXor(T* at, T value) {
  const T old = *at;
  *at = old ^ value;
  return old;
}
template <typename T>
T atomicMax(T* at, T value) {
  const T old = *at;
  if (value > old) *at = value;
  return old;
}

template <typename T>
T __ldcg(const T* at) {
  return *at;
}
template <typename T>
T __ldg(const T* at) {
  return *at;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __clzll(long long bits) {
  return bits == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(bits));
}
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }

inline unsigned __float_as_uint(float value) {
  return cuda_on_host::from_word<unsigned>(cuda_on_host::as_word(value));
}
inline float __uint_as_float(unsigned bits) { return cuda_on_host::from_word<float>(bits); }
inline long long __double_as_longlong(double value) {
  return cuda_on_host::from_word<long long>(cuda_on_host::as_word(value));
}
inline double __longlong_as_double(long long bits) {
  return cuda_on_host::from_word<double>(static_cast<uint64_t>(bits));
}
