// Which output pixels conv2d computes at once, and what these see of the picture, gathered to where
// the matrix product reads it. Read once per target, after gemm_tile.h.
//
// No include guard: foreach_target.h reads it again for every instruction set.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

namespace htc::cpu::HTC_TARGET {
namespace conv2d_parts {

constexpr int64_t kMostGroups = 4;  // of one block
constexpr int64_t kMostPixels = kMostGroups * kGroup;
using V = Vec<float>;

// A run of output pixels that lie side by side: of one picture where input and output pixels are
// the same (`flat`), else of one row.
struct Piece {
  int64_t picture, row, column;  // flat: row 0, and the pixel as the column
  int64_t count;
  int64_t place;  // of the first in its block
};

struct Block {
  Piece pieces[kMostPixels];
  int64_t num_pieces = 0;
  int64_t pixels = 0, groups = 0;
  int32_t halves[kMostPixels];  // where each pixel's quarter of an added map lies in its plane
  bool pairs[kMostPixels];      // whether, from there on, a vector of pixels has two for each
  float* inputs;                // [groups, kDepth, kGroup]
  float* sums;  // [groups, bands, kBand * kGroup], where the sum has more than kDepth places
};

struct Plan {
  Conv2dShape shape;
  int64_t out_height, out_width, out_plane, terms, places, bands;
  bool flat;

  Plan(const Conv2dShape& s, int64_t terms_of_place)
      : shape(s),
        out_height(s.out_height()),
        out_width(s.out_width()),
        out_plane(out_height * out_width),
        terms(s.channels * s.kernel_height * s.kernel_width),
        places((terms + terms_of_place - 1) / terms_of_place),
        bands((s.filters + kBand - 1) / kBand),
        flat(s.kernel_height == 1 && s.kernel_width == 1 && s.stride == 1 && s.padding == 0) {}
};

inline void split(const Plan& plan, int64_t first, int64_t last, Block& block) {
  block.num_pieces = 0;
  block.pixels = last - first;
  block.groups = (block.pixels + kGroup - 1) / kGroup;
  const int64_t length = plan.flat ? plan.out_plane : plan.out_width;
  const int64_t rows = plan.flat ? 1 : plan.out_height;
  for (int64_t p = first; p < last;) {
    const int64_t row = p / length, column = p % length;
    const int64_t count = std::min(length - column, last - p);
    block.pieces[block.num_pieces++] = {row / rows, row % rows, column, count, p - first};
    p += count;
  }
  if (!plan.shape.half_add) return;
  for (int64_t i = 0; i < block.pixels; ++i) {
    const int64_t pixel = (first + i) % plan.out_plane;
    const int64_t y = pixel / plan.out_width, x = pixel % plan.out_width;
    block.halves[i] = static_cast<int32_t>(y / 2 * (plan.out_width / 2) + x / 2);
  }
  for (int64_t i = 0; i + kLanes<float> <= block.pixels; i += kLanes<float>) {
    block.pairs[i] = true;
    for (int j = 0; j < kLanes<float>; ++j) {
      block.pairs[i] &= block.halves[i + j] == block.halves[i] + j / 2;
    }
  }
}

// Every `stride`-th pixel: count of them.
template <typename T>
HTC_INLINE void copy_strided(const T* source, int64_t stride, int64_t count, float* target) {
  int64_t i = 0;
  if (stride == 1) {
    convert_to_compute(source, target, count);
    return;
  }
  if (stride == 2) {
    const int64_t lanes = kLanes<float>;
    for (; i + lanes < count; i += lanes) {  // the last of the pixels read is not past the last one
      store(target + i,
            even_lanes<float>(load_compute(source + 2 * i), load_compute(source + 2 * i + lanes)));
    }
  }
  for (; i < count; ++i) target[i] = to_compute(source[i * stride]);
}

// What each output pixel of a piece sees of a plane under one weight of the kernel.
template <typename T>
inline void gather(const Plan& plan, const T* plane, const Piece& piece, int64_t i, int64_t j,
                   float* target) {
  const Conv2dShape& shape = plan.shape;
  const int64_t y = piece.row * shape.stride - shape.padding + i;
  const int64_t x = piece.column * shape.stride - shape.padding + j;  // of the first pixel
  int64_t begin = 0, end = 0;                                         // pixels inside
  if (y >= 0 && y < shape.height) {
    const int64_t s = shape.stride;
    begin = x >= 0 ? 0 : std::min(piece.count, (-x + s - 1) / s);
    end = x >= shape.width ? 0 : std::min(piece.count, (shape.width - x + s - 1) / s);
    end = std::max(begin, end);
  }
  std::fill(target, target + begin, 0.f);
  if (end > begin) {
    copy_strided(plane + y * shape.width + x + begin * shape.stride, shape.stride, end - begin,
                 target + begin);
  }
  std::fill(target + end, target + piece.count, 0.f);
}

// One term of all pixels of a block; zeros where there are no more.
template <typename T>
inline void gather_term(const Plan& plan, const T* x, int64_t term, const Block& block,
                        float* line) {
  if (term >= plan.terms) {
    std::fill(line, line + block.pixels, 0.f);
    return;
  }
  const Conv2dShape& shape = plan.shape;
  const int64_t plane = shape.height * shape.width;
  const int64_t kernel = shape.kernel_height * shape.kernel_width;
  const int64_t channel = term / kernel, tap = term % kernel;
  for (int64_t p = 0; p < block.num_pieces; ++p) {
    const Piece& piece = block.pieces[p];
    const T* source = x + (piece.picture * shape.channels + channel) * plane;
    if (plan.flat) {
      copy_strided(source + piece.column, 1, piece.count, line + piece.place);
    } else {
      gather(plan, source, piece, tap / shape.kernel_width, tap % shape.kernel_width,
             line + piece.place);
    }
  }
}

// The places from `first` on, `count` of them, of all pixels of a block.
template <typename Place, typename T>
inline void gather_block(const Plan& plan, const T* x, int64_t first, int64_t count,
                         const Block& block) {
  const Conv2dShape& shape = plan.shape;
  const int64_t plane = shape.height * shape.width;
  constexpr int64_t kStride = kDepth * kGroup;  // of groups
  const bool whole = plan.flat && block.num_pieces == 1 && block.pixels == block.groups * kGroup;
  constexpr bool kPairs = Place::kTerms == 2;
  float lines[Place::kTerms][kMostPixels];
  for (float* line : lines) {
    std::fill(line + block.pixels, line + block.groups * kGroup, 0.f);
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t term = (first + i) * Place::kTerms;
    float* target = block.inputs + i * kGroup;
    if (whole && term + Place::kTerms <= plan.terms) {
      const Piece& piece = block.pieces[0];
      const T* source = x + (piece.picture * shape.channels + term) * plane + piece.column;
      if constexpr (kPairs) {
        spread_pairs(source, source + plane, block.groups, kStride, target);
      } else {
        spread(source, block.groups, kStride, target);
      }
      for (int64_t own = 0; own < Place::kTerms; ++own) {
        for (int64_t pixel = 0; pixel < block.pixels; pixel += 64 / sizeof(T)) {
          // For the next block.
          __builtin_prefetch(source + own * plane + block.pixels + pixel, 0, 2);
        }
      }
      continue;
    }
    for (int64_t own = 0; own < Place::kTerms; ++own) {
      gather_term(plan, x, term + own, block, lines[own]);
    }
    if constexpr (kPairs) {
      spread_pairs(lines[0], lines[1], block.groups, kStride, target);
    } else {
      spread(lines[0], block.groups, kStride, target);
    }
  }
}

}  // namespace conv2d_parts
}  // namespace htc::cpu::HTC_TARGET
