// Products of matrices by the tiles of AMX, for the target amx_bf16: registers of 16 rows of 64
// bytes. Read once per target, inside its namespace, after gemm_tile.h's constants.
//
// Written out in assembly: g++ 12 declares its intrinsics only to files that are compiled for AMX
// as a whole. HTC_SOFTWARE_TILES computes the same in vectors, to test what surrounds it anywhere.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

#if HTC_TARGET_LEVEL >= 4
namespace htc::cpu::HTC_TARGET {

constexpr int kTileRows = 16;
constexpr int64_t kTileWords = 16;  // of a row

// While there is one, the thread's tiles have 16 rows of 64 bytes each.
class TilesInUse {
 public:
  TilesInUse() {
#  ifndef HTC_SOFTWARE_TILES
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, unused[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const shapes;
    static_assert(sizeof(shapes) == 64);
    asm volatile("ldtilecfg %0" : : "m"(shapes));
#  endif
  }
  ~TilesInUse() {
#  ifndef HTC_SOFTWARE_TILES
    asm volatile("tilerelease");
#  endif
  }
  TilesInUse(const TilesInUse&) = delete;
  TilesInUse& operator=(const TilesInUse&) = delete;
};

// sums [32, 32] += weights [steps, 32, 16 places] times inputs [steps, 16 places, 32], a place
// being two bfloat16 terms. Rows of the sums and of the inputs lie 32 numbers apart.
HTC_INLINE void multiply_tiles(const float* weights, const float* inputs, int64_t steps,
                               float* sums) {
#  ifndef HTC_SOFTWARE_TILES
  constexpr int64_t kStride = 128, kWeightStride = 64, kHalf = kTileRows * kStride;  // bytes
  asm volatile(
      "tileloadd (%[sums], %[stride], 1), %%tmm0\n\t"
      "tileloadd 64(%[sums], %[stride], 1), %%tmm1\n\t"
      "tileloadd %c[half](%[sums], %[stride], 1), %%tmm2\n\t"
      "tileloadd %c[half] + 64(%[sums], %[stride], 1), %%tmm3\n"
      "1:\n\t"
      "tileloadd (%[weights], %[weight_stride], 1), %%tmm4\n\t"
      "tileloadd (%[inputs], %[stride], 1), %%tmm6\n\t"
      "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
      "tileloadd 64(%[inputs], %[stride], 1), %%tmm7\n\t"
      "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
      "tileloadd 1024(%[weights], %[weight_stride], 1), %%tmm5\n\t"
      "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
      "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n\t"
      "addq $2048, %[weights]\n\t"
      "addq $2048, %[inputs]\n\t"
      "decq %[steps]\n\t"
      "jnz 1b\n\t"
      "tilestored %%tmm0, (%[sums], %[stride], 1)\n\t"
      "tilestored %%tmm1, 64(%[sums], %[stride], 1)\n\t"
      "tilestored %%tmm2, %c[half](%[sums], %[stride], 1)\n\t"
      "tilestored %%tmm3, %c[half] + 64(%[sums], %[stride], 1)\n\t"
      : [weights] "+r"(weights), [inputs] "+r"(inputs), [steps] "+r"(steps)
      :
      [sums] "r"(sums), [stride] "r"(kStride), [weight_stride] "r"(kWeightStride), [half] "i"(kHalf)
      : "memory", "cc");
#  else
  for (int64_t step = 0; step < steps; ++step) {
    for (int row = 0; row < 2 * kTileRows; ++row) {
      for (int64_t place = 0; place < kTileWords; ++place) {
        const float* weight = weights + (step * 2 * kTileRows + row) * kTileWords + place;
        for (int half = 0; half < 2; ++half) {
          float* sum = sums + (2 * row + half) * kTileWords;
          const float* input = inputs + ((step * kTileWords + place) * 2 + half) * kTileWords;
          store(sum, Pair::multiply_add(load(input), Pair::broadcast_place(weight), load(sum)));
        }
      }
    }
  }
#  endif
}

}  // namespace htc::cpu::HTC_TARGET
#endif
