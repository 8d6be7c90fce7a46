// The 16-bit types of htc/half.h on the device.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "htc/half.h"

namespace htc::cuda {

__device__ inline float to_compute(float value) { return value; }
__device__ inline double to_compute(double value) { return value; }
__device__ inline float to_compute(float16 value) {
  return __half2float(__ushort_as_half(value.bits));
}
__device__ inline float to_compute(bfloat16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}

__device__ inline void from_compute(float value, float& target) { target = value; }
__device__ inline void from_compute(double value, double& target) { target = value; }
__device__ inline void from_compute(float value, float16& target) {
  target.bits = __half_as_ushort(__float2half_rn(value));
}
__device__ inline void from_compute(float value, bfloat16& target) {
  target.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

}  // namespace htc::cuda
