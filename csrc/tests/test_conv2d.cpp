#include "htc/ops/conv2d.h"
#include "tests/check.h"
#include "tests/ramp.h"
#include "tests/threads.h"

namespace {

using Values = std::vector<float>;

struct Case {
  htc::Conv2dShape shape;
  Values x, weights, scale, bias, add;

  htc::Conv2dInputs inputs() const {
    const auto data = [](const Values& values) { return values.empty() ? nullptr : values.data(); };
    return {x.data(), weights.data(), data(scale), data(bias), data(add)};
  }
  int64_t result_size() const {
    return shape.num_pictures * shape.filters * shape.out_height() * shape.out_width();
  }
  Values run() const { return run(inputs()); }
  Values run(const htc::Conv2dInputs& given) const {
    Values result(static_cast<size_t>(result_size()), -77.f);
    CHECK(htc::cpu::conv2d(given, shape, result.data()));
    return result;
  }
};

// add: 0 none, 1 as the result, 2 half of it.
Case make(int64_t b, int64_t c, int64_t k, int64_t h, int64_t w, int64_t kernel, int64_t stride,
          int64_t padding, int add, htc::Relu relu) {
  Case result;
  htc::Conv2dShape& shape = result.shape;
  shape.num_pictures = b;
  shape.channels = c;
  shape.filters = k;
  shape.height = h;
  shape.width = w;
  shape.kernel_height = shape.kernel_width = kernel;
  shape.stride = stride;
  shape.padding = padding;
  shape.relu = relu;
  shape.half_add = add == 2;
  result.x = ramp(b * c * h * w, 11);
  result.weights = ramp(k * c * kernel * kernel, 5);
  result.scale = ramp(k, 3);
  result.bias = ramp(k, 7);
  if (add > 0) result.add = ramp(result.result_size() / (add * add), 13);
  return result;
}

double expected(const Case& one, int64_t plane, int64_t i, int64_t j) {
  const htc::Conv2dShape& s = one.shape;
  const int64_t b = plane / s.filters, k = plane % s.filters;
  double sum = 0;
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t p = 0; p < s.kernel_height; ++p) {
      for (int64_t q = 0; q < s.kernel_width; ++q) {
        const int64_t y = i * s.stride - s.padding + p, x = j * s.stride - s.padding + q;
        if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
        sum += one.x[((b * s.channels + c) * s.height + y) * s.width + x] *
               one.weights[((k * s.channels + c) * s.kernel_height + p) * s.kernel_width + q];
      }
    }
  }
  sum = sum * one.scale[k] + one.bias[k];
  if (s.relu == htc::Relu::kBeforeAdd) sum = std::max(sum, 0.0);
  const int64_t times = s.half_add ? 2 : 1;
  if (!one.add.empty()) {
    const int64_t height = s.out_height() / times, width = s.out_width() / times;
    sum += one.add[(plane * height + i / times) * width + j / times];
  }
  return s.relu == htc::Relu::kLast ? std::max(sum, 0.0) : sum;
}

void check(const Case& one, const Values& result) {
  const htc::Conv2dShape& s = one.shape;
  size_t place = 0;
  for (int64_t plane = 0; plane < s.num_pictures * s.filters; ++plane) {
    for (int64_t i = 0; i < s.out_height(); ++i) {
      for (int64_t j = 0; j < s.out_width(); ++j, ++place) {
        CHECK_NEAR(result[place], expected(one, plane, i, j), 0.5);
      }
    }
  }
  CHECK(place == result.size());
}

void check(const Case& one) {
  check(one, one.run());
  const auto x = halves(one.x), weights = halves(one.weights);
  htc::Conv2dInputs inputs = one.inputs();
  inputs.weights = weights.data();
  check(one, one.run(inputs));
  inputs.x = x.data();
  check(one, one.run(inputs));
  inputs.weights = one.weights.data();
  check(one, one.run(inputs));
}

void bfloat16_rounds_both() {
  Case one = make(1, 3, 1, 1, 1, 1, 1, 0, 0, htc::Relu::kNone);
  one.scale = {1};
  one.bias = {0};
  one.x = {1.0078125f, 1.00390625f, 3};  // 1 + 2^-7; 1 + 2^-8, half way to 1, which is even
  one.weights = {1, 100, 0};
  const auto weights = halves(one.weights);
  htc::Conv2dInputs inputs = one.inputs();
  inputs.weights = weights.data();
  CHECK(one.run(inputs)[0] == 101.0078125f);
  one.x[2] = NAN;
  CHECK(std::isnan(one.run(inputs)[0]));
}

void any_shape_is_the_sum() {
  using htc::Relu;
  check(make(1, 1, 1, 1, 1, 1, 1, 0, 0, Relu::kNone));
  check(make(2, 300, 5, 7, 9, 1, 1, 0, 1, Relu::kLast));  // more terms than are summed in one go
  check(make(3, 8, 6, 14, 14, 1, 1, 0, 1, Relu::kBeforeAdd));
  check(make(1, 6, 9, 12, 34, 1, 1, 0, 2, Relu::kNone));
  check(make(5, 3, 4, 4, 6, 1, 1, 0, 2, Relu::kLast));
  check(make(1, 3, 10, 41, 53, 7, 2, 3, 0, Relu::kLast));
  check(make(2, 5, 7, 16, 70, 3, 2, 1, 1, Relu::kLast));
  check(make(2, 4, 3, 9, 11, 3, 1, 1, 0, Relu::kNone));
  check(make(1, 7, 5, 13, 17, 1, 2, 0, 0, Relu::kNone));
  check(make(2, 2, 3, 4, 5, 5, 3, 4, 0, Relu::kNone));  // rows and columns of zeros alone
}

void threads_change_nothing() {
  const Case one = make(3, 270, 10, 21, 34, 1, 1, 0, 1, htc::Relu::kLast);
  check_threads_change_nothing([&] { return one.run(); });
}

void nothing_to_do() {
  CHECK(make(0, 2, 3, 4, 4, 1, 1, 0, 0, htc::Relu::kNone).run().empty());
  CHECK(make(1, 2, 0, 4, 4, 1, 1, 0, 0, htc::Relu::kNone).run().empty());
  CHECK(make(1, 2, 3, 2, 2, 5, 1, 0, 0, htc::Relu::kNone).run().empty());  // a kernel too large
  const Case one = make(1, 0, 2, 3, 5, 1, 1, 0, 0, htc::Relu::kNone);
  const Values result = one.run();
  for (size_t i = 0; i < result.size(); ++i) CHECK(result[i] == one.bias[i / 15]);
}

}  // namespace

int main() {
  any_shape_is_the_sum();
  bfloat16_rounds_both();
  threads_change_nothing();
  nothing_to_do();
  return 0;
}
