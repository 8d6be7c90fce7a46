#include <algorithm>
#include <cstdint>
#include <cstring>

#include "htc/ops/paste_masks.h"
#include "htc/parallel.h"

#define HTC_TARGET_SOURCE "cpu/paste_masks_cpu.cpp"
#include "cpu/foreach_target.h"

namespace htc::cpu::HTC_TARGET {

// Pixels of a row that are worked on at once: their tables and two mixed mask rows fit L1.
constexpr int64_t kColumns = 1024;

// Where the pixels of a tile lie on the mask. Those of the cells -1 and mask_width - 1 lack one of
// their two cells: they are [0, full_begin) and [full_end, count).
template <typename T>
struct PasteColumns {
  int64_t count, full_begin, full_end;
  int32_t cells[kColumns];
  T weights[kColumns];
};

// What a row of the result is made of. A tile of pixels begins where a byte does.
struct AsBytes {
  static int64_t bytes(int64_t pixels) { return pixels; }
  // Where the pixels [tile, ..) of a row are written, and what then makes the result of them.
  static uint8_t* open(uint8_t* row, uint8_t*, int64_t tile) { return row + tile; }
  static void close(uint8_t*, uint8_t*, int64_t, int64_t) {}
};

struct AsBits {
  static int64_t bytes(int64_t pixels) { return packed_row_bytes(pixels); }
  static uint8_t* open(uint8_t*, uint8_t* buffer, int64_t tile) { return buffer + tile % 8; }
  static void close(uint8_t* row, uint8_t* buffer, int64_t tile, int64_t count) {
    const int64_t lead = tile % 8, size = packed_row_bytes(lead + count);
    std::memset(buffer, 0, static_cast<size_t>(lead));
    std::memset(buffer + lead + count, 0, static_cast<size_t>(8 * size - lead - count));
    uint8_t* bits = row + tile / 8;
    for (int64_t i = 0; i < size; ++i) {
      // Bytes of 0 and 1: the product moves that of pixel p to bit 63 - p, and none meets another.
      uint64_t pixels;
      std::memcpy(&pixels, buffer + 8 * i, 8);
      bits[i] = static_cast<uint8_t>((pixels * 0x8040201008040201) >> 56);
    }
  }
};

HTC_INLINE void clear(uint8_t* from, uint8_t* to) {
  std::memset(from, 0, static_cast<size_t>(to - from));
}

template <typename T>
void set_columns(const PasteAxis& axis, int64_t mask_width, int64_t first, int64_t count,
                 PasteColumns<T>& columns) {
  columns.count = count;
  for (int64_t i = 0; i < count; ++i) {
    const PasteSample<T> sample = paste_sample<T>(axis, first + i);
    columns.cells[i] = sample.cell;
    columns.weights[i] = sample.weight;
  }
  const int32_t *begin = columns.cells, *end = begin + count;
  columns.full_begin = std::lower_bound(begin, end, 0) - begin;
  columns.full_end = std::lower_bound(begin, end, static_cast<int32_t>(mask_width - 1)) - begin;
}

// One row of the mask, mixed at every column. The rows -1 and mask_height are zeros.
template <typename T>
void mix_row(const T* mask, const PasteMasksShape& shape, int64_t row,
             const PasteColumns<T>& columns, T* HTC_RESTRICT mixed) {
  if (row < 0 || row >= shape.mask_height) {
    std::fill(mixed, mixed + columns.count, T(0));
    return;
  }
  const T* cells = mask + row * shape.mask_width;
  const auto mix_at = [&](int64_t i) {
    const int64_t at = columns.cells[i];
    const T first = at < 0 ? T(0) : cells[at];
    const T second = at + 1 < shape.mask_width ? cells[at + 1] : T(0);
    mixed[i] = paste_mix(first, second, columns.weights[i]);
  };
  int64_t i = 0;
  for (; i < columns.full_begin; ++i) mix_at(i);
  for (; i < columns.full_end; ++i) {
    const T* pair = cells + columns.cells[i];
    mixed[i] = paste_mix(pair[0], pair[1], columns.weights[i]);
  }
  for (; i < columns.count; ++i) mix_at(i);
}

// Rows [begin, end) of one result.
template <typename T, typename Form>
void paste_rows(const T* mask, const double* box, const PasteMasksShape& shape, T threshold,
                int64_t begin, int64_t end, uint8_t* result) {
  const PasteAxis xs = paste_axis(box[0], box[2], shape.mask_width, shape.width);
  const PasteAxis ys = paste_axis(box[1], box[3], shape.mask_height, shape.height);
  const int64_t first_row = std::clamp(ys.begin, begin, end);
  const int64_t end_row = xs.begin < xs.end ? std::clamp(ys.end, first_row, end) : first_row;
  const int64_t row_bytes = Form::bytes(shape.width);
  clear(result + begin * row_bytes, result + first_row * row_bytes);
  clear(result + end_row * row_bytes, result + end * row_bytes);
  if (first_row == end_row) return;

  PasteColumns<T> columns;
  alignas(64) T upper[kColumns], lower[kColumns];
  alignas(64) uint8_t buffer[kColumns + 8];
  for (int64_t tile = xs.begin, count; tile < xs.end; tile += count) {
    count = std::min(kColumns - tile % 8, xs.end - tile);
    set_columns(xs, shape.mask_width, tile, count, columns);
    constexpr int64_t kNone = -3;  // no cell follows it
    int64_t upper_cell = kNone;    // the mask row that `upper` holds; `lower` holds the next
    for (int64_t y = first_row; y < end_row; ++y) {
      const PasteSample<T> sample = paste_sample<T>(ys, y);
      if (sample.cell != upper_cell) {
        if (sample.cell == upper_cell + 1) {
          std::copy(lower, lower + count, upper);
        } else {
          mix_row(mask, shape, sample.cell, columns, upper);
        }
        mix_row(mask, shape, sample.cell + 1, columns, lower);
        upper_cell = sample.cell;
      }
      uint8_t* row = result + y * row_bytes;
      if (tile == xs.begin) clear(row, row + Form::bytes(xs.begin));
      uint8_t* HTC_RESTRICT pixels = Form::open(row, buffer, tile);
      const T weight = sample.weight;
      for (int64_t i = 0; i < count; ++i) {
        pixels[i] = paste_mix(upper[i], lower[i], weight) >= threshold;
      }
      Form::close(row, buffer, tile, count);
      if (tile + count == xs.end) clear(row + Form::bytes(xs.end), row + row_bytes);
    }
  }
}

template <typename T>
void paste_rows_as_bytes(const T* mask, const double* box, const PasteMasksShape& shape,
                         T threshold, int64_t begin, int64_t end, uint8_t* result) {
  paste_rows<T, AsBytes>(mask, box, shape, threshold, begin, end, result);
}
template <typename T>
void paste_rows_as_bits(const T* mask, const double* box, const PasteMasksShape& shape, T threshold,
                        int64_t begin, int64_t end, uint8_t* result) {
  paste_rows<T, AsBits>(mask, box, shape, threshold, begin, end, result);
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {
namespace {

constexpr int64_t kBandPixels = 1 << 20;  // that one thread takes at a time

// paste(mask, box, first row, end row, result) for bands of rows of every mask, on all threads.
template <typename Paste>
void paste_bands(const PasteMasksShape& shape, int64_t row_bytes, uint8_t* result,
                 const Paste& paste) {
  const int64_t picture = shape.height * row_bytes;
  if (shape.num_masks == 0 || picture == 0) return;
  const int64_t band_rows = std::max<int64_t>(kBandPixels / shape.width, 1);
  const int64_t bands = (shape.height - 1) / band_rows + 1;
  parallel_for(shape.num_masks * bands, 1, [&](int, int64_t index, int64_t stop) {
    for (; index < stop; ++index) {
      const int64_t n = index / bands, begin = index % bands * band_rows;
      paste(n, begin, std::min(begin + band_rows, shape.height), result + n * picture);
    }
  });
}

}  // namespace

template <typename T>
void paste_masks(const T* masks, const double* boxes, const PasteMasksShape& shape,
                 double threshold, uint8_t* bitmaps) {
  paste_bands(shape, shape.width, bitmaps, [&](int64_t n, int64_t begin, int64_t end, uint8_t* to) {
    HTC_DISPATCH(paste_rows_as_bytes<T>)
    (masks + n * shape.mask_height * shape.mask_width, boxes + 4 * n, shape,
     static_cast<T>(threshold), begin, end, to);
  });
}

template <typename T>
void paste_masks_packed(const T* masks, const double* boxes, const PasteMasksShape& shape,
                        double threshold, uint8_t* bits) {
  const int64_t row_bytes = packed_row_bytes(shape.width);
  paste_bands(shape, row_bytes, bits, [&](int64_t n, int64_t begin, int64_t end, uint8_t* to) {
    HTC_DISPATCH(paste_rows_as_bits<T>)
    (masks + n * shape.mask_height * shape.mask_width, boxes + 4 * n, shape,
     static_cast<T>(threshold), begin, end, to);
  });
}

#  define HTC_INSTANTIATE(T)                                                                     \
    template void paste_masks<T>(const T*, const double*, const PasteMasksShape&, double,        \
                                 uint8_t*);                                                      \
    template void paste_masks_packed<T>(const T*, const double*, const PasteMasksShape&, double, \
                                        uint8_t*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#  undef HTC_INSTANTIATE

}  // namespace htc::cpu
#endif
