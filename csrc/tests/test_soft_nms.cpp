#include <limits>
#include <random>

#include "htc/ops/soft_nms.h"
#include "tests/check.h"

namespace {

template <typename T>
struct Result {
  std::vector<int64_t> kept;
  std::vector<T> scores;
};

template <typename T>
Result<T> run(const std::vector<T>& boxes, const std::vector<T>& scores,
              const htc::SoftNmsRule& rule) {
  const auto count = static_cast<int64_t>(scores.size());
  std::vector<char> workspace(static_cast<size_t>(htc::cpu::soft_nms_workspace_bytes<T>(count)));
  Result<T> result{std::vector<int64_t>(scores.size()), std::vector<T>(scores.size())};
  const int64_t kept =
      htc::cpu::soft_nms<T>(boxes.data(), scores.data(), count, rule, workspace.data(),
                            result.kept.data(), result.scores.data());
  result.kept.resize(static_cast<size_t>(kept));
  result.scores.resize(static_cast<size_t>(kept));
  return result;
}

using Indices = std::vector<int64_t>;

template <typename T>
void one_overlap_by_hand() {
  // IoU of the first two: 50 / 150.
  const std::vector<T> boxes = {0, 0, 10, 10, 0, 5, 10, 15, 50, 50, 60, 60};
  const std::vector<T> scores = {T(0.9), T(0.6), T(0.5)};
  htc::SoftNmsRule rule;
  auto result = run<T>(boxes, scores, rule);
  CHECK((result.kept == Indices{0, 2, 1}));
  CHECK_NEAR(result.scores[2], 0.4, 1e-6);
  rule.iou_threshold = 0.34;
  CHECK((run<T>(boxes, scores, rule).kept == Indices{0, 1, 2}));
  rule.method = htc::SoftNmsMethod::kGaussian;
  result = run<T>(boxes, scores, rule);
  CHECK((result.kept == Indices{0, 2, 1}));
  CHECK_NEAR(result.scores[2], 0.6 * std::exp(-1.0 / 9 / 0.5), 1e-6);
  rule.min_score = 0.49;
  CHECK((run<T>(boxes, scores, rule).kept == Indices{0, 2}));
}

void dropped_for_good() {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> same = {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1};
  htc::SoftNmsRule rule;
  rule.min_score = 0;
  // -0.5 * (1 - 1) is -0, which is not below 0; but the box was dropped before.
  CHECK((run<float>(same, {1, -0.5f, 0, std::numeric_limits<float>::quiet_NaN()}, rule).kept ==
         Indices{0, 2}));
  CHECK((run<float>(same, {kInf, kInf, 1, 1}, rule).kept == Indices{0, 2, 3}));
}

// Kept one by one, all scores lowered each time.
template <typename T>
Result<T> plain(const std::vector<T>& boxes, std::vector<T> scores, const htc::SoftNmsRule& rule) {
  Result<T> result;
  const bool linear = rule.method == htc::SoftNmsMethod::kLinear;
  const T threshold = linear ? static_cast<T>(rule.iou_threshold) : T(0);
  const T min_score = static_cast<T>(rule.min_score);
  std::vector<char> left(scores.size(), 1);
  for (;;) {
    size_t best = scores.size();
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!(scores[i] >= min_score)) left[i] = 0;
      if (left[i] && (best == scores.size() || scores[i] > scores[best])) best = i;
    }
    if (best == scores.size()) return result;
    result.kept.push_back(static_cast<int64_t>(best));
    result.scores.push_back(scores[best]);
    left[best] = 0;
    const auto box = htc::load_box(boxes.data(), static_cast<int64_t>(best));
    for (size_t i = 0; i < scores.size(); ++i) {
      const auto other = htc::load_box(boxes.data(), static_cast<int64_t>(i));
      const T iou = htc::iou(box, htc::area(box), other, htc::area(other));
      if (left[i] && iou > threshold) {
        scores[i] *= htc::soft_nms_weight(iou, rule.method, static_cast<T>(rule.sigma));
      }
    }
  }
}

template <typename T>
void agrees_with_the_plain_loop() {
  std::mt19937 random(1);
  for (const size_t count : {1, 7, 190, 600}) {
    for (const auto method : {htc::SoftNmsMethod::kLinear, htc::SoftNmsMethod::kGaussian}) {
      std::vector<T> boxes(4 * count), scores(count);
      for (size_t i = 0; i < count; ++i) {
        T* box = &boxes[4 * i];
        box[0] = static_cast<T>(random() % 300);
        box[1] = static_cast<T>(random() % 300);
        box[2] = box[0] + static_cast<T>(1 + random() % 60);
        box[3] = box[1] + static_cast<T>(1 + random() % 60);
        scores[i] = static_cast<T>(random() % 100) / 100;
      }
      htc::SoftNmsRule rule;
      rule.method = method;
      const auto actual = run<T>(boxes, scores, rule), expected = plain<T>(boxes, scores, rule);
      CHECK(actual.kept == expected.kept && actual.scores == expected.scores);
    }
  }
}

}  // namespace

int main() {
  one_overlap_by_hand<float>();
  one_overlap_by_hand<double>();
  dropped_for_good();
  agrees_with_the_plain_loop<float>();
  agrees_with_the_plain_loop<double>();
  CHECK(run<float>({}, {}, {}).kept.empty());
  return 0;
}
