// Convolution as a matrix product: filters times the pixels that each output pixel sees, which are
// gathered for a block of output pixels at a time. A lane is an output pixel throughout. A place of
// the matrices holds one term of the sum, or two in bfloat16 (gemm_tile.h).
#include <algorithm>
#include <cstring>

#include "htc/large_blocks.h"
#include "htc/ops/conv2d.h"
#include "htc/parallel.h"

#define HTC_TARGET_WITH_BF16
#define HTC_TARGET_SOURCE "cpu/conv2d_cpu.cpp"
#include "cpu/foreach_target.h"
// Per target from here on.
#include "cpu/simd.h"
// After it.
#include "cpu/simd_half.h"
// After both.
#include "cpu/gemm_tile.h"

namespace htc::cpu::HTC_TARGET {
namespace conv2d_parts {

constexpr int64_t kMostGroups = 4;  // of one block
constexpr int64_t kMostPixels = kMostGroups * kGroup;
// Bytes from which on a result does not stay in the caches until it is read: it goes past them,
// where a vector is a line of the cache.
constexpr int64_t kStreamed = int64_t{12} << 20;

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

// One filter of one group: what follows the sum, and out.
struct Finish {
  const Plan& plan;
  const Conv2dInputs& inputs;
  float* result;
  const Block& block;
  bool streamed;  // whole vectors go past the caches

  // Where a piece lies in plane `plane` of the result.
  int64_t place(const Piece& piece, int64_t plane) const {
    return plane * plan.out_plane + piece.row * plan.out_width + piece.column;
  }

  // The added map's pixels for `count` pixels of a piece, of which `skip` come before them.
  HTC_INLINE void read_add(const Piece& piece, int64_t plane, int64_t skip, int64_t count,
                           float* target) const {
    if (!plan.shape.half_add) {
      std::memcpy(target, inputs.add + place(piece, plane) + skip,
                  static_cast<size_t>(count) * sizeof(float));
      return;
    }
    const float* source = inputs.add + plane * (plan.out_plane / 4);
    const int32_t* halves = block.halves + piece.place + skip;
    const int64_t lanes = kLanes<float>, first = piece.place + skip;
    if (first % lanes != 0 || count % lanes != 0) {
      for (int64_t i = 0; i < count; ++i) target[i] = source[halves[i]];
      return;
    }
    for (int64_t i = 0; i < count; i += lanes) {
      if (block.pairs[first + i]) {
        const V half = load_first(source + halves[i], kLanes<float> / 2);
        store(target + i, zip_low<float>(half, half));
      } else {
        for (int64_t j = i; j < i + lanes; ++j) target[j] = source[halves[j]];
      }
    }
  }

  HTC_INLINE V settle(V sum, V add, float scale, float bias) const {
    V value = fma(sum, broadcast(scale), broadcast(bias));
    if (plan.shape.relu == Relu::kBeforeAdd) value = max_or(value, V{});
    value = value + add;
    if (plan.shape.relu == Relu::kLast) value = max_or(value, V{});
    return value;
  }

  // Has the lines fetched that `filter` will read and write, while the sums are computed.
  HTC_INLINE void prefetch(int64_t first_filter, int64_t filters, int64_t group,
                           int64_t piece_index) const {
    const Piece& own = block.pieces[piece_index];
    for (int64_t k = first_filter; k < first_filter + filters; ++k) {
      const int64_t at =
          place(own, own.picture * plan.shape.filters + k) + group * kGroup - own.place;
      for (int64_t i = 0; i < kGroup; i += 16) {  // pixels of a cache line
        if (!streamed) __builtin_prefetch(result + at + i, 1, 3);
        if (inputs.add != nullptr && !plan.shape.half_add) {
          __builtin_prefetch(inputs.add + at + i, 0, 3);
        }
      }
    }
  }

  // piece_index: the piece in which the group begins.
  HTC_INLINE void filter(const V* sums, int64_t k, int64_t group, int64_t piece_index) const {
    const float scale = inputs.scale == nullptr ? 1.f : inputs.scale[k];
    const float bias = inputs.bias == nullptr ? 0.f : inputs.bias[k];
    const int64_t begin = group * kGroup, end = begin + kGroup;
    const Piece& own = block.pieces[piece_index];
    const int64_t filters = plan.shape.filters;
    float adds[kGroup], values[kGroup];
    if (end <= own.place + own.count) {
      const int64_t plane = own.picture * filters + k;
      const int64_t at = place(own, plane) + begin - own.place;
      const float* add = inputs.add == nullptr ? nullptr : inputs.add + at;
      if (add != nullptr && plan.shape.half_add) {
        read_add(own, plane, begin - own.place, kGroup, adds);
        add = adds;
      }
      for (int v = 0; v < kVectors; ++v) {
        const int64_t lane = v * kLanes<float>;
        float* const target = result + at + lane;
        const V value = settle(sums[v], add == nullptr ? V{} : load(add + lane), scale, bias);
        if (streamed && reinterpret_cast<uintptr_t>(target) % kVectorBytes == 0) {
          stream(target, value);
        } else {
          store(target, value);
        }
      }
      return;
    }
    std::fill(adds, adds + kGroup, 0.f);
    const auto each_part = [&](auto&& visit) {
      for (int64_t p = piece_index; p < block.num_pieces && block.pieces[p].place < end; ++p) {
        const Piece& piece = block.pieces[p];
        const int64_t from = std::max(begin, piece.place);
        const int64_t to = std::min(end, piece.place + piece.count);
        visit(piece, piece.picture * filters + k, from - piece.place, to - from, from - begin);
      }
    };
    if (inputs.add != nullptr) {
      each_part([&](const Piece& piece, int64_t plane, int64_t skip, int64_t count, int64_t lane) {
        read_add(piece, plane, skip, count, adds + lane);
      });
    }
    for (int v = 0; v < kVectors; ++v) {
      const int64_t lane = v * kLanes<float>;
      store(values + lane, settle(sums[v], load(adds + lane), scale, bias));
    }
    each_part([&](const Piece& piece, int64_t plane, int64_t skip, int64_t count, int64_t lane) {
      std::memcpy(result + place(piece, plane) + skip, values + lane,
                  static_cast<size_t>(count) * sizeof(float));
    });
  }
};

// [chunk of kDepth places, band, as of weight_at], zeros for the filters that a last band lacks and
// the terms that a last place or step does.
template <typename Place, typename T>
inline void reorder_weights(const Plan& plan, const T* weights, int64_t band, float* target) {
  const int64_t filters = plan.shape.filters, terms = plan.terms, lanes = kLanes<float>;
  for (int64_t first = 0; first < plan.places; first += kDepth) {
    const int64_t count = filled_up(std::min(kDepth, plan.places - first));
    float* to = target + first * plan.bands * kBand + band * count * kBand;
    int64_t whole = 0;  // places that are read a vector at a time
    if ((band + 1) * kBand <= filters) {
      for (; whole + lanes <= count && (first + whole + lanes) * Place::kTerms <= terms;
           whole += lanes) {
        V rows[kBand];
        for (int64_t k = 0; k < kBand; ++k) {
          const T* from = weights + (band * kBand + k) * terms + (first + whole) * Place::kTerms;
          rows[k] = Place::read(from);
          __builtin_prefetch(from + 256, 0, 3);
        }
        store_weights(rows, to, whole);
      }
    }
    for (int64_t k = 0; k < kBand; ++k) {
      const int64_t filter = band * kBand + k;
      const T* from = weights + filter * terms;
      for (int64_t i = whole; i < count; ++i) {
        const int64_t term = (first + i) * Place::kTerms;
        const auto number = [&](int64_t t) {
          return filter < filters && t < terms ? to_compute(from[t]) : 0.f;
        };
        if constexpr (Place::kTerms == 1) {
          to[weight_at(i, k)] = number(term);
        } else {
          to[weight_at(i, k)] =
              Pair::of(bfloat16::from_float(number(term)), bfloat16::from_float(number(term + 1)));
        }
      }
    }
  }
}

}  // namespace conv2d_parts

template <typename Place>
inline bool conv2d_of(const Conv2dInputs& inputs, const Conv2dShape& shape, float* result) {
  using namespace conv2d_parts;
  const Plan plan(shape, Place::kTerms);
  const int64_t pixels = shape.num_pictures * plan.out_plane;
  if (pixels == 0 || shape.filters == 0) return true;
  const int64_t workers = num_threads();

  const GroupBlocks blocks(pixels, kMostGroups, workers);
  const int64_t groups = blocks.most_groups();

  const int64_t sums_size = plan.places > kDepth ? groups * plan.bands * kBand * kGroup : 0;
  const int64_t worker_size = groups * kDepth * kGroup + sums_size;
  const int64_t weights_size = plan.bands * kBand * filled_up(plan.places);
  const LargeBlock memory = take_large_block((weights_size + workers * worker_size) *
                                             static_cast<int64_t>(sizeof(float)));
  if (memory.data == nullptr) return false;
  float* const reordered = static_cast<float*>(memory.data);
  parallel_for(plan.bands, 4, [&](int, int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) {
      if (inputs.weights.half == nullptr) {
        reorder_weights<Place>(plan, inputs.weights.single, band, reordered);
      } else {
        reorder_weights<Place>(plan, inputs.weights.half, band, reordered);
      }
    }
  });

  // A worker takes some blocks in a row, so that what it fetched ahead is its own.
  const int64_t grain = std::clamp<int64_t>(blocks.count / (workers * 8), 1, 8);
  const bool streamed = pixels * shape.filters * 4 >= kStreamed && kVectorBytes == 64;
  parallel_for(blocks.count, grain, [&](int worker, int64_t begin, int64_t end) {
    Block block;
    block.inputs = reordered + weights_size + worker * worker_size;
    block.sums = block.inputs + groups * kDepth * kGroup;
    const TilesInUse tiles;
    for (int64_t b = begin; b < end; ++b) {
      split(plan, blocks.first(b), blocks.first(b + 1), block);
      const Finish finish{plan, inputs, result, block, streamed};
      for (int64_t first = 0; first == 0 || first < plan.places; first += kDepth) {
        const int64_t own = std::min(kDepth, plan.places - first), count = filled_up(own);
        const bool last = first + own == plan.places;
        if (inputs.x.half == nullptr) {
          gather_block<Place>(plan, inputs.x.single, first, own, block);
        } else {
          gather_block<Place>(plan, inputs.x.half, first, own, block);
        }
        for (int64_t g = 0; g < block.groups; ++g) {
          float* const none = block.inputs + (g * kDepth + own) * kGroup;
          std::fill(none, none + (count - own) * kGroup, 0.f);
        }
        int64_t pieces[kMostGroups];  // in which each group begins
        for (int64_t g = 0, piece = 0; g < block.groups; ++g) {
          while (block.pieces[piece].place + block.pieces[piece].count <= g * kGroup) ++piece;
          pieces[g] = piece;
        }
        // As many groups side by side as stay in the first-level cache while all filters pass by:
        // the more pixels of a filter are written at once, the better.
        const int64_t abreast = kDepth / std::max<int64_t>(count, 1);
        for (int64_t begin_group = 0; begin_group < block.groups; begin_group += abreast) {
          const int64_t end_group = std::min(begin_group + abreast, block.groups);
          for (int64_t band = 0; band < plan.bands; ++band) {
            const int64_t filters = std::min<int64_t>(kBand, shape.filters - band * kBand);
            for (int64_t g = begin_group; last && g < end_group; ++g) {
              finish.prefetch(band * kBand, filters, g, pieces[g]);
            }
            for (int64_t g = begin_group; g < end_group; ++g) {
              float* kept = block.sums + (g * plan.bands + band) * kBand * kGroup;
              Sums sums{};
              if (first > 0) sums = load_sums(kept);
              multiply_add<Place>(reordered + first * plan.bands * kBand + band * count * kBand,
                                  block.inputs + g * kDepth * kGroup, count, sums);
              if (!last) {
                store_sums(kept, sums);
                continue;
              }
              for (int64_t k = 0; k < filters; ++k) {
                finish.filter(sums.v[k], band * kBand + k, g, pieces[g]);
              }
            }
          }
        }
      }
    }
    if (streamed) stream_fence();
  });
  give_large_block(memory);
  return true;
}

#if HTC_TARGET_LEVEL < 3
bool conv2d(const Conv2dInputs& inputs, const Conv2dShape& shape, float* result) {
  return conv2d_of<Single>(inputs, shape, result);
}
#endif
bool conv2d_bf16(const Conv2dInputs& inputs, const Conv2dShape& shape, float* result) {
  return conv2d_of<Pair>(inputs, shape, result);
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

bool conv2d(const Conv2dInputs& inputs, const Conv2dShape& shape, float* result) {
  if (inputs.x.half != nullptr || inputs.weights.half != nullptr) {
    return HTC_DISPATCH_BF16(conv2d_bf16)(inputs, shape, result);
  }
  return HTC_DISPATCH(conv2d)(inputs, shape, result);
}

}  // namespace htc::cpu
#endif
