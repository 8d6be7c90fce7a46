// Deconvolution, ReLU and the sum over channels in one pass: what lies between them, four times the
// features for every RoI, never leaves the registers. A lane is a pixel of the features.
#include <algorithm>
#include <cstring>

#include "htc/large_blocks.h"
#include "htc/ops/mask_logits.h"
#include "htc/parallel.h"

#define HTC_TARGET_WITH_BF16
#define HTC_TARGET_SOURCE "cpu/mask_logits_cpu.cpp"
#include "cpu/foreach_target.h"
// Per target from here on.
#include "cpu/simd.h"
// After it.
#include "cpu/simd_half.h"
// After both.
#include "cpu/gemm_tile.h"

namespace htc::cpu::HTC_TARGET {

constexpr int kPositions = 4;  // of a 2x2 deconvolution
constexpr int kBandHidden = kBand / kPositions;
static_assert(kBand % kPositions == 0);

// The positions of the deconvolution are rows of a product: [bands of (D, 4), as of weight_at].
template <typename Place, typename T>
inline void reorder_upsampling(const T* weights, const MaskLogitsShape& shape, int64_t band,
                               int64_t places, float* target) {
  for (int64_t i = 0; i < places; ++i) {
    for (int64_t k = 0; k < kBand; ++k) {
      const int64_t d = band * kBandHidden + k / kPositions;
      const auto number = [&](int64_t channel) {
        if (channel >= shape.channels || d >= shape.hidden) return 0.f;
        return to_compute(weights[(channel * shape.hidden + d) * kPositions + k % kPositions]);
      };
      const int64_t c = i * Place::kTerms;
      if constexpr (Place::kTerms == 1) {
        target[weight_at(i, k)] = number(c);
      } else {
        target[weight_at(i, k)] =
            Pair::of(bfloat16::from_float(number(c)), bfloat16::from_float(number(c + 1)));
      }
    }
  }
}

// Some vectors of pixels at a time, each of one RoI; a RoI's last vector may be filled in part.
template <typename Place>
inline bool mask_logits_of(const MaskLogitsInputs& inputs, const MaskLogitsShape& shape,
                           float* result) {
  const int64_t lanes = kLanes<float>, channels = shape.channels, hidden = shape.hidden;
  const int64_t plane = shape.height * shape.width;
  const int64_t roi_vectors = (plane + lanes - 1) / lanes, vectors = shape.num_rois * roi_vectors;
  if (vectors == 0) return true;
  const int64_t bands = (hidden + kBandHidden - 1) / kBandHidden;
  const int64_t own_places = (channels + Place::kTerms - 1) / Place::kTerms;
  const int64_t places = filled_up(own_places);
  const int64_t weights_size = bands * places * kBand, worker_size = places * kGroup;
  const LargeBlock memory = take_large_block((weights_size + num_threads() * worker_size) *
                                             static_cast<int64_t>(sizeof(float)));
  if (memory.data == nullptr) return false;
  float* const reordered = static_cast<float*>(memory.data);
  parallel_for(bands, 64 / kBand, [&](int, int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) {
      float* target = reordered + band * places * kBand;
      if (inputs.upsample_weights.half == nullptr) {
        reorder_upsampling<Place>(inputs.upsample_weights.single, shape, band, places, target);
      } else {
        reorder_upsampling<Place>(inputs.upsample_weights.half, shape, band, places, target);
      }
    }
  });

  parallel_for((vectors + kVectors - 1) / kVectors, 4, [&](int worker, int64_t begin, int64_t end) {
    float* const pixels = reordered + weights_size + worker * worker_size;
    const TilesInUse tiles;
    std::fill(pixels + own_places * kGroup, pixels + places * kGroup, 0.f);
    for (int64_t item = begin; item < end; ++item) {
      int64_t roi[kVectors], start[kVectors];
      int count[kVectors];  // pixels of each vector
      const float* class_weights[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const int64_t vector = item * kVectors + v;
        const bool there = vector < vectors;
        roi[v] = there ? vector / roi_vectors : 0;
        start[v] = vector % roi_vectors * lanes;
        count[v] = there ? static_cast<int>(std::min(lanes, plane - start[v])) : 0;
        class_weights[v] = inputs.weights + inputs.labels[roi[v]] * hidden;
        const float* source = inputs.features + roi[v] * channels * plane + start[v];
        const auto read = [&](int64_t c) {
          const float* from = source + c * plane;
          return count[v] == lanes ? load(from) : load_first(from, count[v]);
        };
        for (int64_t i = 0; i < own_places; ++i) {
          const int64_t c = i * Place::kTerms;
          float* target = pixels + i * kGroup + v * lanes;
          if constexpr (Place::kTerms == 1) {
            store(target, read(c));
          } else {
            store(target, Pair::of(read(c), c + 1 < channels ? read(c + 1) : Vec<float>{}));
          }
        }
      }
      Vec<float> logits[kPositions][kVectors] = {};
      for (int64_t band = 0; band < bands; ++band) {
        const int64_t first = band * kBandHidden;
        const int64_t last = std::min<int64_t>(first + kBandHidden, hidden);
        Sums sums{};
        for (int64_t d = first; d < last; ++d) {
          const Vec<float> bias = broadcast(inputs.upsample_bias[d]);
          for (int k = 0; k < kPositions; ++k) {
            for (auto& value : sums.v[(d - first) * kPositions + k]) value = bias;
          }
        }
        multiply_add<Place>(reordered + band * places * kBand, pixels, places, sums);
        for (int64_t d = first; d < last; ++d) {
          for (int v = 0; v < kVectors; ++v) {
            const Vec<float> weight = broadcast(class_weights[v][d]);
            for (int k = 0; k < kPositions; ++k) {
              const Vec<float> up = max_or(sums.v[(d - first) * kPositions + k][v], Vec<float>{});
              logits[k][v] = fma(up, weight, logits[k][v]);
            }
          }
        }
      }
      for (int v = 0; v < kVectors; ++v) {
        const float bias = inputs.bias[inputs.labels[roi[v]]];
        float* target = result + roi[v] * 4 * plane;
        for (int lane = 0; lane < count[v]; ++lane) {
          const int64_t y = (start[v] + lane) / shape.width, x = (start[v] + lane) % shape.width;
          float* to = target + 4 * y * shape.width + 2 * x;
          to[0] = logits[0][v][lane] + bias;
          to[1] = logits[1][v][lane] + bias;
          to[2 * shape.width] = logits[2][v][lane] + bias;
          to[2 * shape.width + 1] = logits[3][v][lane] + bias;
        }
      }
    }
  });
  give_large_block(memory);
  return true;
}

#if HTC_TARGET_LEVEL < 3
bool mask_logits(const MaskLogitsInputs& inputs, const MaskLogitsShape& shape, float* result) {
  return mask_logits_of<Single>(inputs, shape, result);
}
#endif
bool mask_logits_bf16(const MaskLogitsInputs& inputs, const MaskLogitsShape& shape, float* result) {
  return mask_logits_of<Pair>(inputs, shape, result);
}

}  // namespace htc::cpu::HTC_TARGET

#if HTC_RUN_ONCE
namespace htc::cpu {

bool mask_logits(const MaskLogitsInputs& inputs, const MaskLogitsShape& shape, float* result) {
  if (inputs.upsample_weights.half != nullptr) {
    return HTC_DISPATCH_BF16(mask_logits_bf16)(inputs, shape, result);
  }
  return HTC_DISPATCH(mask_logits)(inputs, shape, result);
}

}  // namespace htc::cpu
#endif
