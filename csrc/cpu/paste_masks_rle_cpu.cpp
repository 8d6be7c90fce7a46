// The run-length code of a pasted mask, without the bitmap.
//
// Down a column of pixels, between two rows of cells, the value moves from one mixed cell to the
// next and never turns back, after rounding too: so the pixels of such a segment change at most
// once. A column therefore takes the comparison of the first and the last pixel of each segment,
// vectorised over the segments, and a search for the few changes, instead of a look at every pixel.
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "htc/ops/paste_masks.h"
#include "htc/parallel.h"
#include "htc/rle_code.h"
#include "htc/workspace.h"

#define HTC_TARGET_SOURCE "cpu/paste_masks_rle_cpu.cpp"
#include "cpu/foreach_target.h"
#include "cpu/simd.h"

namespace htc::cpu::HTC_TARGET {

// paste_mix of whole vectors.
template <typename V>
HTC_INLINE V mix(V first, V second, V weight) {
  return first + weight * (second - first);
}

// Segments down the rows of pixels: those of one cell row, and the next one's weight at their ends.
template <typename T>
struct Segments {
  static constexpr int64_t kPadding = 16;  // to whole vectors on every target

  int64_t count = 0, stride = 0;
  int64_t* starts;  // first row of pixels; starts[count] ends the last segment
  int32_t* cells;
  T *first_weights, *last_weights;
  // Of each column of cells, all segments: the cell above and the cell below. Zeros beyond the
  // mask.
  T *upper, *lower;
};

template <typename T>
Segments<T> take_segments(Workspace& parts, const PasteMasksShape& shape) {
  constexpr int64_t kPadding = Segments<T>::kPadding;
  const int64_t most = std::min(shape.mask_height + 1, shape.height);
  Segments<T> segments;
  segments.stride = (most + kPadding - 1) / kPadding * kPadding;
  segments.starts = parts.take<int64_t>(segments.stride + 1);
  segments.cells = parts.take<int32_t>(segments.stride);
  segments.first_weights = parts.take<T>(segments.stride);
  segments.last_weights = parts.take<T>(segments.stride);
  segments.upper = parts.take<T>(segments.stride * (shape.mask_width + 2));
  segments.lower = parts.take<T>(segments.stride * (shape.mask_width + 2));
  return segments;
}

template <typename T>
void set_segments(const T* mask, const PasteMasksShape& shape, const PasteAxis& xs,
                  const PasteAxis& ys, Segments<T>& segments) {
  segments.count = 0;
  for (int64_t y = ys.begin; y < ys.end;) {
    const PasteSample<T> first = paste_sample<T>(ys, y);
    const int64_t next = ys.first_at(first.cell + 1.0, y + 1, ys.end);
    segments.starts[segments.count] = y;
    segments.cells[segments.count] = first.cell;
    segments.first_weights[segments.count] = first.weight;
    segments.last_weights[segments.count] = paste_sample<T>(ys, next - 1).weight;
    ++segments.count;
    y = next;
  }
  segments.starts[segments.count] = ys.end;
  const int64_t padded = std::min(
      (segments.count + Segments<T>::kPadding - 1) & -Segments<T>::kPadding, segments.stride);
  for (int64_t k = segments.count; k < padded; ++k) {
    segments.cells[k] = -2;  // both its cells are zeros
    segments.first_weights[k] = segments.last_weights[k] = T(0);
  }

  const int64_t first_column = paste_sample<T>(xs, xs.begin).cell;
  const int64_t end_column = paste_sample<T>(xs, xs.end - 1).cell + int64_t{2};
  for (int64_t column = first_column; column < end_column; ++column) {
    T* upper = segments.upper + (column + 1) * segments.stride;
    T* lower = segments.lower + (column + 1) * segments.stride;
    const bool inside = column >= 0 && column < shape.mask_width;
    const auto cell = [&](int64_t row) {
      return inside && row >= 0 && row < shape.mask_height ? mask[row * shape.mask_width + column]
                                                           : T(0);
    };
    for (int64_t k = 0; k < padded; ++k) {
      upper[k] = cell(segments.cells[k]);
      lower[k] = cell(segments.cells[k] + int64_t{1});
    }
  }
}

template <typename T>
int64_t rle_of_mask(const T* mask, const double* box, const PasteMasksShape& shape, T threshold,
                    void* block, uint8_t* code, int64_t capacity) {
  RleWriter writer(code, capacity);
  const PasteAxis xs = paste_axis(box[0], box[2], shape.mask_width, shape.width);
  const PasteAxis ys = paste_axis(box[1], box[3], shape.mask_height, shape.height);
  if (xs.begin >= xs.end || ys.begin >= ys.end) return writer.finish(shape.height * shape.width);
  Workspace parts(block);
  Segments<T> segments = take_segments<T>(parts, shape);
  set_segments(mask, shape, xs, ys, segments);

  constexpr int64_t kWord = 64;  // segments whose comparisons are held in one word
  const Vec<T> least = broadcast(threshold);
  for (int64_t x = xs.begin; x < xs.end; ++x) {
    const PasteSample<T> sample = paste_sample<T>(xs, x);
    const Vec<T> weight = broadcast(sample.weight);
    const int64_t at = (sample.cell + int64_t{1}) * segments.stride;
    const T *upper_first = segments.upper + at, *upper_second = upper_first + segments.stride;
    const T *lower_first = segments.lower + at, *lower_second = lower_first + segments.stride;
    const int64_t column = x * shape.height;
    uint64_t inside = 0;  // whether the last pixel of the segment before is
    for (int64_t base = 0; base < segments.count; base += kWord) {
      const int64_t count = std::min(kWord, segments.count - base);
      uint64_t firsts = 0, lasts = 0;
      for (int64_t i = 0; i < count; i += kLanes<T>) {
        const int64_t k = base + i;
        const Vec<T> upper = mix(load(upper_first + k), load(upper_second + k), weight);
        const Vec<T> lower = mix(load(lower_first + k), load(lower_second + k), weight);
        const Vec<T> first = mix(upper, lower, load(segments.first_weights + k));
        const Vec<T> last = mix(upper, lower, load(segments.last_weights + k));
        firsts |= static_cast<uint64_t>(bits(first >= least)) << i;
        lasts |= static_cast<uint64_t>(bits(last >= least)) << i;
      }
      const uint64_t there = count == kWord ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
      const uint64_t between = (firsts ^ (lasts << 1 | inside)) & there;
      const uint64_t within = (firsts ^ lasts) & there;
      inside = lasts >> (count - 1) & 1;
      for (uint64_t left = between | within; left != 0; left &= left - 1) {
        const int bit = __builtin_ctzll(left);
        const int64_t k = base + bit;
        if (between >> bit & 1) writer.change(column + segments.starts[k]);
        if (within >> bit & 1) {
          const T upper = paste_mix(upper_first[k], upper_second[k], sample.weight);
          const T lower = paste_mix(lower_first[k], lower_second[k], sample.weight);
          writer.change(column + paste_change(ys, segments.cells[k], upper, lower, threshold,
                                              segments.starts[k] + 1, segments.starts[k + 1] - 1,
                                              (lasts >> bit & 1) != 0));
        }
      }
    }
    if (inside != 0) writer.change(column + ys.end);
  }
  return writer.finish(shape.height * shape.width);
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

void paste_masks_rle_slots(const double* boxes, const PasteMasksShape& shape, int64_t* slots) {
  slots[0] = 0;
  for (int64_t n = 0; n < shape.num_masks; ++n) {
    // A blob has two changes a column, of one or two characters each.
    constexpr int64_t kEachColumn = 5, kMore = 64;
    const double side = boxes[4 * n + 2] - boxes[4 * n];
    const int64_t columns = clamped_int(side, 0, shape.width);
    slots[n + 1] = slots[n] + kEachColumn * columns + kMore;
  }
}

template <typename T>
int64_t paste_masks_rle_workspace_bytes(const PasteMasksShape& shape, int threads) {
  Workspace parts(nullptr);
  portable::take_segments<T>(parts, shape);
  return parts.used() * threads;
}

template <typename T>
void paste_masks_rle(const T* masks, const double* boxes, const PasteMasksShape& shape,
                     double threshold, int threads, void* workspace, const int64_t* slots,
                     uint8_t* codes, int64_t* lengths) {
  const int64_t scratch = paste_masks_rle_workspace_bytes<T>(shape, 1);
  std::atomic<int64_t> next{0};
  parallel_for(threads, 1, [&](int, int64_t thread, int64_t end) {
    for (; thread < end; ++thread) {
      void* block = static_cast<char*>(workspace) + thread * scratch;
      for (int64_t n; (n = next.fetch_add(1, std::memory_order_relaxed)) < shape.num_masks;) {
        lengths[n] = HTC_DISPATCH(rle_of_mask<T>)(masks + n * shape.mask_height * shape.mask_width,
                                                  boxes + 4 * n, shape, static_cast<T>(threshold),
                                                  block, codes + slots[n], slots[n + 1] - slots[n]);
      }
    }
  });
}

#  define HTC_INSTANTIATE(T)                                                                       \
    template int64_t paste_masks_rle_workspace_bytes<T>(const PasteMasksShape&, int);              \
    template void paste_masks_rle<T>(const T*, const double*, const PasteMasksShape&, double, int, \
                                     void*, const int64_t*, uint8_t*, int64_t*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
