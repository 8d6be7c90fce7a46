// The exponential, a vector at a time: the same bits whatever the target, within 2 units in the
// last place of the exact value.
//
// No include guard: foreach_target.h reads it again for every instruction set, after simd.h.

namespace htc::cpu::HTC_TARGET {
namespace exponential {

template <typename T>
struct Numbers;

template <>
struct Numbers<float> {
  static constexpr int kTerms = 7;                 // of the series: the next is below 1e-8
  static constexpr int kBits = 23;                 // of the stored fraction
  static constexpr int kBias = 127;                // of the stored exponent
  static constexpr float kLow = -104, kHigh = 89;  // beyond: 0, infinity
  // ln 2 in two parts; the first has so few digits that a whole multiple of it is exact.
  static constexpr float kLn2 = 0x1.63p-1f, kLn2Rest = -0x1.bd0106p-13f;
};

template <>
struct Numbers<double> {
  static constexpr int kTerms = 13;  // the next is below 1e-17
  static constexpr int kBits = 52;
  static constexpr int kBias = 1023;
  static constexpr double kLow = -746, kHigh = 710;
  static constexpr double kLn2 = 0x1.62e42feep-1, kLn2Rest = 0x1.a39ef35793c76p-33;
};

}  // namespace exponential

// e to the value; NaN stays NaN.
template <typename T>
HTC_INLINE Vec<T> exp_lanes(Vec<T> value) {
  using N = exponential::Numbers<T>;
  using Int = typename simd::IntOf<T>::type;
  const Vec<T> low = broadcast(N::kLow), high = broadcast(N::kHigh);
  const Vec<T> above = value < low ? low : value;
  const Vec<T> x = value > high ? high : above;

  // x = n * ln 2 + rest, |rest| <= ln 2 / 2. Adding 1.5 * 2^kBits rounds to a whole number, which
  // then stands in the lowest bits.
  constexpr T kRound = T(1.5) * T(Int{1} << N::kBits);
  const Vec<T> shifted = x * broadcast(T(1.4426950408889634)) + broadcast(kRound);
  const Vec<T> n = shifted - broadcast(kRound);
  const Vec<T> rest = x - n * broadcast(N::kLn2) - n * broadcast(N::kLn2Rest);

  // 1 + rest (1 + rest / 2 (1 + rest / 3 (...)))
  Vec<T> series = broadcast(T(1));
  for (int k = N::kTerms; k > 0; --k) {
    series = broadcast(T(1)) + series * (rest * broadcast(T(1) / T(k)));
  }

  // Times 2^n in two steps, since 2^n itself may be out of range where the result is not.
  const Mask<T> whole = (Mask<T>)shifted - (Mask<T>)broadcast(kRound);
  const Mask<T> half = whole >> 1;
  const Mask<T> bias = Mask<T>{} + Int{N::kBias};
  const Vec<T> first = (Vec<T>)((half + bias) << N::kBits);
  const Vec<T> second = (Vec<T>)((whole - half + bias) << N::kBits);
  return series * first * second;
}

}  // namespace htc::cpu::HTC_TARGET
