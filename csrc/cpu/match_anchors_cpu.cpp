// How it is fast. Anchors come in rows of the picture, so kBlock of them in a row lie in a small
// part of it. A ground truth that does not reach into the block's bounding box has IoU 0 with all
// of them and changes nothing; most blocks meet none. Where one does, it is compared with a vector
// of anchors at a time, the block's anchors laid out by coordinate in the first-level cache.
//
// The ground truths' best IoUs are one shared array of atomic maxima, seldom written; a maximum
// does not depend on the order, so neither do the results on the threads. The second pass hands
// out low-quality matches. An anchor can tie with a ground truth's best only if its own best is as
// large, so the first pass's results name the few blocks that are looked at again.
#include <algorithm>
#include <limits>

#include "htc/ops/match_anchors.h"
#include "htc/parallel.h"

#define HTC_TARGET_SOURCE "cpu/match_anchors_cpu.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"
#include "cpu/simd_boxes.h"

namespace htc::cpu::HTC_TARGET {
namespace match {

constexpr int kBlock = 64;  // anchors; a multiple of every target's lanes
constexpr int64_t kPairsPerRange = 32768;
constexpr int64_t kAnchorsPerRange = 4096;

// Boxes by coordinate, padded with no_box() to whole vectors.
template <typename T>
struct BoxTable {
  T *x1, *y1, *x2, *y2;
  int64_t count = 0, padded = 0;

  T* place(T* memory, int64_t number) {
    count = number;
    padded = (number + 15) / 16 * 16;
    x1 = memory;
    y1 = x1 + padded;
    x2 = y1 + padded;
    y2 = x2 + padded;
    return y2 + padded;
  }

  void fill(const T* boxes) {
    for (int64_t i = 0; i < padded; ++i) {
      const Box<T> box = i < count ? load_box_or_none(boxes, i) : no_box<T>();
      x1[i] = box.x1;
      y1[i] = box.y1;
      x2[i] = box.x2;
      y2[i] = box.y2;
    }
  }

  // One bit a box from `first` on, of a vector of them: those that may intersect a box inside
  // `bounds`.
  HTC_INLINE Mask<T> reaching(int64_t first, const Box<T>& bounds) const {
    return (load(x1 + first) < broadcast(bounds.x2)) & (load(x2 + first) > broadcast(bounds.x1)) &
           (load(y1 + first) < broadcast(bounds.y2)) & (load(y2 + first) > broadcast(bounds.y1));
  }

  HTC_INLINE Box<T> operator[](int64_t i) const { return {x1[i], y1[i], x2[i], y2[i]}; }
};

template <typename T>
struct Task {
  const T* anchors;
  MatchShape shape;
  MatchRule rule;
  BoxTable<T> gts, ignores;
  T* gt_area;    // [G]
  T* best;       // [G]: each ground truth's best IoU; between the passes it becomes the IoU at
                 // which it takes an anchor (infinity: at none)
  T least_best;  // of these
  int64_t taker_of_all;  // the last ground truth that takes anchors at IoU 0, or -1
  int64_t* matched;
  T* max_iou;
};

// kBlock anchors by coordinate.
template <typename T>
struct Block {
  alignas(64) T x1[kBlock];
  alignas(64) T y1[kBlock];
  alignas(64) T x2[kBlock];
  alignas(64) T y2[kBlock];
  alignas(64) T area[kBlock];
};

// What holds all finite ones of kBlock anchors. (Infinite ones may make it larger than needed.)
template <typename T>
HTC_INLINE Box<T> bounds_of(const T* anchors) {
  constexpr int kParts = kLanes<T> < 4 ? 4 / kLanes<T> : 1;  // vectors that a box fills
  constexpr int kStep = kParts * kLanes<T>;
  Vec<T> low[kParts], high[kParts];
  for (int part = 0; part < kParts; ++part) {
    low[part] = broadcast(std::numeric_limits<T>::infinity());
    high[part] = broadcast(-std::numeric_limits<T>::infinity());
  }
  for (int i = 0; i < 4 * kBlock; i += kStep) {
    for (int part = 0; part < kParts; ++part) {
      const Vec<T> value = load(anchors + i + part * kLanes<T>);
      low[part] = min_or(value, low[part]);  // NaN leaves the second
      high[part] = max_or(value, high[part]);
    }
  }
  T lows[kStep], highs[kStep];
  for (int part = 0; part < kParts; ++part) {
    store(lows + part * kLanes<T>, low[part]);
    store(highs + part * kLanes<T>, high[part]);
  }
  Box<T> bounds{lows[0], lows[1], highs[2], highs[3]};
  for (int i = 4; i < kStep; i += 4) {
    bounds = {std::min(bounds.x1, lows[i]), std::min(bounds.y1, lows[i + 1]),
              std::max(bounds.x2, highs[i + 2]), std::max(bounds.y2, highs[i + 3])};
  }
  return bounds;
}

template <typename T>
HTC_INLINE void load_block(const T* anchors, Block<T>& block) {
  const Vec<T> infinity = broadcast(std::numeric_limits<T>::infinity());
  for (int i = 0; i < kBlock; i += kLanes<T>) {
    const Box<Vec<T>> rows = load_rows<T>(anchors + 4 * i);
    const Vec<T> area = (rows.x2 - rows.x1) * (rows.y2 - rows.y1);
    const Mask<T> finite = area - area == broadcast(T(0));  // as load_box_or_none
    store(block.x1 + i, finite ? rows.x1 : infinity);
    store(block.y1 + i, finite ? rows.y1 : infinity);
    store(block.x2 + i, finite ? rows.x2 : -infinity);
    store(block.y2 + i, finite ? rows.y2 : -infinity);
    store(block.area + i, finite ? area : broadcast(T(0)));
  }
}

// The formulas of geometry.h on a vector of the block's anchors; no operand is NaN here.
template <typename T>
HTC_INLINE Vec<T> intersection(const Block<T>& block, int i, const Box<Vec<T>>& box) {
  const Vec<T> zero{};
  const Vec<T> width = min_or(load(block.x2 + i), box.x2) - max_or(load(block.x1 + i), box.x1);
  const Vec<T> height = min_or(load(block.y2 + i), box.y2) - max_or(load(block.y1 + i), box.y1);
  return max_or(width, zero) * max_or(height, zero);
}

template <typename T>
HTC_INLINE Vec<T> iou(const Block<T>& block, int i, const Box<Vec<T>>& box, Vec<T> box_area) {
  const Vec<T> overlap = intersection(block, i, box);
  const Vec<T> combined = load(block.area + i) + box_area - overlap;
  return overlap / max_or(combined, broadcast(T(kMinUnion)));
}

template <typename T>
HTC_INLINE Box<Vec<T>> broadcast_box(const Box<T>& box) {
  return {broadcast(box.x1), broadcast(box.y1), broadcast(box.x2), broadcast(box.y2)};
}

template <typename T>
HTC_INLINE T largest(Vec<T> values) {
  T result = values[0];
  for (int lane = 1; lane < kLanes<T>; ++lane) result = std::max(result, values[lane]);
  return result;
}

// IoUs are never below +0: equal bits mean equal numbers.
template <typename T>
HTC_INLINE void raise(T* maximum, T value) {
  T current;
  __atomic_load(maximum, &current, __ATOMIC_RELAXED);
  while (value > current && !__atomic_compare_exchange(maximum, &current, &value, true,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// Pass 1 for kBlock anchors: matched and max_iou without low-quality matches, and the best IoUs.
template <typename T>
void match_block(const Task<T>& task, const T* anchors, int64_t* matched, T* max_iou) {
  using Int = typename simd::IntOf<T>::type;
  const T positive = static_cast<T>(task.rule.positive_iou);
  const T negative = static_cast<T>(task.rule.negative_iou);
  const Box<T> bounds = bounds_of(anchors);
  const Vec<T> zero{};

  Block<T> block;
  bool loaded = false;
  const auto load_once = [&] {
    if (!loaded) load_block(anchors, block);
    loaded = true;
  };

  // Where an anchor is ignored, all ones: its IoUs count for nobody.
  alignas(64) Int ignored[kBlock];
  bool any_ignored = false;
  for (int64_t first = 0; first < task.ignores.padded; first += kLanes<T>) {
    for (uint32_t left = bits(task.ignores.reaching(first, bounds)); left; left &= left - 1) {
      load_once();
      if (!any_ignored) std::fill_n(ignored, kBlock, Int{0});
      any_ignored = true;
      const auto region = broadcast_box(task.ignores[first + __builtin_ctz(left)]);
      const Vec<T> limit = broadcast(static_cast<T>(task.rule.ignore_iof));
      for (int i = 0; i < kBlock; i += kLanes<T>) {
        const Vec<T> least = broadcast(T(kMinUnion));
        const Vec<T> part = intersection(block, i, region) / max_or(load(block.area + i), least);
        store(ignored + i, load(ignored + i) | (part > limit));
      }
    }
  }

  alignas(64) T best[kBlock];
  alignas(64) Int index[kBlock];
  bool any = false;
  for (int64_t first = 0; first < task.gts.padded; first += kLanes<T>) {
    for (uint32_t left = bits(task.gts.reaching(first, bounds)); left; left &= left - 1) {
      const int64_t g = first + __builtin_ctz(left);
      if (!any) {
        load_once();
        std::fill_n(best, kBlock, T(0));
        std::fill_n(index, kBlock, Int{0});
        any = true;
        if (any_ignored) {
          // The cheapest way to leave one out: it is nowhere.
          for (int k = 0; k < kBlock; ++k) {
            if (ignored[k]) {
              block.x1[k] = block.y1[k] = std::numeric_limits<T>::infinity();
              block.x2[k] = block.y2[k] = -std::numeric_limits<T>::infinity();
            }
          }
        }
      }
      const auto gt = broadcast_box(task.gts[g]);
      const Vec<T> gt_area = broadcast(task.gt_area[g]);
      const Mask<T> here = Mask<T>{} + static_cast<Int>(g);
      Vec<T> most = zero;
      for (int i = 0; i < kBlock; i += kLanes<T>) {
        const Vec<T> value = iou(block, i, gt, gt_area);
        const Vec<T> before = load(best + i);
        const Mask<T> larger = value > before;
        store(best + i, larger ? value : before);
        store(index + i, larger ? here : load(index + i));
        most = max_or(value, most);
      }
      T known;
      __atomic_load(task.best + g, &known, __ATOMIC_RELAXED);
      if (bits(most > broadcast(known))) raise(task.best + g, largest<T>(most));
    }
  }

  if (!any) {
    const int64_t all = task.shape.num_gts == 0 ? kMatchNegative
                        : T(0) >= positive      ? 0
                        : T(0) < negative       ? kMatchNegative
                                                : kMatchNeither;
    std::fill_n(matched, kBlock, all);
    std::fill_n(max_iou, kBlock, T(0));
  } else {
    for (int i = 0; i < kBlock; i += kLanes<T>) {
      const Vec<T> value = load(best + i);
      const Mask<T> none = value < broadcast(negative) ? Mask<T>{} + Int{kMatchNegative}
                                                       : Mask<T>{} + Int{kMatchNeither};
      store(index + i, value >= broadcast(positive) ? load(index + i) : none);
      store(max_iou + i, value);
    }
    for (int k = 0; k < kBlock; ++k) matched[k] = index[k];
  }
  if (any_ignored) {
    for (int k = 0; k < kBlock; ++k) {
      if (!ignored[k]) continue;
      matched[k] = kMatchNeither;
      max_iou[k] = T(-1);
    }
  }
}

// Between the passes.
template <typename T>
void choose_takers(Task<T>& task) {
  constexpr T kNever = std::numeric_limits<T>::infinity();
  const T least = static_cast<T>(task.rule.min_positive_iou);
  task.taker_of_all = -1;
  for (int64_t g = 0; g < task.shape.num_gts; ++g) {
    if (task.best[g] < least) task.best[g] = kNever;
    if (task.best[g] == 0) task.taker_of_all = g;  // every anchor has IoU 0 with it
  }
  // It overwrites what those before it take.
  std::fill_n(task.best, task.taker_of_all + 1, kNever);
  task.least_best = kNever;
  for (int64_t g = 0; g < task.shape.num_gts; ++g) {
    task.least_best = std::min(task.least_best, task.best[g]);
  }
}

// Pass 2 for kBlock anchors: low-quality matches.
template <typename T>
void take_block(const Task<T>& task, const T* anchors, int64_t* matched, const T* max_iou) {
  if (task.taker_of_all >= 0) {
    for (int k = 0; k < kBlock; ++k) {
      if (max_iou[k] >= 0) matched[k] = task.taker_of_all;
    }
  }
  Vec<T> most = load(max_iou);
  for (int i = kLanes<T>; i < kBlock; i += kLanes<T>) most = max_or(load(max_iou + i), most);
  if (!bits(most >= broadcast(task.least_best))) return;

  const Vec<T> limit = broadcast(largest<T>(most));
  const Box<T> bounds = bounds_of(anchors);
  Block<T> block;
  bool loaded = false;
  for (int64_t first = 0; first < task.gts.padded; first += kLanes<T>) {
    const Mask<T> may = task.gts.reaching(first, bounds) & (load(task.best + first) <= limit);
    for (uint32_t left = bits(may); left; left &= left - 1) {
      const int64_t g = first + __builtin_ctz(left);
      if (!loaded) load_block(anchors, block);
      loaded = true;
      const auto gt = broadcast_box(task.gts[g]);
      const Vec<T> gt_area = broadcast(task.gt_area[g]), wanted = broadcast(task.best[g]);
      for (int i = 0; i < kBlock; i += kLanes<T>) {
        for (uint32_t equal = bits(iou(block, i, gt, gt_area) == wanted); equal;
             equal &= equal - 1) {
          const int k = i + __builtin_ctz(equal);
          if (max_iou[k] >= 0) matched[k] = g;
        }
      }
    }
  }
}

// Calls function(anchors, matched, max_iou) for every kBlock anchors. The last ones are filled up
// with boxes that touch nothing.
template <typename T, typename Function>
void for_each_block(const Task<T>& task, Function function) {
  const int64_t per_gt = kPairsPerRange / std::max<int64_t>(task.shape.num_gts, 1);
  const int64_t grain = std::clamp<int64_t>(per_gt, kBlock, kAnchorsPerRange) / kBlock * kBlock;
  parallel_for(task.shape.num_anchors, grain, [&](int, int64_t begin, int64_t end) {
    int64_t at = begin;
    for (; at + kBlock <= end; at += kBlock) {
      function(task.anchors + 4 * at, task.matched + at, task.max_iou + at);
    }
    if (at == end) return;
    const int64_t rest = end - at;
    T anchors[4 * kBlock], max_iou[kBlock];
    int64_t matched[kBlock];
    std::fill(std::copy_n(task.anchors + 4 * at, 4 * rest, anchors), anchors + 4 * kBlock,
              std::numeric_limits<T>::quiet_NaN());
    std::fill(std::copy_n(task.max_iou + at, rest, max_iou), max_iou + kBlock, T(-1));
    std::fill(std::copy_n(task.matched + at, rest, matched), matched + kBlock, kMatchNeither);
    function(anchors, matched, max_iou);
    std::copy_n(matched, rest, task.matched + at);
    std::copy_n(max_iou, rest, task.max_iou + at);
  });
}

template <typename T>
void run(const T* anchors, const T* gts, const T* ignores, const MatchShape& shape,
         const MatchRule& rule, void* workspace, int64_t* matched, T* max_iou) {
  Task<T> task{};
  task.anchors = anchors;
  task.shape = shape;
  task.rule = rule;
  task.matched = matched;
  task.max_iou = max_iou;
  T* memory = task.gts.place(static_cast<T*>(workspace), shape.num_gts);
  task.gt_area = memory;
  task.best = memory + task.gts.padded;
  task.ignores.place(task.best + task.gts.padded, rule.ignore_iof > 0 ? shape.num_ignores : 0);
  task.gts.fill(gts);
  task.ignores.fill(ignores);
  for (int64_t g = 0; g < task.gts.padded; ++g) {
    task.gt_area[g] = area_or_zero(task.gts[g]);
    task.best[g] = T(0);
  }
  for_each_block(task, [&](const T* a, int64_t* m, T* o) { match_block(task, a, m, o); });
  if (!rule.low_quality || shape.num_gts == 0) return;
  choose_takers(task);
  for_each_block(task, [&](const T* a, int64_t* m, const T* o) { take_block(task, a, m, o); });
}

}  // namespace match
}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

template <typename T>
void match_anchors(const T* anchors, const T* gts, const T* ignores, const MatchShape& shape,
                   const MatchRule& rule, void* workspace, int64_t* matched, T* max_iou) {
  HTC_DISPATCH(match::run<T>)(anchors, gts, ignores, shape, rule, workspace, matched, max_iou);
}

#  define HTC_INSTANTIATE(T)                                                        \
    template void match_anchors<T>(const T*, const T*, const T*, const MatchShape&, \
                                   const MatchRule&, void*, int64_t*, T*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
