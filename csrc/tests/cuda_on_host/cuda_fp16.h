// The conversions of CUDA's 16-bit float that the kernels use, by those of htc/half.h.
#pragma once

#include "cuda_runtime.h"
#include "htc/half.h"

using __half = htc::float16;

inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline float __half2float(__half value) { return value.to_float(); }
inline __half __float2half_rn(float value) { return __half::from_float(value); }
