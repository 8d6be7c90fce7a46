#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "htc/ops/match_anchors.h"
#include "htc/parallel.h"
#include "tests/check.h"

using htc::MatchRule;
using htc::MatchShape;

namespace {

template <typename T>
struct Matches {
  std::vector<int64_t> matched;
  std::vector<T> max_iou;
};

template <typename T>
Matches<T> match(const std::vector<T>& anchors, const std::vector<T>& gts, const MatchRule& rule,
                 const std::vector<T>& ignores = {}) {
  MatchShape shape;
  shape.num_anchors = static_cast<int64_t>(anchors.size()) / 4;
  shape.num_gts = static_cast<int64_t>(gts.size()) / 4;
  shape.num_ignores = static_cast<int64_t>(ignores.size()) / 4;
  // Exactly as many bytes as asked for, and whatever lies in them.
  std::vector<char> workspace(htc::match_anchors_workspace_bytes<T>(shape), char(0x7f));
  Matches<T> result{std::vector<int64_t>(anchors.size() / 4, 99),
                    std::vector<T>(anchors.size() / 4, T(99))};
  htc::cpu::match_anchors<T>(anchors.data(), gts.data(), ignores.data(), shape, rule,
                             workspace.data(), result.matched.data(), result.max_iou.data());
  return result;
}

MatchRule rule_of(double positive, double negative, double min_positive) {
  MatchRule rule;
  rule.positive_iou = positive;
  rule.negative_iou = negative;
  rule.min_positive_iou = min_positive;
  return rule;
}

// IoUs with gt 0 = (0, 0, 10, 10): 1, 1/2, 1/4, 0.
const std::vector<float> kAnchors = {0, 0, 10, 10, 0, 0, 10, 20, 0, 0, 20, 20, 50, 50, 60, 60};

void thresholds_part_the_anchors() {
  const auto result = match<float>(kAnchors, {0, 0, 10, 10}, rule_of(0.7, 0.3, 0.3));
  CHECK((result.matched == std::vector<int64_t>{0, -2, -1, -1}));
  CHECK((result.max_iou == std::vector<float>{1, 0.5f, 0.25f, 0}));
  // Limits are inside above and outside beneath.
  const auto limits = match<float>(kAnchors, {0, 0, 10, 10}, rule_of(0.5, 0.25, 1));
  CHECK((limits.matched == std::vector<int64_t>{0, 0, -2, -1}));
}

void a_ground_truth_takes_its_best_anchors() {
  // Its best IoU is 1/4, with anchors 0 (25 of 100) and none else as good.
  const std::vector<double> anchors = {0, 0, 10, 10, 0, 0, 10, 20, 50, 50, 60, 60};
  const std::vector<double> small = {0, 0, 5, 5};
  CHECK((match<double>(anchors, small, rule_of(0.7, 0.3, 0.2)).matched ==
         std::vector<int64_t>{0, -1, -1}));
  CHECK((match<double>(anchors, small, rule_of(0.7, 0.3, 0.26)).matched ==
         std::vector<int64_t>{-1, -1, -1}));
  MatchRule none = rule_of(0.7, 0.3, 0.2);
  none.low_quality = false;
  CHECK((match<double>(anchors, small, none).matched == std::vector<int64_t>{-1, -1, -1}));
}

void ties_go_to_the_first_and_low_quality_ones_to_the_last() {
  const std::vector<float> gts = {0, 0, 10, 10, 0, 0, 10, 10, 50, 50, 60, 60, 90, 90, 95, 95};
  MatchRule rule = rule_of(0.5, 0.5, 0.5);
  rule.low_quality = false;
  CHECK((match<float>(kAnchors, gts, rule).matched == std::vector<int64_t>{0, 0, -1, 2}));
  rule.low_quality = true;
  CHECK((match<float>(kAnchors, gts, rule).matched == std::vector<int64_t>{1, 0, -1, 2}));
  // The last ground truth touches nothing: its best IoU is 0, and all anchors have it.
  rule.min_positive_iou = 0;
  CHECK((match<float>(kAnchors, gts, rule).matched == std::vector<int64_t>{3, 3, 3, 3}));
}

void ignored_anchors_count_for_nobody() {
  MatchRule rule = rule_of(0.5, 0.5, 0.3);
  rule.ignore_iof = 0.5;
  // The region holds all of anchor 0 and half of anchor 1; half is not more than half.
  const auto result = match<float>(kAnchors, {0, 0, 10, 12}, rule, {0, 0, 10, 10});
  CHECK((result.matched == std::vector<int64_t>{-2, 0, -1, -1}));
  CHECK(result.max_iou[0] == -1 && result.max_iou[1] == 0.6f);
  const auto no_gts = match<float>(kAnchors, {}, rule, {0, 0, 10, 10});
  CHECK((no_gts.matched == std::vector<int64_t>{-2, -1, -1, -1}));
  CHECK((no_gts.max_iou == std::vector<float>{-1, 0, 0, 0}));
}

void boxes_without_a_finite_area_touch_nothing() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> odd = {0, 0,   nan, 9,      -infinity, -infinity, infinity, infinity,
                                   0, nan, 9,   9,      -1e200,    -1e200,    1e200,    1e200,
                                   9, 9,   0,   0 - 0., 5,         5,         5,        5};
  const std::vector<double> plain = {-20, -20, 30, 30};
  for (const auto& result : {match<double>(odd, plain, rule_of(0.5, 0.5, 0.5)),
                             match<double>(odd, odd, rule_of(0.5, 0.5, 0.5)),
                             match<double>(plain, odd, rule_of(0.5, 0.5, 0.5))}) {
    for (const int64_t index : result.matched) CHECK(index == htc::kMatchNegative);
    for (const double iou : result.max_iou) CHECK(iou == 0);
  }
}

// Every size of the last block, every number of threads: what a plain loop over geometry.h gives.
template <typename T>
void many_boxes_as_a_plain_loop() {
  uint32_t state = 1;
  const auto next = [&](int limit) {
    state = state * 1664525u + 1013904223u;
    return static_cast<T>((state >> 16) % static_cast<uint32_t>(limit));
  };
  const auto random_boxes = [&](int count) {
    std::vector<T> boxes;
    for (int i = 0; i < count; ++i) {
      const T x = next(300), y = next(200);
      for (const T value : {x, y, x + next(60), y + next(60)}) boxes.push_back(value);
    }
    return boxes;
  };
  for (const int count : {1, 63, 64, 65, 129, 20000}) {
    const std::vector<T> anchors = random_boxes(count), gts = random_boxes(37);
    const T least = T(0.4);
    std::vector<int64_t> matched;
    std::vector<T> max_iou, best(37, T(0));
    const auto iou_of = [&](int64_t a, int64_t g) {
      const auto anchor = htc::load_box(anchors.data(), a), gt = htc::load_box(gts.data(), g);
      return htc::iou(anchor, htc::area(anchor), gt, htc::area(gt));
    };
    for (int a = 0; a < count; ++a) {
      T most = 0;
      int64_t index = 0;
      for (int g = 0; g < 37; ++g) {
        const T value = iou_of(a, g);
        if (value > most) index = g, most = value;
        if (value > best[g]) best[g] = value;
      }
      matched.push_back(most >= T(0.7) ? index : most < T(0.3) ? -1 : -2);
      max_iou.push_back(most);
    }
    for (int g = 0; g < 37; ++g) {
      for (int a = 0; a < count && best[g] >= least; ++a) {
        if (iou_of(a, g) == best[g]) matched[a] = g;
      }
    }
    for (const int threads : {1, 2, 5}) {
      htc::set_num_threads(threads);
      const auto result = match<T>(anchors, gts, rule_of(0.7, 0.3, 0.4));
      CHECK(result.matched == matched);
      CHECK(result.max_iou == max_iou);
    }
  }
}

}  // namespace

int main() {
  thresholds_part_the_anchors();
  a_ground_truth_takes_its_best_anchors();
  ties_go_to_the_first_and_low_quality_ones_to_the_last();
  ignored_anchors_count_for_nobody();
  boxes_without_a_finite_area_touch_nothing();
  many_boxes_as_a_plain_loop<float>();
  many_boxes_as_a_plain_loop<double>();
  return 0;
}
