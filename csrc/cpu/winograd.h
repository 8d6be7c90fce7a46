// Winograd's minimal filtering F(4x4, 3x3) of vectors of tiles: weights, patches of 6x6 pixels and
// tiles of 4x4 to and from the 36 numbers of each that are multiplied. Source: htc/ops/conv3x3.h.
// Read once per target, after simd_half.h.
//
// No include guard: foreach_target.h reads it again for every instruction set.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

namespace htc::cpu::HTC_TARGET {

constexpr int kTile = 4, kPatch = 6, kPoints = kPatch * kPatch;
constexpr int64_t kLine = 16;  // numbers of a cache line
// A vector of tiles lies in one row of tiles; or in small pictures, like those of RoIs, in several
// rows of kStrip tiles each ("stacked"): half of its lanes would stay empty otherwise.
constexpr int kStrip = 4, kStrips = kLanes<float> / kStrip;
constexpr int64_t kStripWidth = kStrip * kTile;        // pixels
constexpr int64_t kStackedRow = (kStrip + 2) * kTile;  // pixels of a row of padded pixels
constexpr int64_t kStackedRows = kStrips * kTile + 2;
// What is interpolated at, but for 0 and infinity: +-kNear and +-kFar. Chosen for the least error
// in bfloat16; their powers are exact.
constexpr float kNear = 0.6875f, kFar = 1.5f;
constexpr float kNear2 = kNear * kNear, kFar2 = kFar * kFar;

using V = Vec<float>;

typedef float Quad __attribute__((vector_size(16)));
typedef int32_t QuadWords __attribute__((vector_size(16)));

// A channel's weights of `count` of four filters, transformed: a row of points after the other.
template <typename T>
inline void transform_weights(const T* weights, int64_t filter_stride, int64_t count,
                              Quad* points) {
  Quad g[3][3];
  for (int i = 0; i < 9; ++i) {
    Quad q{};
    for (int64_t k = 0; k < count; ++k) q[k] = to_compute(weights[k * filter_stride + i]);
    g[i / 3][i % 3] = q;
  }
  Quad rows[kPatch][3];
  const auto transform = [](Quad a, Quad b, Quad c, Quad* to, int stride) {
    constexpr float kNearFactor = 0.5f / (kNear2 * (kNear2 - kFar2));
    constexpr float kFarFactor = 0.5f / (kFar2 * (kFar2 - kNear2));
    const Quad near = (a + c * kNear2) * kNearFactor, near_odd = b * (kNear * kNearFactor);
    const Quad far = (a + c * kFar2) * kFarFactor, far_odd = b * (kFar * kFarFactor);
    to[0] = a * (1.f / (kNear2 * kFar2));
    to[stride] = near + near_odd;
    to[2 * stride] = near - near_odd;
    to[3 * stride] = far + far_odd;
    to[4 * stride] = far - far_odd;
    to[5 * stride] = c;
  };
  for (int j = 0; j < 3; ++j) transform(g[0][j], g[1][j], g[2][j], &rows[0][j], 3);
  for (int i = 0; i < kPatch; ++i) {
    transform(rows[i][0], rows[i][1], rows[i][2], points + i * kPatch, 1);
  }
}

// Six numbers along one axis to the six that are multiplied.
HTC_INLINE void transform_patch(const V* d, V* t) {
  const V near = broadcast(kNear), far = broadcast(kFar);
  const V minus_near2 = broadcast(-kNear2), minus_far2 = broadcast(-kFar2);
  const V product = broadcast(kNear2 * kFar2), minus_sum = broadcast(-kNear2 - kFar2);
  const V a = fma(d[2], minus_far2, d[4]), b = fma(d[1], minus_far2, d[3]);
  const V c = fma(d[2], minus_near2, d[4]), e = fma(d[1], minus_near2, d[3]);
  t[0] = fma(d[0], product, fma(d[2], minus_sum, d[4]));
  t[1] = fma(b, near, a);
  t[2] = fma(b, -near, a);
  t[3] = fma(e, far, c);
  t[4] = fma(e, -far, c);
  t[5] = fma(d[1], product, fma(d[3], minus_sum, d[5]));
}

// And six products to the four pixels along an axis.
HTC_INLINE void transform_tile(const V* m, V* y) {
  const V near = broadcast(kNear), far = broadcast(kFar);
  const V near2 = broadcast(kNear2), far2 = broadcast(kFar2);
  const V near3 = broadcast(kNear * kNear2), far3 = broadcast(kFar * kFar2);
  const V a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c;
  y[1] = fma(d, far, b * near);
  y[2] = fma(c, far2, a * near2);
  y[3] = fma(d, far3, fma(b, near3, m[5]));
}

// The pixels that a vector of tiles sees, from pixel `p` of rows of `row` pixels, to its 36
// numbers.
template <bool kStacked>
HTC_INLINE void transform_vector(const float* p, int64_t row, float* target, int64_t stride) {
  const int64_t lanes = kLanes<float>;
  V half[kPatch][kPatch];
  for (int r = 0; r < kPatch; ++r, p += row) {
    const auto place = [&](int64_t i) {  // of a pixel of the row that the lanes' tiles make up
      return kStacked ? i / kStripWidth * kTile * row + i % kStripWidth : i;
    };
    const auto quarter = [&](int64_t i, int first, V* even, V* odd) {
      const V a = load(p + place(i) + first), b = load(p + place(i + lanes) + first);
      *even = even_lanes<float>(a, b);
      *odd = odd_lanes<float>(a, b);
    };
    V e0, e1, o0, o1, d[kPatch];
    quarter(0, 0, &e0, &o0);
    quarter(2 * lanes, 0, &e1, &o1);
    d[0] = even_lanes<float>(e0, e1);
    d[2] = odd_lanes<float>(e0, e1);
    d[1] = even_lanes<float>(o0, o1);
    d[3] = odd_lanes<float>(o0, o1);
    quarter(0, kTile, &e0, &o0);
    quarter(2 * lanes, kTile, &e1, &o1);
    d[4] = even_lanes<float>(e0, e1);
    d[5] = even_lanes<float>(o0, o1);
    transform_patch(d, half[r]);
  }
  for (int j = 0; j < kPatch; ++j) {
    V d[kPatch], t[kPatch];
    for (int r = 0; r < kPatch; ++r) d[r] = half[r][j];
    transform_patch(d, t);
    for (int i = 0; i < kPatch; ++i) store(target + (i * kPatch + j) * stride, t[i]);
  }
}

// Where the pixels of a run go.
struct Target {
  float* pixels;     // [rows, stride]
  const float* add;  // likewise; or null
  int64_t stride, rows, columns;
  bool streamed;
};

// One filter of a vector of tiles, of which the first are at `source`, to pixels: times `scale`,
// plus `bias` and what is added.
template <bool kStacked>
HTC_INLINE void untransform_vector(const float* source, int64_t point_stride, float scale,
                                   float bias, bool relu, const Target& target) {
  const int64_t lanes = kLanes<float>;
  constexpr int kHalf = kLanes<float> / 2;
  V half[kTile][kPatch];
  for (int j = 0; j < kPatch; ++j) {
    V m[kPatch], y[kTile];
    for (int i = 0; i < kPatch; ++i) m[i] = load(source + (i * kPatch + j) * point_stride);
    transform_tile(m, y);
    for (int i = 0; i < kTile; ++i) half[i][j] = y[i];
  }
  for (int64_t i = 0; i < std::min<int64_t>(target.rows, kTile); ++i) {
    V y[kTile];
    transform_tile(half[i], y);
    for (V& each : y) each = fma(each, broadcast(scale), broadcast(bias));
    const V even_low = zip_lanes<float, 0>(y[0], y[2]), odd_low = zip_lanes<float, 0>(y[1], y[3]);
    const V even_high = zip_lanes<float, kHalf>(y[0], y[2]);
    const V odd_high = zip_lanes<float, kHalf>(y[1], y[3]);
    V pixels[kTile] = {
        zip_lanes<float, 0>(even_low, odd_low), zip_lanes<float, kHalf>(even_low, odd_low),
        zip_lanes<float, 0>(even_high, odd_high), zip_lanes<float, kHalf>(even_high, odd_high)};
    const bool whole = !kStacked && target.columns >= lanes * kTile;
    const int64_t row = i * target.stride;
    const bool past_caches =
        whole && target.streamed && reinterpret_cast<uintptr_t>(target.pixels + row) % 64 == 0;
    for (int v = 0; v < kTile; ++v) {
      const int64_t strip = kStacked ? v * lanes / kStripWidth : 0;
      const int64_t column = v * lanes - strip * kStripWidth;
      const int64_t count = std::min(target.columns - column, lanes);
      if (count <= 0 || i + strip * kTile >= target.rows) continue;
      const int64_t place = row + strip * kTile * target.stride + column;
      const int some = static_cast<int>(count);
      if (target.add != nullptr) {
        pixels[v] = pixels[v] + (count == lanes ? load(target.add + place)
                                                : load_first(target.add + place, some));
      }
      if (relu) pixels[v] = max_or(pixels[v], V{});
      if (past_caches) {
        stream(target.pixels + place, pixels[v]);
      } else if (count == lanes) {
        store(target.pixels + place, pixels[v]);
      } else {
        store_first(target.pixels + place, pixels[v], some);
      }
    }
  }
}

}  // namespace htc::cpu::HTC_TARGET
