// The matrix product that convolutions are made of: kQuad filters by kGroup pixels at once, held in
// registers. Read once per target, inside its namespace, after simd.h.
//
// No include guard: foreach_target.h reads it again for every instruction set.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

namespace htc::cpu::HTC_TARGET {

constexpr int kQuad = 4;     // filters that the inner product computes at once
constexpr int kVectors = 3;  // vectors of pixels that it computes at once
constexpr int64_t kGroup = kVectors * kLanes<float>;
// Terms of a sum that are taken in one go: so many times kGroup inputs stay in the first-level
// cache.
constexpr int64_t kDepth = 256;

// Pixels in blocks of whole groups, `most` at most: as many for each worker, all of about one size.
struct GroupBlocks {
  int64_t pixels, groups, count;

  GroupBlocks(int64_t num_pixels, int64_t most, int64_t workers)
      : pixels(num_pixels), groups((num_pixels + kGroup - 1) / kGroup) {
    const int64_t each = (groups + most * workers - 1) / (most * workers);  // for a worker
    count = std::min(groups, each * workers);
  }

  // The first pixel of a block; of the one past the last: the number of pixels.
  int64_t first(int64_t block) const { return std::min(groups * block / count * kGroup, pixels); }
  int64_t most_groups() const { return (groups + count - 1) / count; }
};

// 12 of the 16 vector registers; three more hold inputs and one a weight.
struct Sums {
  Vec<float> v[kQuad][kVectors];
};

// sums += weights [count, kQuad] times inputs [count, kGroup], in order of the terms.
HTC_INLINE void multiply_add(const float* weights, const float* inputs, int64_t count, Sums& sums) {
  Sums sum = sums;
#pragma GCC unroll 4  // without it g++ 12 reads inputs again for each filter, a quarter slower
  for (int64_t i = 0; i < count; ++i, weights += kQuad, inputs += kGroup) {
    Vec<float> in[kVectors];
    for (int v = 0; v < kVectors; ++v) in[v] = load(inputs + v * kLanes<float>);
    for (int k = 0; k < kQuad; ++k) {
      const Vec<float> weight = broadcast(weights[k]);
      for (int v = 0; v < kVectors; ++v) sum.v[k][v] = fma(in[v], weight, sum.v[k][v]);
    }
  }
  sums = sum;
}

HTC_INLINE Sums load_sums(const float* source) {
  Sums sums;
  for (int i = 0; i < kQuad * kVectors; ++i) {
    sums.v[i / kVectors][i % kVectors] = load(source + i * kLanes<float>);
  }
  return sums;
}
HTC_INLINE void store_sums(float* target, const Sums& sums) {
  for (int i = 0; i < kQuad * kVectors; ++i) {
    store(target + i * kLanes<float>, sums.v[i / kVectors][i % kVectors]);
  }
}

// A row of pixels to where `multiply_add` reads it: kGroup of them in each group.
HTC_INLINE void spread(const float* row, int64_t groups, int64_t group_stride, float* target) {
  for (int64_t g = 0; g < groups; ++g) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t place = v * kLanes<float>;
      store(target + g * group_stride + place, load(row + g * kGroup + place));
    }
  }
}

}  // namespace htc::cpu::HTC_TARGET
