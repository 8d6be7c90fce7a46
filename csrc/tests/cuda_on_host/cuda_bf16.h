// The conversions of CUDA's bfloat16 that the kernels use, by those of htc/half.h.
#pragma once

#include "cuda_runtime.h"
#include "htc/half.h"

using __nv_bfloat16 = htc::bfloat16;

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline __nv_bfloat16 __float2bfloat16_rn(float value) { return __nv_bfloat16::from_float(value); }
