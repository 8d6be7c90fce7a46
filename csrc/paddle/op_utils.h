// What every binding needs: Paddle's headers, the checks that stand behind those of Python, and
// the choice of kernel by dtype and device.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "htc/half.h"
#include "paddle/new_tensor.h"

namespace htc::binding {

// Paddle Inference hands custom ops tensors in oneDNN's blocked layouts without converting them;
// read as NCHW they would give wrong numbers silently.
inline void check_input(const paddle::Tensor& tensor, const char* op, const char* argument) {
  const auto layout = tensor.layout();
  if (layout != phi::DataLayout::NCHW && layout != phi::DataLayout::ANY &&
      layout != phi::DataLayout::UNDEFINED) {
    const std::string message =
        std::string(op) + ": " + argument +
        " must be in plain NCHW layout. It came in another one, most likely oneDNN's: pass it "
        "through paddle.assign before the operator.";
    // Paddle Inference 3.3 reports any exception as "std::exception".
    std::fprintf(stderr, "%s\n", message.c_str());
    PD_THROW(message);
  }
  PD_CHECK(tensor.is_cpu() || tensor.is_gpu(), op, ": ", argument,
           " must be a CPU or CUDA tensor.");
#if !defined(HTC_WITH_CUDA)
  PD_CHECK(!tensor.is_gpu(), op, ": ", argument,
           " is a CUDA tensor, but htc_ops was built without CUDA. Run python -m htc_ops.doctor.");
#endif
}

// For the operators that have a CPU kernel for float32 alone.
inline void check_cpu_float32(const paddle::Tensor& tensor, const char* op, const char* argument) {
  check_input(tensor, op, argument);
  PD_CHECK(tensor.is_cpu() && tensor.dtype() == paddle::DataType::FLOAT32, op, ": ", argument,
           " must be float32 on the CPU");
}

// For arguments of theirs that may be bfloat16 too.
inline MixedFloats mixed_floats(const paddle::Tensor& tensor, const char* op,
                                const char* argument) {
  if (tensor.dtype() == paddle::DataType::BFLOAT16) {
    check_input(tensor, op, argument);
    PD_CHECK(tensor.is_cpu(), op, ": ", argument, " must be on the CPU");
    return reinterpret_cast<const bfloat16*>(tensor.data<phi::dtype::bfloat16>());
  }
  check_cpu_float32(tensor, op, argument);
  return tensor.data<float>();
}

// A real-valued attribute. Paddle's `float` attributes would round 0.7 to float32, and a threshold
// must mean the same for float64 boxes; so they travel as decimal text (_library.real in Python).
inline double real(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  PD_CHECK(end != text.c_str() && *end == 0, "not a number: '", text, "'");
  return value;
}

inline bool same_place(const paddle::Tensor& a, const paddle::Tensor& b) {
  return a.is_gpu() == b.is_gpu();
}

// The boxes a picture as int64 on the tensor's own device.
inline paddle::Tensor as_int64(const paddle::Tensor& tensor) {
  return tensor.dtype() == paddle::DataType::INT64 ? tensor : tensor.cast(paddle::DataType::INT64);
}

#if defined(HTC_WITH_CUDA)
inline void check_cuda(int status, const char* op) {
  PD_CHECK(status == 0, op, ": CUDA error ", status, " (",
           cudaGetErrorString(static_cast<cudaError_t>(status)), ")");
}
#endif

}  // namespace htc::binding

// Runs the statement after it with `scalar_t` as float or double.
#define HTC_DISPATCH_FLOATING(dtype, op, ...)                                      \
  do {                                                                             \
    if ((dtype) == paddle::DataType::FLOAT32) {                                    \
      using scalar_t = float;                                                      \
      __VA_ARGS__;                                                                 \
    } else {                                                                       \
      PD_CHECK((dtype) == paddle::DataType::FLOAT64, op, ": dtype not supported"); \
      using scalar_t = double;                                                     \
      __VA_ARGS__;                                                                 \
    }                                                                              \
  } while (0)

#if defined(HTC_WITH_CUDA)
// HTC_ON_DEVICE(tensor, op, f, args...): htc::cpu::f(args...) or htc::cuda::f(args..., stream).
#  define HTC_ON_DEVICE(tensor, op, function, ...)                                        \
    do {                                                                                  \
      if ((tensor).is_gpu()) {                                                            \
        htc::binding::check_cuda(                                                         \
            htc::cuda::function(__VA_ARGS__, static_cast<void*>((tensor).stream())), op); \
      } else {                                                                            \
        htc::cpu::function(__VA_ARGS__);                                                  \
      }                                                                                   \
    } while (0)
#else
#  define HTC_ON_DEVICE(tensor, op, function, ...) htc::cpu::function(__VA_ARGS__)
#endif
