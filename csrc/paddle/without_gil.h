// Python's global lock, given back while a kernel works.
//
// Paddle Inference holds it through the whole of a run: without this no other Python thread of the
// process moves during a prediction, neither a second predictor nor the event loop of a service.
#pragma once

// Of the interpreter that loaded this library; null in a program that has none.
extern "C" {
__attribute__((weak)) void* _PyThreadState_UncheckedGet();
__attribute__((weak)) void* PyGILState_GetThisThreadState();
__attribute__((weak)) void* PyEval_SaveThread();
__attribute__((weak)) void PyEval_RestoreThread(void*);
}

namespace htc::binding {

// Gives the lock back, if this thread holds it, and takes it again at the end of the block. No lock
// that a thread with Python's may wait for must be taken before and held past that end.
class WithoutGil {
 public:
  // Below kLeast products it is not worth it: whoever has the lock then may keep it for some
  // milliseconds.
  static constexpr double kLeast = 1e7;

  explicit WithoutGil(double products) {
    if (products < kLeast || _PyThreadState_UncheckedGet == nullptr ||
        PyGILState_GetThisThreadState == nullptr || PyEval_SaveThread == nullptr ||
        PyEval_RestoreThread == nullptr) {
      return;
    }
    void* const own = PyGILState_GetThisThreadState();
    if (own != nullptr && _PyThreadState_UncheckedGet() == own) state_ = PyEval_SaveThread();
  }
  // Where the interpreter is ending, its threads end here, by an exception.
  ~WithoutGil() noexcept(false) {
    if (state_ != nullptr) PyEval_RestoreThread(state_);
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  void* state_ = nullptr;
};

}  // namespace htc::binding
