#include <limits>
#include <numeric>
#include <random>

#include "htc/ops/polygon_mask_targets.h"
#include "tests/check.h"

namespace {

using htc::PolygonMaskTargetsShape;
using Part = std::vector<double>;
using Targets = std::vector<float>;

// One ground truth of the parts given, every box takes it.
template <typename T>
Targets run(const std::vector<T>& boxes, const std::vector<Part>& parts, int64_t height,
            int64_t width, const std::vector<int64_t>& gt_index, int threads = 3) {
  std::vector<double> points;
  std::vector<int64_t> part_offsets = {0};
  for (const Part& part : parts) {
    points.insert(points.end(), part.begin(), part.end());
    part_offsets.push_back(static_cast<int64_t>(points.size()) / 2);
  }
  const std::vector<int64_t> gt_offsets = {0, static_cast<int64_t>(parts.size())};
  PolygonMaskTargetsShape shape;
  shape.num_boxes = static_cast<int64_t>(gt_index.size());
  shape.num_gts = 1;
  shape.num_parts = static_cast<int64_t>(parts.size());
  shape.num_points = part_offsets.back();
  shape.target_height = height;
  shape.target_width = width;
  // Exactly as large as asked for, so that the address sanitizer sees a step beyond.
  std::vector<char> workspace(
      static_cast<size_t>(htc::cpu::polygon_mask_targets_workspace_bytes(shape, threads)), 1);
  Targets targets(static_cast<size_t>(shape.num_boxes * height * width), -1);
  htc::cpu::polygon_mask_targets<T>(boxes.data(), points.data(), part_offsets.data(),
                                    gt_offsets.data(), gt_index.data(), shape, threads,
                                    workspace.data(), targets.data());
  return targets;
}

template <typename T>
Targets of_one(const std::vector<Part>& parts, int64_t height, int64_t width) {
  return run<T>({10, 10, 30, 30}, parts, height, width, {0});
}

const Part kSquare = {10, 10, 30, 10, 30, 30, 10, 30};
const Part kLeft = {10, 10, 20, 10, 20, 30, 10, 30};

template <typename T>
void squares_and_triangles() {
  CHECK(of_one<T>({kSquare}, 3, 4) == Targets(12, 1.0f));
  CHECK((of_one<T>({kLeft}, 2, 4) == Targets{1, 1, 0, 0, 1, 1, 0, 0}));
  CHECK((of_one<T>({{10, 10, 30, 30, 10, 30}}, 3, 3) == Targets{1, 0, 0, 1, 1, 0, 1, 1, 1}));
  // The way round changes nothing.
  CHECK((of_one<T>({{10, 30, 30, 30, 10, 10}}, 3, 3) == Targets{1, 0, 0, 1, 1, 0, 1, 1, 1}));
}

template <typename T>
void parts_are_united() {
  CHECK(of_one<T>({kSquare, kLeft}, 4, 4) == Targets(16, 1.0f));
  CHECK((of_one<T>({kLeft, {25, 10, 30, 10, 30, 30, 25, 30}}, 1, 4) == Targets{1, 1, 0, 1}));
  Part twice = kSquare;
  twice.insert(twice.end(), kSquare.begin(), kSquare.end());
  CHECK(of_one<T>({twice}, 4, 4) == Targets(16, 0.0f));  // an even number of times around
  CHECK(of_one<T>({}, 4, 4) == Targets(16, 0.0f));
}

template <typename T>
void what_is_not_finite_fills_nothing() {
  constexpr T kInf = std::numeric_limits<T>::infinity(), kNan = std::numeric_limits<T>::quiet_NaN();
  for (const T wrong : {kInf, -kInf, kNan}) {
    for (size_t at = 0; at < 4; ++at) {
      std::vector<T> box = {10, 10, 30, 30};
      box[at] = wrong;
      CHECK(run<T>(box, {kSquare}, 2, 2, {0}) == Targets(4, 0.0f));
    }
    Part part = kSquare;
    part[5] = static_cast<double>(wrong);
    CHECK(of_one<T>({part}, 2, 2) == Targets(4, 0.0f));
    CHECK((of_one<T>({part, kLeft}, 1, 2) == Targets{1, 0}));  // nothing is left behind
  }
}

void indices_out_of_range_fill_nothing() {
  CHECK((run<float>({10, 10, 30, 30, 10, 10, 30, 30, 10, 10, 30, 30}, {kSquare}, 1, 1,
                    {-1, 1, 0}) == Targets{0, 0, 1}));
  CHECK(run<float>({}, {kSquare}, 2, 2, {}).empty());
}

template <typename T>
void far_points_and_huge_boxes() {
  for (const double far : {1e9, 1e18, 1e308}) {
    CHECK(of_one<T>({{-far, -far, far, -far, far, far, -far, far}}, 5, 5) == Targets(25, 1.0f));
    CHECK((of_one<T>({{20, -far, far, -far, far, far, 20, far}}, 1, 4) == Targets{0, 0, 1, 1}));
  }
  constexpr T kMost = std::numeric_limits<T>::max();
  CHECK(run<T>({-kMost, -kMost, kMost, kMost}, {kSquare}, 2, 2, {0}) == Targets(4, 0.0f));
  // A side below a pixel counts as one.
  CHECK((run<T>({10, 10, T(10.25), T(9)}, {{10, 10, 10.5, 10, 10.5, 11, 10, 11}}, 1, 2, {0}) ==
         Targets{1, 0}));
}

// The rule told step by step: the outline's grid points one after another, a crossing wherever two
// neighbours lie on both sides of a column's middle.
Targets walked(const std::vector<htc::PolygonPoint>& points, int64_t height, int64_t width) {
  std::vector<int> crossings(static_cast<size_t>(height * width + 1));
  for (size_t i = 0; i < points.size(); ++i) {
    htc::PolygonPoint from = points[i], to = points[(i + 1) % points.size()];
    const int64_t dx = std::abs(from.x - to.x), dy = std::abs(from.y - to.y);
    if (dx >= dy ? from.x > to.x : from.y > to.y) std::swap(from, to);
    const double slope =
        dx >= dy ? double(to.y - from.y) / double(dx) : double(to.x - from.x) / double(dy);
    const auto at = [&](int64_t step) -> htc::PolygonPoint {
      if (dx >= dy) return {from.x + step, int64_t(double(from.y) + slope * double(step) + 0.5)};
      return {int64_t(double(from.x) + slope * double(step) + 0.5), from.y + step};
    };
    for (int64_t step = 1; step <= std::max(dx, dy); ++step) {
      const htc::PolygonPoint a = at(step - 1), b = at(step);
      const int64_t left = std::min(a.x, b.x);
      if (a.x == b.x || left < 2 || left % 5 != 2 || left / 5 >= width) continue;
      double row = (double(std::min(a.y, b.y)) + 0.5) / 5 - 0.5;
      row = std::ceil(std::min(std::max(row, 0.0), double(height)));
      crossings[static_cast<size_t>(left / 5 * height + int64_t(row))] ^= 1;
    }
  }
  Targets target(static_cast<size_t>(height * width));
  int inside = 0;
  for (int64_t place = 0; place < height * width; ++place) {
    inside ^= crossings[static_cast<size_t>(place)];
    target[static_cast<size_t>(place % height * width + place / height)] = float(inside);
  }
  return target;
}

void edges_agree_with_a_walk() {
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    const int64_t height = 1 + random() % 9, width = 1 + random() % 9;
    // A box of `width` x `height` pixels at 0: the scale is 1.
    std::vector<htc::PolygonPoint> points;
    Part part;
    const int count = 3 + random() % 6;
    for (int i = 0; i < count; ++i) {
      for (int axis = 0; axis < 2; ++axis) {
        part.push_back(static_cast<double>(random() % 400) / 20 - 5);
      }
      points.push_back({htc::polygon_step(part[2 * i]), htc::polygon_step(part[2 * i + 1])});
    }
    const auto targets =
        run<double>({0, 0, double(width), double(height)}, {part}, height, width, {0});
    CHECK(targets == walked(points, height, width));
  }
}

void threads_change_nothing() {
  std::mt19937 random(6);
  std::vector<Part> parts(4);
  for (Part& part : parts) {
    for (int i = 0; i < 24; ++i) part.push_back(static_cast<double>(random() % 600) / 10);
  }
  std::vector<float> boxes;
  for (int r = 0; r < 60; ++r) {
    const float x = static_cast<float>(random() % 40), y = static_cast<float>(random() % 40);
    for (const float side : {x, y, x + 20, y + 13.5f}) boxes.push_back(side);
  }
  const std::vector<int64_t> gt_index(60, 0);
  const auto first = run<float>(boxes, parts, 14, 28, gt_index, 1);
  CHECK(std::accumulate(first.begin(), first.end(), 0.0f) > 100);
  for (int threads = 2; threads < 6; ++threads) {
    CHECK(run<float>(boxes, parts, 14, 28, gt_index, threads) == first);
  }
}

}  // namespace

int main() {
  squares_and_triangles<float>();
  squares_and_triangles<double>();
  parts_are_united<float>();
  parts_are_united<double>();
  what_is_not_finite_fills_nothing<float>();
  what_is_not_finite_fills_nothing<double>();
  indices_out_of_range_fill_nothing();
  far_points_and_huge_boxes<float>();
  far_points_and_huge_boxes<double>();
  edges_agree_with_a_walk();
  threads_change_nothing();
  return 0;
}
