// Marks what a function may be compiled for, so that one copy of the geometry serves CPU and CUDA.
#pragma once

#if defined(__CUDACC__)
#  define HTC_HOST_DEVICE __host__ __device__
#else
#  define HTC_HOST_DEVICE
#endif

#if defined(__GNUC__) || defined(__CUDACC__)
#  define HTC_INLINE inline __attribute__((always_inline))
#  define HTC_RESTRICT __restrict__
#else
#  define HTC_INLINE inline
#  define HTC_RESTRICT
#endif
