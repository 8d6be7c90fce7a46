// The matrix product that convolutions are made of: kBand filters by kGroup pixels at once, held in
// registers. Read once per target, inside its namespace, after simd_half.h.
//
// No include guard: foreach_target.h reads it again for every instruction set.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

namespace htc::cpu::HTC_TARGET {

#if HTC_TARGET_LEVEL < 4
constexpr int kBand = 4;      // filters that the inner product computes at once
constexpr int kVectors = 3;   // vectors of pixels that it computes at once
constexpr int64_t kStep = 1;  // places of a sum that it takes at once
#else
constexpr int kBand = 32;
constexpr int kVectors = 2;
constexpr int64_t kStep = 16;
#endif
constexpr int64_t kGroup = kVectors * kLanes<float>;
// Places of a sum that are taken in one go: so many times kGroup inputs stay in the first-level
// cache.
constexpr int64_t kDepth = 256;
// Bytes from which on a result does not stay in the caches until it is read: it goes past them.
constexpr int64_t kStreamed = int64_t{12} << 20;

// Places with those that fill up the last step: of weights and inputs that are 0.
constexpr int64_t filled_up(int64_t places) { return (places + kStep - 1) / kStep * kStep; }

// Where filter k of a band has its weight of place i.
constexpr int64_t weight_at(int64_t i, int64_t k) {
  return (i / kStep * kBand + k) * kStep + i % kStep;
}

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

// 12 of the 16 vector registers; three more hold inputs and one a weight. With tiles: in memory.
struct Sums {
  Vec<float> v[kBand][kVectors];
};

// What lies in the place of a number of the matrices, of weights as of inputs.
//
// One term of the sum, in float32.
struct Single {
  static constexpr int64_t kTerms = 1;

  HTC_INLINE static Vec<float> broadcast_place(const float* place) { return broadcast(*place); }
  HTC_INLINE static Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> sum) {
    return fma(a, b, sum);
  }
  // As many places as a vector has lanes, of terms that lie side by side.
  template <typename T>
  HTC_INLINE static Vec<float> read(const T* terms) {
    return load_compute(terms);
  }
};

// Two terms that follow each other, in bfloat16, the first in the lower half. Products and sums are
// float32's. (How a processor rounds between the two of a pair is its own affair, and it may take
// numbers below 1e-38 for 0.)
struct Pair {
  static constexpr int64_t kTerms = 2;
  using Words = Vec<int32_t>;

  HTC_INLINE static Vec<float> broadcast_place(const float* place) {
    int32_t word;  // not as a float: half of these bits may be anything
    __builtin_memcpy(&word, place, sizeof(word));
    return (Vec<float>)broadcast(word);
  }
  HTC_INLINE static Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> sum) {
#if HTC_TARGET_LEVEL >= 3
    return (Vec<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    const auto later =
        fma((Vec<float>)((Words)a & -0x10000), (Vec<float>)((Words)b & -0x10000), sum);
    return fma((Vec<float>)((Words)a << 16), (Vec<float>)((Words)b << 16), later);
#endif
  }

  HTC_INLINE static Vec<float> read(const float* terms) {
    const Vec<float> a = load(terms), b = load(terms + kLanes<float>);
#if HTC_TARGET_LEVEL >= 3
    return (Vec<float>)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
#else
    return of(even_lanes<float>(a, b), odd_lanes<float>(a, b));
#endif
  }
  HTC_INLINE static Vec<float> read(const bfloat16* terms) {
    Vec<float> result;
    __builtin_memcpy(&result, terms, sizeof(result));
    return result;
  }
  // Rounded to nearest, ties to even.
  HTC_INLINE static Vec<float> of(Vec<float> first, Vec<float> second) {
#if HTC_TARGET_LEVEL >= 3
    const __m512i turns =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512bh halves = _mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    return (Vec<float>)_mm512_permutexvar_epi16(turns, (__m512i)halves);
#else
    return of_vectors<Words>(first, second);
#endif
  }
  // The same of vectors of any length, with as many words.
  template <typename W, typename V>
  HTC_INLINE static V of_vectors(V first, V second) {
    const W low = rounded<W>(first), high = rounded<W>(second);
    return (V)(((low >> 16) & 0xffff) | (high & -0x10000));
  }
  static float of(bfloat16 first, bfloat16 second) {
    const uint32_t word = first.bits | static_cast<uint32_t>(second.bits) << 16;
    float place;
    __builtin_memcpy(&place, &word, sizeof(place));
    return place;
  }

 private:
  // In the upper halves.
  template <typename W, typename V>
  HTC_INLINE static W rounded(V v) {
    const W words = (W)v;
    const W nearest = words + (0x7fff + ((words >> 16) & 1));
    return v != v ? words | 0x400000 : nearest;  // a NaN stays one
  }
};

}  // namespace htc::cpu::HTC_TARGET

// After Pair.
#include "cpu/tiles.h"

namespace htc::cpu::HTC_TARGET {

// sums += weights (as of weight_at) times inputs [count, kGroup], in order of the places, whose
// count is filled up.
#if HTC_TARGET_LEVEL < 4
struct TilesInUse {
  TilesInUse() {}  // not unused, for the compiler
};

template <typename Place>
HTC_INLINE void multiply_add(const float* weights, const float* inputs, int64_t count, Sums& sums) {
  Sums sum = sums;
#  pragma GCC unroll 4  // without it g++ 12 reads inputs again for each filter, a quarter slower
  for (int64_t i = 0; i < count; ++i, weights += kBand, inputs += kGroup) {
    Vec<float> in[kVectors];
    for (int v = 0; v < kVectors; ++v) in[v] = load(inputs + v * kLanes<float>);
    for (int k = 0; k < kBand; ++k) {
      const Vec<float> weight = Place::broadcast_place(weights + k);
      for (int v = 0; v < kVectors; ++v) {
        sum.v[k][v] = Place::multiply_add(in[v], weight, sum.v[k][v]);
      }
    }
  }
  sums = sum;
}
#else
template <typename Place>
HTC_INLINE void multiply_add(const float* weights, const float* inputs, int64_t count, Sums& sums) {
  static_assert(Place::kTerms == 2);
  if (count > 0) {
    multiply_tiles(weights, inputs, count / kStep, reinterpret_cast<float*>(&sums));
  }
}
#endif

// The weights of a vector of places, one after another, of each filter of a band, from place i on.
HTC_INLINE void store_weights(const Vec<float>* filters, float* weights, int64_t i) {
#if HTC_TARGET_LEVEL < 4
  static_assert(kBand == 4, "written out here");
  const int64_t lanes = kLanes<float>;
  const Vec<float> even[2] = {zip_low<float>(filters[0], filters[2]),
                              zip_high<float>(filters[0], filters[2])};
  const Vec<float> odd[2] = {zip_low<float>(filters[1], filters[3]),
                             zip_high<float>(filters[1], filters[3])};
  for (int64_t part = 0; part < 2; ++part) {
    float* there = weights + weight_at(i + part * lanes / 2, 0);
    store(there, zip_low<float>(even[part], odd[part]));
    store(there + lanes, zip_high<float>(even[part], odd[part]));
  }
#else
  static_assert(kLanes<float> == kStep);
  for (int k = 0; k < kBand; ++k) store(weights + weight_at(i, k), filters[k]);
#endif
}

HTC_INLINE Sums load_sums(const float* source) {
  Sums sums;
  for (int i = 0; i < kBand * kVectors; ++i) {
    sums.v[i / kVectors][i % kVectors] = load(source + i * kLanes<float>);
  }
  return sums;
}
HTC_INLINE void store_sums(float* target, const Sums& sums) {
  for (int i = 0; i < kBand * kVectors; ++i) {
    store(target + i * kLanes<float>, sums.v[i / kVectors][i % kVectors]);
  }
}

// A row of pixels to where `multiply_add` reads it: kGroup of them in each group.
template <typename T>
HTC_INLINE void spread(const T* row, int64_t groups, int64_t group_stride, float* target) {
  for (int64_t g = 0; g < groups; ++g) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t place = v * kLanes<float>;
      store(target + g * group_stride + place, load_compute(row + g * kGroup + place));
    }
  }
}

// The same of two terms that share their places.
template <typename T>
HTC_INLINE void spread_pairs(const T* first, const T* second, int64_t groups, int64_t group_stride,
                             float* target) {
  for (int64_t g = 0; g < groups; ++g) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t place = v * kLanes<float>, from = g * kGroup + place;
      store(target + g * group_stride + place,
            Pair::of(load_compute(first + from), load_compute(second + from)));
    }
  }
}

}  // namespace htc::cpu::HTC_TARGET
