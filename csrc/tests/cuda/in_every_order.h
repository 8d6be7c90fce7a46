// Runs the CUDA kernels on the host, with the threads of a block in several orders.
#pragma once

#include <cuda_runtime.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/check.h"

namespace on_host {

// Memory of the device: exactly as large as asked for, full of garbage.
template <typename T>
std::vector<T> memory(int64_t count) {
  std::vector<T> result(static_cast<size_t>(count));
  if (count > 0) std::memset(static_cast<void*>(result.data()), 0xa5, sizeof(T) * result.size());
  return result;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), sizeof(T) * a.size()) == 0);
}

// What run() returns must not depend on the order of the threads, nor on the call before.
template <typename Run>
auto in_every_order(const Run& run) {
  using cuda_on_host::Order;
  cuda_on_host::set_order(Order::kRising);
  const auto first = run();
  for (const Order order : {Order::kFalling, Order::kShuffled, Order::kRising}) {
    cuda_on_host::set_order(order);
    CHECK(same_bits(run(), first));
  }
  return first;
}

inline std::mt19937& generator() {
  static std::mt19937 engine(7);
  return engine;
}
inline double uniform(double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(generator());
}
inline int64_t integer(int64_t low, int64_t high) {  // both may come
  return std::uniform_int_distribution<int64_t>(low, high)(generator());
}

// Boxes in clusters, on a grid of quarters so that overlaps tie, and some that no detector has.
template <typename T>
std::vector<T> boxes(int64_t count, double height, double width, bool odd) {
  const T kInf = std::numeric_limits<T>::infinity(), kNan = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> result;
  for (int64_t i = 0; i < count; ++i) {
    const double x = std::floor(uniform(-0.1, 1) * width * 4) / 4;
    const double y = std::floor(uniform(-0.1, 1) * height * 4) / 4;
    const double w = std::floor(uniform(0.5, width) * 2) / 4,
                 h = std::floor(uniform(0.5, height) * 2) / 4;
    T box[4] = {T(x), T(y), T(x + w), T(y + h)};
    if (odd && integer(0, 5) == 0) {
      const T wrong[] = {kNan, kInf, -kInf, T(1e30), T(-1e30), box[0]};
      box[integer(0, 3)] = wrong[integer(0, 5)];
    }
    result.insert(result.end(), box, box + 4);
  }
  return result;
}

}  // namespace on_host
