// Paddle's headers, and tensors for results.
#pragma once

#define PADDLE_NO_PYTHON  // the library does not need Python.h, and compiles twice as fast
#include <cstdint>
#include <vector>

#include "paddle/extension.h"

namespace htc::binding {

// A new tensor, contents undefined. One without elements gets memory all the same: Paddle 2.6 takes
// an output without any for one that the operator forgot. Large ones on the CPU get kept memory
// (htc/large_blocks.h), or large pages of the system.
paddle::Tensor new_tensor(const std::vector<int64_t>& shape, paddle::DataType dtype,
                          const paddle::Place& place);

}  // namespace htc::binding
