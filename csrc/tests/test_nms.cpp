#include <algorithm>
#include <limits>
#include <random>

#include "cpu/radix_sort.h"
#include "htc/geometry.h"
#include "htc/ops/nms.h"
#include "htc/score_order.h"
#include "tests/check.h"

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

template <typename T>
std::vector<int64_t> run(const std::vector<T>& boxes, const std::vector<T>& scores,
                         const std::vector<int64_t>& class_ids, double iou_threshold,
                         int64_t max_keep = -1) {
  htc::NmsShape shape;
  shape.num_boxes = static_cast<int64_t>(scores.size());
  shape.max_keep = max_keep < 0 ? shape.num_boxes : max_keep;
  // Exactly as large as asked for, so that the address sanitizer sees a step beyond.
  std::vector<char> workspace(
      static_cast<size_t>(htc::cpu::nms_workspace_bytes<T>(shape.num_boxes)));
  std::vector<int64_t> kept(
      static_cast<size_t>(std::min<int64_t>(shape.num_boxes, shape.max_keep)));
  const int64_t count =
      htc::cpu::nms<T>(boxes.data(), scores.data(), class_ids.empty() ? nullptr : class_ids.data(),
                       shape, iou_threshold, workspace.data(), kept.data());
  CHECK(count <= static_cast<int64_t>(kept.size()));
  kept.resize(static_cast<size_t>(count));
  return kept;
}

using Indices = std::vector<int64_t>;

template <typename T>
void keeps_the_better_of_two() {
  // IoU of the first two: 8 * 10 / (100 + 100 - 80) = 2/3.
  const std::vector<T> boxes = {0, 0, 10, 10, 2, 0, 12, 10, 30, 0, 40, 10};
  const std::vector<T> scores = {T(0.5), T(0.9), T(0.1)};
  CHECK((run<T>(boxes, scores, {}, 0.6) == Indices{1, 2}));
  CHECK((run<T>(boxes, scores, {}, 0.7) == Indices{1, 0, 2}));
  CHECK((run<T>(boxes, scores, {1, 2, 1}, 0.6) == Indices{1, 0, 2}));
  CHECK((run<T>(boxes, scores, {1, 2, 1}, 0.6, 2) == Indices{1, 0}));
  CHECK((run<T>(boxes, scores, {}, 0.6, 0) == Indices{}));
}

void equality_is_not_above() {
  // One half of the other: IoU 1/2 exactly.
  const std::vector<float> boxes = {0, 0, 10, 20, 0, 0, 10, 10};
  CHECK((run<float>(boxes, {2, 1}, {}, 0.5) == Indices{0, 1}));
  CHECK((run<float>(boxes, {2, 1}, {}, 0.49999997) == Indices{0}));
}

void a_suppressed_box_suppresses_nothing() {
  // 0 takes 1 (IoU 2/3); 1 would have taken 2 (2/3), but 0 does not (3/7).
  const std::vector<float> boxes = {0, 0, 10, 10, 2, 0, 12, 10, 4, 0, 14, 10};
  CHECK((run<float>(boxes, {3, 2, 1}, {}, 0.5) == Indices{0, 2}));
}

void ties_and_odd_scores() {
  const std::vector<float> same = {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1};
  CHECK((run<float>(same, {0.0f, -0.0f, 0.0f}, {}, 0.5) == Indices{0}));
  CHECK((run<float>(same, {kNan, -kInf, kInf}, {7, 8, 9}, 0.5) == Indices{2, 1, 0}));
  CHECK((run<float>(same, {-kNan, kNan, -kInf}, {}, 0.5) == Indices{2}));
}

void odd_boxes_are_kept() {
  const std::vector<float> boxes = {0, 0, 0,    9, 0, 0, 0,    9, 9, 9,    0, 0, 9, 9,    0, 0,
                                    0, 0, kInf, 9, 0, 0, kInf, 9, 0, kNan, 9, 9, 0, kNan, 9, 9};
  const std::vector<float> scores = {8, 7, 6, 5, 4, 3, 2, 1};
  CHECK((run<float>(boxes, scores, {}, 0) == Indices{0, 1, 2, 3, 4, 5, 6, 7}));
}

void class_ids_at_the_ends_of_int64() {
  constexpr int64_t kLow = std::numeric_limits<int64_t>::min(),
                    kHigh = std::numeric_limits<int64_t>::max();
  const std::vector<double> boxes = {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1};
  CHECK((run<double>(boxes, {1, 2, 3, 4}, {kLow, kHigh, kLow, kHigh}, 0.5) == Indices{3, 2}));
  CHECK((run<double>(boxes, {1, 2, 3, 4}, {kHigh, kHigh - 1, kHigh, kHigh}, 0.5) == Indices{3, 1}));
}

// The rule as a double loop.
template <typename T>
Indices plain_nms(const std::vector<T>& boxes, const std::vector<T>& scores,
                  const std::vector<int64_t>& class_ids, T threshold) {
  Indices order(scores.size()), kept;
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  for (const int64_t i : order) {
    const auto box = htc::load_box(boxes.data(), i);
    bool keep = true;
    for (const int64_t k : kept) {
      const auto other = htc::load_box(boxes.data(), k);
      keep &= class_ids[static_cast<size_t>(i)] != class_ids[static_cast<size_t>(k)] ||
              !(htc::iou(other, htc::area(other), box, htc::area(box)) > threshold);
    }
    if (keep) kept.push_back(i);
  }
  return kept;
}

template <typename T>
void agrees_with_the_double_loop() {
  std::mt19937 random(1);
  for (const size_t count : {1, 7, 190, 500, 2000}) {
    for (const int64_t classes : {1, 3, 300}) {
      for (const double threshold : {0.0, 0.25, 0.5, 0.9}) {
        std::vector<T> boxes(4 * count), scores(count);
        std::vector<int64_t> class_ids(count);
        for (size_t i = 0; i < count; ++i) {
          T* box = &boxes[4 * i];
          box[0] = static_cast<T>(random() % 400);  // integers: many exact ties
          box[1] = static_cast<T>(random() % 300);
          box[2] = box[0] + static_cast<T>(1 + random() % 60);
          box[3] = box[1] + static_cast<T>(1 + random() % 60);
          scores[i] = static_cast<T>(random() % 1000);
          class_ids[i] = static_cast<int64_t>(random()) % classes;
        }
        CHECK(run<T>(boxes, scores, class_ids, threshold) ==
              plain_nms<T>(boxes, scores, class_ids, static_cast<T>(threshold)));
      }
    }
  }
}

void radix_sort_is_stable() {
  std::mt19937_64 random(2);
  for (const size_t count : {0, 1, 2, 1000}) {
    std::vector<htc::cpu::Keyed<uint64_t>> items(count), spare(count);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t key = (random() % 4) << 60 | (random() % 4) << 30 | random() % 2;
      items[i] = {key, static_cast<uint32_t>(i)};
    }
    auto expected = items;
    std::stable_sort(expected.begin(), expected.end(),
                     [](const auto& a, const auto& b) { return a.key < b.key; });
    const auto* sorted =
        htc::cpu::radix_sort(items.data(), spare.data(), static_cast<int64_t>(count));
    for (size_t i = 0; i < count; ++i) {
      CHECK(sorted[i].key == expected[i].key && sorted[i].index == expected[i].index);
    }
  }
}

void keys_rise_while_scores_fall() {
  const float falling[] = {kInf, 3e38f, 1, 1e-45f, 0, -1e-45f, -1, -3e38f, -kInf, kNan};
  for (size_t i = 1; i < std::size(falling); ++i) {
    CHECK(htc::falling_key(falling[i - 1]) < htc::falling_key(falling[i]));
  }
  CHECK(htc::falling_key(-0.0) == htc::falling_key(0.0));
  CHECK(htc::falling_key(-kNan) == htc::falling_key(kNan));
}

}  // namespace

int main() {
  keeps_the_better_of_two<float>();
  keeps_the_better_of_two<double>();
  equality_is_not_above();
  a_suppressed_box_suppresses_nothing();
  ties_and_odd_scores();
  odd_boxes_are_kept();
  class_ids_at_the_ends_of_int64();
  agrees_with_the_double_loop<float>();
  agrees_with_the_double_loop<double>();
  radix_sort_is_stable();
  keys_rise_while_scores_fall();
  CHECK((run<float>({}, {}, {}, 0.5) == Indices{}));
  return 0;
}
