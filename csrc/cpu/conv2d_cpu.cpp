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
// And last.
#include "cpu/conv2d_pixels.h"

namespace htc::cpu::HTC_TARGET {
namespace conv2d_parts {

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
  // Where a vector is a line of the cache.
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
