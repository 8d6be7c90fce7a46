// Winograd convolution F(4x4, 3x3): patches of 6x6 pixels to 36 numbers, for each of these a matrix
// product over channels, and back to tiles of 4x4 pixels. A lane is a tile throughout.
#include <algorithm>
#include <cstring>

#include "htc/large_blocks.h"
#include "htc/ops/conv2d.h"
#include "htc/ops/conv3x3.h"
#include "htc/parallel.h"

#define HTC_TARGET_WITH_BF16
#define HTC_TARGET_SOURCE "cpu/conv3x3_cpu.cpp"
#include "cpu/foreach_target.h"
// Per target from here on.
#include "cpu/simd.h"
// After it.
#include "cpu/simd_half.h"
// After both.
#include "cpu/gemm_tile.h"
#include "cpu/winograd.h"

namespace htc::cpu::HTC_TARGET {

constexpr bool kWide = kVectorBytes == 64;
constexpr int64_t kMostGroups = kWide ? 3 : 4;  // of one piece of work
constexpr int64_t kMostStackedGroups = 2;       // the same where vectors are stacked
// Bands whose products are computed before they become pixels.
constexpr int64_t kMostBands = (kWide ? 32 : 64) / kBand;
constexpr int64_t kMostStackedRows = 16;  // of tiles: their pixels stay in the first-level cache
// Numbers between the matrices of a block. A channel is written to all points and groups, a filter
// read from all points, a weight written to all: at distances of whole kilobytes they would lie in
// a few sets of each cache.
constexpr int64_t kSkew = 32;

// So many numbers that they end with a line of the cache.
constexpr int64_t whole_lines(int64_t numbers) { return (numbers + kLine - 1) / kLine * kLine; }

// Where the numbers of one piece of work lie.
struct Block {
  float* padded;   // [kPatch, row]: rows of the picture with zeros around; stacked: for each place
                   // of a vector in a picture [kStackedRows, kStackedRow]
  float* patches;  // [kTerms, kPoints, tiles + lanes]: of the channels of one place
  float* inputs;   // [kPoints, groups, places of C, kGroup], kSkew between groups
  float* outputs;  // [kPoints, filters of kMostBands, tiles], kSkew between points
};

// A run of neighbouring tiles of one row of tiles; stacked: a vector, from the row on.
struct Run {
  int64_t picture, row, column, count;
  int64_t first;  // place of the first in the block
};

// The weights of `count` of the filters of a band, transformed: as of weight_at at each point.
template <typename Place, typename T>
inline void transform_band(const T* weights, int64_t channels, int64_t count, float* target,
                           int64_t point_stride) {
  constexpr int64_t kTerms = Place::kTerms;
  const int64_t places = filled_up((channels + kTerms - 1) / kTerms);
  for (int64_t k = 0; k < kBand; k += 4) {
    const int64_t some = std::clamp<int64_t>(count - k, 0, 4);
    for (int64_t i = 0; i < places; ++i) {
      Quad points[kTerms][kPoints];
      for (int64_t own = 0; own < kTerms; ++own) {
        const int64_t c = i * kTerms + own;
        const bool there = some > 0 && c < channels;
        transform_weights(weights + there * (k * channels + c) * 9, channels * 9, there ? some : 0,
                          points[own]);
      }
      float* to = target + weight_at(i, k);
      for (int point = 0; point < kPoints; ++point, to += point_stride) {
        if (kStep == 1 && i % 4 == 0) __builtin_prefetch(to + 4 * kLine, 1, 3);
        Quad numbers = points[0][point];
        if constexpr (kTerms == 2) {
          numbers = Pair::of_vectors<QuadWords>(points[0][point], points[1][point]);
        }
        if constexpr (kStep == 1) {
          __builtin_memcpy(to, &numbers, sizeof(numbers));
        } else {
          for (int64_t n = 0; n < 4; ++n) {
            __builtin_memcpy(to + n * kStep, reinterpret_cast<const float*>(&numbers) + n, 4);
          }
        }
      }
    }
  }
}

// Pixels of a row of padded pixels.
inline int64_t row_size(const Run& run) {
  const int64_t lanes = kLanes<float>;
  return (run.count + lanes - 1) / lanes * lanes * kTile + 2 * kTile;
}

// What the patches of a run see of a plane: block.padded.
inline void pad_run(const float* plane, const Conv3x3Shape& shape, const Run& run,
                    const Block& block) {
  const int64_t size = row_size(run);
  const int64_t left = run.column * kTile - 1;  // pixel of the first padded one
  const int64_t begin = std::max<int64_t>(left, 0), end = std::min(left + size, shape.width);
  for (int64_t r = 0; r < kPatch; ++r) {
    float* row = block.padded + r * size;
    const int64_t y = run.row * kTile - 1 + r;
    if (y < 0 || y >= shape.height) {
      std::memset(row, 0, static_cast<size_t>(size) * sizeof(float));
      continue;
    }
    row[0] = 0;
    std::memcpy(row + (begin - left), plane + y * shape.width + begin,
                static_cast<size_t>(end - begin) * sizeof(float));
    std::fill(row + (end - left), row + size, 0.f);
  }
}

// The same where vectors are stacked. What is zero stays so from one channel to the next.
inline void pad_stack(const float* plane, const Conv3x3Shape& shape, const Run& run,
                      float* padded) {
  const int64_t top = run.row * kTile - 1;  // row of the first padded one
  const int64_t begin = std::max<int64_t>(top, 0);
  const int64_t end = std::min(top + kStackedRows, shape.height);
  constexpr int64_t kHalf = kStripWidth / 2;  // the width is above that, and at most twice that
  const int64_t second = shape.width - kHalf;
  for (int64_t y = begin; y < end; ++y) {
    const float* source = plane + y * shape.width;
    float* target = padded + (y - top) * kStackedRow + 1;
    __builtin_memcpy(target, source, kHalf * sizeof(float));
    __builtin_memcpy(target + second, source + second, kHalf * sizeof(float));
  }
}

// One channel of a run of tiles, padded: patches[point, first ..]. `next`: the plane that is wanted
// then, whose pixels are fetched meanwhile, a few at a time; or null.
inline void transform_run(const Conv3x3Shape& shape, const Run& run, int64_t tiles,
                          const float* next, const float* padded, float* patches) {
  const int64_t lanes = kLanes<float>, size = row_size(run);
  for (int64_t g = 0; g * lanes < run.count; ++g) {
    if (next != nullptr) {
      const int64_t column = (run.column + g * lanes) * kTile;
      const int64_t end = std::min(column + lanes * kTile, shape.width);
      for (int r = 0; r < kPatch; ++r) {
        const int64_t y = std::clamp<int64_t>(run.row * kTile - 1 + r, 0, shape.height - 1);
        for (int64_t i = column; i < end; i += kLine) {
          __builtin_prefetch(next + y * shape.width + i, 0, 3);
        }
      }
    }
    transform_vector<false>(padded + g * lanes * kTile, size, patches + run.first + g * lanes,
                            tiles + lanes);
  }
}

template <typename Place>
inline bool conv3x3_of(const float* x, const MixedFloats& weights, const float* scale,
                       const float* bias, const float* add, const Conv3x3Shape& shape,
                       float* result) {
  constexpr int64_t kTerms = Place::kTerms;
  const int64_t channels = shape.channels, filters = shape.filters;
  const int64_t places = (channels + kTerms - 1) / kTerms;
  const int64_t plane = shape.height * shape.width;
  const int64_t tile_rows = (shape.height + kTile - 1) / kTile;
  const int64_t tile_columns = (shape.width + kTile - 1) / kTile;
  const int64_t all_tiles = shape.num_pictures * tile_rows * tile_columns;
  if (all_tiles == 0 || filters == 0) return true;
  const int64_t bands = (filters + kBand - 1) / kBand;
  const int64_t workers = num_threads();
  const int64_t lanes = kLanes<float>;
  // In stacks where each picture is so many whole vectors.
  const bool stacked = kStrips > 1 && tile_columns == kStrip && tile_rows % kStrips == 0 &&
                       tile_rows <= kMostStackedRows;
  const GroupBlocks blocks(all_tiles, stacked ? kMostStackedGroups : kMostGroups, workers);
  const int64_t groups = blocks.most_groups(), tiles = groups * kGroup;
  const int64_t padded_size = stacked
                                  ? tile_rows / kStrips * kStackedRows * kStackedRow
                                  : kPatch * (std::min(tiles, tile_columns) + 2 * lanes) * kTile;
  const int64_t patches_size = kPoints * (tiles + lanes);
  const int64_t filled = filled_up(places);
  const int64_t group_stride = filled * kGroup + kSkew;
  const int64_t inputs_size = kPoints * groups * group_stride;
  const int64_t output_stride = std::min(bands, kMostBands) * kBand * tiles + kSkew;
  const int64_t outputs_size = kPoints * output_stride + lanes;
  const int64_t worker_size =
      whole_lines(padded_size + kTerms * patches_size + inputs_size + outputs_size);
  const int64_t weight_stride = bands * filled * kBand + kSkew;  // from a point to the next
  const int64_t weights_size = kPoints * weight_stride;
  const LargeBlock memory = take_large_block((weights_size + workers * worker_size) *
                                             static_cast<int64_t>(sizeof(float)));
  if (memory.data == nullptr) return false;
  float* const transformed = static_cast<float*>(memory.data);

  parallel_for(bands, 4, [&](int, int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) {
      const int64_t first = band * kBand * channels * 9;
      const int64_t count = std::min<int64_t>(kBand, filters - band * kBand);
      float* target = transformed + band * filled * kBand;
      if (weights.half == nullptr) {
        transform_band<Place>(weights.single + first, channels, count, target, weight_stride);
      } else {
        transform_band<Place>(weights.half + first, channels, count, target, weight_stride);
      }
    }
  });

  const bool streamed = shape.num_pictures * filters * plane * 4 >= kStreamed;
  parallel_for(blocks.count, 1, [&](int worker, int64_t item, int64_t) {
    Block block;
    block.inputs = transformed + weights_size + worker * worker_size;
    block.outputs = block.inputs + inputs_size;
    block.patches = block.outputs + outputs_size;
    block.padded = block.patches + kTerms * patches_size;
    Run runs[kMostGroups * kGroup];
    int64_t num_runs = 0;
    const int64_t first = blocks.first(item), last = blocks.first(item + 1);
    for (int64_t t = first; t < last;) {
      const int64_t row = t / tile_columns, column = t % tile_columns;
      const int64_t count = stacked ? lanes : std::min(tile_columns - column, last - t);
      runs[num_runs++] = {row / tile_rows, row % tile_rows, column, count, t - first};
      t += count;
    }
    const int64_t used = (last - first + kGroup - 1) / kGroup;
    if (stacked) std::fill(block.padded, block.padded + padded_size, 0.f);
    for (int64_t i = 0; filled > places && i < kPoints * groups; ++i) {
      float* const none = block.inputs + i * group_stride + places * kGroup;
      std::fill(none, none + (filled - places) * kGroup, 0.f);
    }
    const TilesInUse tiles_in_use;
    for (int64_t c = 0; c < channels; ++c) {
      float* const patches = block.patches + c % kTerms * patches_size;
      for (int64_t r = 0; r < num_runs; ++r) {
        const Run& run = runs[r];
        const float* source = x + (run.picture * channels + c) * plane;
        if (stacked) {
          float* padded = block.padded + run.row / kStrips * kStackedRows * kStackedRow;
          for (int64_t i = 0; i < plane; i += kLine) {  // of the channel after the next
            __builtin_prefetch(source + 2 * plane + i, 0, 3);
          }
          pad_stack(source, shape, run, padded);
          transform_vector<true>(padded, kStackedRow, patches + run.first, tiles + lanes);
        } else {
          const float* next = c + 1 < channels ? source + plane : nullptr;
          pad_run(source, shape, run, block);
          transform_run(shape, run, tiles, next, block.padded, patches);
        }
      }
      const bool last_of_place = c % kTerms == kTerms - 1 || c == channels - 1;
      if (!last_of_place) continue;
      for (int point = 0; point < kPoints; ++point) {
        const float* from = block.patches + point * (tiles + lanes);
        float* target = block.inputs + point * groups * group_stride + c / kTerms * kGroup;
        if constexpr (kTerms == 1) {
          spread(from, used, group_stride, target);
        } else {
          // Without a second channel the first one's numbers meet weights of 0.
          const int64_t second = c % kTerms == 0 ? 0 : patches_size;
          spread_pairs(from, from + second, used, group_stride, target);
        }
      }
    }
    for (int64_t first_band = 0; first_band < bands; first_band += kMostBands) {
      const int64_t end_band = std::min(first_band + kMostBands, bands);
      for (int point = 0; point < kPoints; ++point) {
        for (int64_t g = 0; g < used; ++g) {
          const float* inputs = block.inputs + (point * groups + g) * group_stride;
          float* outputs = block.outputs + point * output_stride + g * kGroup;
          for (int64_t band = first_band; band < end_band; ++band, outputs += kBand * tiles) {
            for (int i = 0; i < kBand; ++i) {
              __builtin_prefetch(outputs + i * tiles, 1, 3);
              __builtin_prefetch(outputs + i * tiles + kLine, 1, 3);
            }
            Sums sums{};
            multiply_add<Place>(transformed + point * weight_stride + band * filled * kBand, inputs,
                                filled, sums);
            for (int i = 0; i < kBand * kVectors; ++i) {
              store(outputs + i / kVectors * tiles + i % kVectors * lanes,
                    sums.v[i / kVectors][i % kVectors]);
            }
          }
        }
      }
      const int64_t end_filter = std::min(end_band * kBand, filters);
      for (int64_t k = first_band * kBand; k < end_filter; ++k) {
        const float factor = scale == nullptr ? 1.f : scale[k];
        const float shift = bias == nullptr ? 0.f : bias[k];
        const float* outputs = block.outputs + (k - first_band * kBand) * tiles;
        for (int point = 0; k + 1 < end_filter && point < kPoints; ++point) {
          const float* next = outputs + tiles + point * output_stride;
          for (int64_t i = 0; i < last - first; i += kLine) __builtin_prefetch(next + i, 0, 3);
        }
        for (int64_t r = 0; r < num_runs; ++r) {
          const Run& run = runs[r];
          const int64_t y = run.row * kTile, column = run.column * kTile;
          const int64_t place =
              (run.picture * filters + k) * plane + y * shape.width + column;  // in the result
          Target target{result + place, add == nullptr ? nullptr : add + place,
                        shape.width,    shape.height - y,
                        shape.width,    streamed};
          if (stacked) {
            untransform_vector<true>(outputs + run.first, output_stride, factor, shift, shape.relu,
                                     target);
            continue;
          }
          for (int64_t t = 0; t < run.count; t += lanes) {
            target.pixels = result + place + t * kTile;
            if (add != nullptr) target.add = add + place + t * kTile;
            target.columns = std::min((run.count - t) * kTile, shape.width - column - t * kTile);
            untransform_vector<false>(outputs + run.first + t, output_stride, factor, shift,
                                      shape.relu, target);
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
bool conv3x3(const float* x, const MixedFloats& weights, const float* scale, const float* bias,
             const float* add, const Conv3x3Shape& shape, float* result) {
  return conv3x3_of<Single>(x, weights, scale, bias, add, shape, result);
}
#endif
bool conv3x3_bf16(const float* x, const MixedFloats& weights, const float* scale, const float* bias,
                  const float* add, const Conv3x3Shape& shape, float* result) {
  return conv3x3_of<Pair>(x, weights, scale, bias, add, shape, result);
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {
namespace {

// A map of so few pixels does not earn what transforming the weights costs. Of one picture, since a
// picture's results may not depend on how many there are.
constexpr int64_t kLeastPixels = 65;

bool sum_directly(const float* x, const MixedFloats& weights, const float* scale, const float* bias,
                  const float* add, const Conv3x3Shape& shape, float* result) {
  Conv2dShape direct;
  direct.num_pictures = shape.num_pictures;
  direct.channels = shape.channels;
  direct.filters = shape.filters;
  direct.height = shape.height;
  direct.width = shape.width;
  direct.kernel_height = direct.kernel_width = 3;
  direct.padding = 1;
  direct.relu = shape.relu ? Relu::kLast : Relu::kNone;
  return conv2d({x, weights, scale, bias, add}, direct, result);
}

}  // namespace

bool conv3x3(const float* x, const MixedFloats& weights, const float* scale, const float* bias,
             const float* add, const Conv3x3Shape& shape, float* result) {
  if (shape.height * shape.width < kLeastPixels) {
    return sum_directly(x, weights, scale, bias, add, shape, result);
  }
  if (weights.half != nullptr) {
    return HTC_DISPATCH_BF16(conv3x3_bf16)(x, weights, scale, bias, add, shape, result);
  }
  return HTC_DISPATCH(conv3x3)(x, weights, scale, bias, add, shape, result);
}

}  // namespace htc::cpu
#endif
