// COCO's compressed run-length code of a bitmap, written from the places where its pixels change.
//
// Pixels are taken in column order. The runs of 0 and of 1 follow each other, a run of 0 first (of
// length 0 where pixel 0 is 1). From the fourth run on, the difference to the run two before is
// written instead of the run. A number is cut into groups of 5 bits, lowest first, until the rest
// is the sign of the last group alone; a group is the character 48 + bits, + 32 while others
// follow. Format: COCO API, maskApi.h, rleToString.
#pragma once

#include <cstdint>

#include "htc/macros.h"

namespace htc {

// Calls write(index, character) for every character of a number and returns how many there are.
template <typename Write>
HTC_HOST_DEVICE HTC_INLINE int64_t rle_number(int64_t number, const Write& write) {
  for (int64_t index = 0;; ++index) {
    const int64_t group = number & 31;
    number >>= 5;
    const bool done = number == ((group & 16) != 0 ? -1 : 0);
    write(index, static_cast<uint8_t>(48 + group + (done ? 0 : 32)));
    if (done) return index + 1;
  }
}

class RleWriter {
 public:
  // Characters beyond `capacity` are counted and not written: a writer of capacity 0 measures.
  HTC_HOST_DEVICE HTC_INLINE RleWriter(uint8_t* code, int64_t capacity)
      : code_(code), capacity_(capacity) {}

  // Pixels change from `at` on. Places never fall; two changes at one place are none.
  HTC_HOST_DEVICE HTC_INLINE void change(int64_t at) {
    if (at == pending_) {
      pending_ = kNone;
      return;
    }
    if (pending_ != kNone) end_run(pending_);
    pending_ = at;
  }

  // To be called last, with the number of pixels. Returns the length of the code.
  HTC_HOST_DEVICE HTC_INLINE int64_t finish(int64_t pixels) {
    if (pending_ != kNone && pending_ < pixels) end_run(pending_);
    end_run(pixels);
    return length_;
  }

 private:
  HTC_HOST_DEVICE HTC_INLINE void end_run(int64_t at) {
    const int64_t run = at - start_;
    start_ = at;
    length_ += rle_number(runs_ > 2 ? run - before_last_ : run, [this](int64_t index, uint8_t c) {
      if (length_ + index < capacity_) code_[length_ + index] = c;
    });
    ++runs_;
    before_last_ = last_;
    last_ = run;
  }

  static constexpr int64_t kNone = -1;
  uint8_t* code_;
  int64_t capacity_, length_ = 0;
  int64_t pending_ = kNone;             // a change that the next one may still cancel
  int64_t start_ = 0, runs_ = 0;        // of the run at hand
  int64_t last_ = 0, before_last_ = 0;  // lengths of the two runs before it
};

}  // namespace htc
