// Hands out the parts of one block of scratch memory. With a null block it only counts, so the
// size that a kernel asks for and the way it uses it are one piece of code. On the host, for memory
// of the host or the device.
#pragma once

#include <cstdint>

namespace htc {

class Workspace {
 public:
  explicit Workspace(void* block) : block_(static_cast<char*>(block)) {}

  // `count` objects of T, not initialised.
  template <typename T>
  T* take(int64_t count) {
    T* part = block_ ? reinterpret_cast<T*>(block_ + used_) : nullptr;
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }

  int64_t used() const { return used_; }

 private:
  static constexpr int64_t kAlignment = 256;
  char* block_;
  int64_t used_ = 0;
};

}  // namespace htc
