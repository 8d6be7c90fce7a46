// The gradient of RoIAlign scattered with atomic additions: not shipped, since its sums change from
// run to run; here to be timed beside the operator's, which gathers in a fixed order.
#pragma once

#include "htc/half.h"
#include "htc/ops/roi_align.h"

namespace htc::cuda {

// As roi_align_grad, but that `grads` are of the type that is computed in (float for 16 bits).
template <typename T>
int roi_align_grad_atomic(const T* pooled_grad, const typename Compute<T>::type* boxes,
                          const int64_t* boxes_num, const RoiAlignShape& shape,
                          typename Compute<T>::type* const* grads, void* stream);

}  // namespace htc::cuda
