// NMS, soft-NMS, anchor matching and the box codec: the CUDA kernels on the host give the bits of
// the CPU kernels.
#include <limits>

#include "htc/ops/box_codec.h"
#include "htc/ops/match_anchors.h"
#include "htc/ops/nms.h"
#include "htc/ops/soft_nms.h"
#include "tests/cuda/in_every_order.h"

namespace {

using on_host::boxes;
using on_host::in_every_order;
using on_host::integer;
using on_host::memory;
using on_host::same_bits;
using on_host::uniform;

template <typename T>
std::vector<T> scores(int64_t count) {
  constexpr T kOdd[] = {std::numeric_limits<T>::quiet_NaN(), -T(0), T(0),
                        std::numeric_limits<T>::infinity(), T(-1)};
  std::vector<T> result;
  for (int64_t i = 0; i < count; ++i) {
    result.push_back(integer(0, 19) == 0 ? kOdd[integer(0, 4)] : T(integer(0, 200)) / T(200));
  }
  return result;
}

template <typename T>
void nms(int64_t count, int64_t classes, int64_t max_keep, double threshold) {
  const auto box = boxes<T>(count, 200, 300, true);
  const auto score = scores<T>(count);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(integer(-1, std::max<int64_t>(classes, 1) - 2) * (int64_t{1} << 40));
  const int64_t* class_ids = classes > 0 ? ids.data() : nullptr;
  const htc::NmsShape shape{count, max_keep};
  const int64_t room = std::min(count, max_keep);

  auto scratch = memory<char>(htc::cpu::nms_workspace_bytes<T>(count));
  std::vector<int64_t> expected(static_cast<size_t>(room));
  expected.resize(static_cast<size_t>(htc::cpu::nms<T>(
      box.data(), score.data(), class_ids, shape, threshold, scratch.data(), expected.data())));
  const auto actual = in_every_order([&] {
    auto workspace = memory<char>(htc::cuda::nms_workspace_bytes<T>(count));
    auto kept = memory<int64_t>(room), num_kept = memory<int64_t>(1);
    CHECK(htc::cuda::nms<T>(box.data(), score.data(), class_ids, shape, threshold, workspace.data(),
                            kept.data(), num_kept.data(), nullptr) == 0);
    CHECK(num_kept[0] >= 0 && num_kept[0] <= room);
    kept.resize(static_cast<size_t>(num_kept[0]));
    return kept;
  });
  CHECK(same_bits(actual, expected));
}

template <typename T>
void soft_nms(int64_t count, htc::SoftNmsMethod method, double min_score) {
  const auto box = boxes<T>(count, 200, 300, true);
  const auto score = scores<T>(count);
  htc::SoftNmsRule rule;
  rule.method = method;
  rule.min_score = min_score;
  auto scratch = memory<char>(htc::cpu::soft_nms_workspace_bytes<T>(count));
  auto expected = memory<int64_t>(count);
  auto expected_scores = memory<T>(count);
  const int64_t num_expected =
      htc::cpu::soft_nms<T>(box.data(), score.data(), count, rule, scratch.data(), expected.data(),
                            expected_scores.data());
  in_every_order([&] {
    auto workspace = memory<char>(htc::cuda::soft_nms_workspace_bytes<T>(count));
    auto kept = memory<int64_t>(count), num_kept = memory<int64_t>(1);
    auto kept_scores = memory<T>(count);
    CHECK(htc::cuda::soft_nms<T>(box.data(), score.data(), count, rule, workspace.data(),
                                 kept.data(), kept_scores.data(), num_kept.data(), nullptr) == 0);
    CHECK(num_kept[0] == num_expected);
    CHECK(same_bits(kept, expected) && same_bits(kept_scores, expected_scores));
    return kept_scores;
  });
}

template <typename T>
void match_anchors(int64_t num_anchors, int64_t num_gts, int64_t num_ignores,
                   const htc::MatchRule& rule) {
  const auto anchors = boxes<T>(num_anchors, 60, 80, true);
  auto gts = boxes<T>(num_gts, 60, 80, true);
  // Some are anchors themselves: IoU 1, and ties.
  for (int64_t g = 0; g + 1 < num_gts && num_anchors > 0; g += 3) {
    const auto from = anchors.begin() + 4 * integer(0, num_anchors - 1);
    std::copy(from, from + 4, gts.begin() + 4 * g);
    std::copy(from, from + 4, gts.begin() + 4 * (g + 1));
  }
  const auto ignores = boxes<T>(num_ignores, 60, 80, true);
  const htc::MatchShape shape{num_anchors, num_gts, num_ignores};
  const int64_t bytes = htc::match_anchors_workspace_bytes<T>(shape);
  auto scratch = memory<char>(bytes);
  auto expected = memory<int64_t>(num_anchors);
  auto expected_iou = memory<T>(num_anchors);
  htc::cpu::match_anchors<T>(anchors.data(), gts.data(), ignores.data(), shape, rule,
                             scratch.data(), expected.data(), expected_iou.data());
  in_every_order([&] {
    auto workspace = memory<char>(bytes);
    auto matched = memory<int64_t>(num_anchors);
    auto max_iou = memory<T>(num_anchors);
    CHECK(htc::cuda::match_anchors<T>(anchors.data(), gts.data(), ignores.data(), shape, rule,
                                      workspace.data(), matched.data(), max_iou.data(),
                                      nullptr) == 0);
    CHECK(same_bits(matched, expected) && same_bits(max_iou, expected_iou));
    return max_iou;
  });
}

template <typename T>
void box_codec(int64_t count, int64_t per_box) {
  const auto box = boxes<T>(count, 60, 80, false), target = boxes<T>(count, 60, 80, false);
  auto deltas = memory<T>(4 * count * per_box);
  for (T& delta : deltas) delta = static_cast<T>(uniform(-6, 6));
  const std::vector<int64_t> boxes_num = {count / 3, 0, count - count / 3};
  const std::vector<T> sizes = {50, 70, 10, 10, 60, 80};
  htc::BoxCodecNorm norm;
  for (int i = 0; i < 4; ++i) norm.mean[i] = 0.1 * i, norm.std[i] = 0.1 + 0.1 * i;
  for (const int64_t pictures : {0, 3}) {
    const htc::BoxCodecShape shape{count, per_box, pictures};
    auto expected = memory<T>(4 * count * per_box), actual = expected;
    htc::cpu::decode_boxes<T>(box.data(), deltas.data(), sizes.data(), boxes_num.data(), shape,
                              norm, expected.data());
    CHECK(htc::cuda::decode_boxes<T>(box.data(), deltas.data(), sizes.data(), boxes_num.data(),
                                     shape, norm, actual.data(), nullptr) == 0);
    for (size_t i = 0; i < actual.size(); ++i) {
      CHECK_NEAR(actual[i], expected[i], 1e-5 * (1 + std::fabs(static_cast<double>(expected[i]))));
    }
    auto coded = memory<T>(4 * count), expected_coded = coded;
    htc::cpu::encode_boxes<T>(box.data(), target.data(), shape, norm, expected_coded.data());
    CHECK(htc::cuda::encode_boxes<T>(box.data(), target.data(), shape, norm, coded.data(),
                                     nullptr) == 0);
    for (size_t i = 0; i < coded.size(); ++i) {
      CHECK_NEAR(coded[i], expected_coded[i],
                 1e-4 * (1 + std::fabs(static_cast<double>(coded[i]))));
    }
  }
}

template <typename T>
void all() {
  for (const int64_t count : {0, 1, 2, 64, 65, 300}) {
    for (const double threshold : {0.0, 0.3, 0.7}) {
      nms<T>(count, 0, count, threshold);
      nms<T>(count, 4, count, threshold);
      nms<T>(count, 4, 20, threshold);
    }
  }
  for (const auto method : {htc::SoftNmsMethod::kLinear, htc::SoftNmsMethod::kGaussian}) {
    for (const int64_t count : {0, 1, 40}) soft_nms<T>(count, method, 0);
    soft_nms<T>(40, method, 1e-3);
    soft_nms<T>(1100, method, 0.98);  // more boxes than threads, few of them kept
  }
  for (const int64_t anchors : {0, 1, 255, 300}) {
    for (const int64_t gts : {0, 1, 7, 20}) {
      htc::MatchRule rule;
      match_anchors<T>(anchors, gts, 0, rule);
      rule.low_quality = false;
      rule.ignore_iof = 0.4;
      match_anchors<T>(anchors, gts, 9, rule);
      rule = {0.5, 0.5, 0.5, true, 0.3};
      match_anchors<T>(anchors, gts, 3, rule);
    }
  }
  match_anchors<T>(70, 257, 0, htc::MatchRule{});  // ground truths in two tiles
  box_codec<T>(100, 1);
  box_codec<T>(7, 3);
}

}  // namespace

int main() {
  nms<float>(8300, 300, 8300, 0.5);  // in two passes
  all<float>();
  all<double>();
  return 0;
}
