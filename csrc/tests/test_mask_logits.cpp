#include "htc/ops/mask_logits.h"
#include "tests/check.h"
#include "tests/ramp.h"
#include "tests/threads.h"

namespace {

using Values = std::vector<float>;

struct Case {
  htc::MaskLogitsShape shape;
  Values features, up_weights, up_bias, weights, bias;
  std::vector<int64_t> labels;

  Case(int64_t rois, int64_t channels, int64_t hidden, int64_t classes, int64_t h, int64_t w) {
    shape.num_rois = rois;
    shape.channels = channels;
    shape.hidden = hidden;
    shape.height = h;
    shape.width = w;
    features = ramp(rois * channels * h * w, 11);
    up_weights = ramp(channels * hidden * 4, 5);
    up_bias = ramp(hidden, 3);
    weights = ramp(classes * hidden, 7);
    bias = ramp(classes, 13);
    for (int64_t r = 0; r < rois; ++r) labels.push_back((r * 5 + 2) % classes);
  }

  Values run() const { return run(up_weights.data()); }
  Values run(const htc::MixedFloats& upsampling) const {
    Values result(static_cast<size_t>(shape.num_rois * 4 * shape.height * shape.width), -77.f);
    CHECK(htc::cpu::mask_logits(
        {features.data(), upsampling, up_bias.data(), weights.data(), bias.data(), labels.data()},
        shape, result.data()));
    return result;
  }

  double expected(int64_t r, int64_t y, int64_t x) const {
    double logit = bias[labels[r]];
    for (int64_t d = 0; d < shape.hidden; ++d) {
      double sum = up_bias[d];
      for (int64_t c = 0; c < shape.channels; ++c) {
        sum += features[((r * shape.channels + c) * shape.height + y / 2) * shape.width + x / 2] *
               up_weights[((c * shape.hidden + d) * 2 + y % 2) * 2 + x % 2];
      }
      logit += std::max(sum, 0.0) * weights[labels[r] * shape.hidden + d];
    }
    return logit;
  }
};

void any_shape_is_the_sum() {
  for (const Case& one : {Case(1, 1, 1, 1, 1, 1), Case(3, 5, 4, 3, 14, 14), Case(7, 2, 3, 80, 3, 5),
                          Case(2, 20, 6, 4, 9, 31)}) {
    const auto half_weights = halves(one.up_weights);
    const Values result = one.run(), half_result = one.run(half_weights.data());
    size_t place = 0;
    for (int64_t r = 0; r < one.shape.num_rois; ++r) {
      for (int64_t y = 0; y < 2 * one.shape.height; ++y) {
        for (int64_t x = 0; x < 2 * one.shape.width; ++x, ++place) {
          CHECK_NEAR(result[place], one.expected(r, y, x), 0.5);
          CHECK_NEAR(half_result[place], one.expected(r, y, x), 0.5);
        }
      }
    }
  }
}

void threads_change_nothing() {
  const Case one(9, 12, 5, 6, 14, 14);
  check_threads_change_nothing([&] { return one.run(); });
}

void nothing_to_do() {
  CHECK(Case(0, 2, 3, 4, 5, 5).run().empty());
  CHECK(Case(2, 2, 3, 4, 0, 5).run().empty());
  const Case one(2, 0, 0, 4, 2, 2);
  const Values result = one.run();
  for (size_t i = 0; i < result.size(); ++i) CHECK(result[i] == one.bias[one.labels[i / 16]]);
}

}  // namespace

int main() {
  any_shape_is_the_sum();
  threads_change_nothing();
  nothing_to_do();
  return 0;
}
