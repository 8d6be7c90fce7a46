// The line in which the boxes of soft NMS wait to be kept.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/nms_plan.h"

namespace htc::cpu {

// A box in line, with the score that it had when it was put there.
template <typename T>
struct Candidate {
  T score;
  uint32_t index;  // of the box: decides between equal scores
  uint32_t position;
};

// The boxes that are left, best first. Scores only fall, so nobody has to find a box in the line
// when its score falls: one whose score has fallen since it was put in line is put there again when
// it comes first, and whatever then comes first with its present score is the best.
template <typename T>
class CandidateQueue {
 public:
  // `fallen` has room for num_boxes.
  CandidateQueue(const NmsPlan<T>& plan, const T* scores, int64_t num_boxes, Candidate<T>* fallen)
      : plan_(plan), scores_(scores), num_boxes_(num_boxes), fallen_(fallen) {}

  // Takes the first in line; false when there is none.
  bool pop(Candidate<T>* first) {
    if (visit_ == num_boxes_ && num_fallen_ == 0) return false;
    if (visit_ < num_boxes_) {  // those whose score never fell stand in the order of the plan
      const uint32_t index = plan_.order[visit_];
      *first = {scores_[index], index, plan_.position[visit_]};
      if (num_fallen_ == 0 || !ComesLater()(*first, fallen_[0])) {
        ++visit_;
        return true;
      }
    }
    *first = fallen_[0];
    std::pop_heap(fallen_, fallen_ + num_fallen_, ComesLater());
    --num_fallen_;
    return true;
  }

  void push_back(const Candidate<T>& candidate) {
    fallen_[num_fallen_++] = candidate;
    std::push_heap(fallen_, fallen_ + num_fallen_, ComesLater());
  }

 private:
  struct ComesLater {  // an object, since a pointer to a function would not be inlined
    bool operator()(const Candidate<T>& a, const Candidate<T>& b) const {
      return a.score < b.score || (a.score == b.score && a.index > b.index);
    }
  };

  const NmsPlan<T>& plan_;
  const T* scores_;
  int64_t num_boxes_, visit_ = 0, num_fallen_ = 0;
  Candidate<T>* fallen_;  // a heap
};

}  // namespace htc::cpu
