// One thread an anchor; ground truths pass through shared memory, kTile at a time. Anchors next to
// each other lie in a small part of the picture, so a warp passes over the ground truths that none
// of its anchors meets. The largest IoU of each ground truth is a maximum over the bits of numbers
// that are never negative: first of the warp, then atomically of the block, then of all blocks, so
// it does not depend on the order. A second kernel hands out the low-quality matches.
#include "cuda/cuda_launch.h"
#include "htc/ops/match_anchors.h"

namespace htc::cuda {
namespace {

constexpr int kTile = kThreads;  // a thread loads one

// An IoU as an integer of the same order.
template <typename T>
struct Ordered;
template <>
struct Ordered<float> {
  using type = unsigned int;
  static __device__ type from(float value) { return __float_as_uint(value); }
  static __device__ float to(type bits) { return __uint_as_float(bits); }
};
template <>
struct Ordered<double> {
  using type = unsigned long long;
  static __device__ type from(double value) {
    return static_cast<type>(__double_as_longlong(value));
  }
  static __device__ double to(type bits) {
    return __longlong_as_double(static_cast<long long>(bits));
  }
};

// The maximum of the values of a warp, for all its threads.
template <typename Bits>
__device__ Bits warp_maximum(Bits value) {
  for (int other = 16; other > 0; other /= 2) {
    const Bits theirs = __shfl_xor_sync(~0u, value, other);
    if (theirs > value) value = theirs;
  }
  return value;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    match_anchors_kernel(const T* __restrict__ anchors, const T* __restrict__ gts,
                         const T* __restrict__ ignores, MatchShape shape, MatchRule rule,
                         typename Ordered<T>::type* __restrict__ best,
                         int64_t* __restrict__ matched, T* __restrict__ max_iou) {
  using Bits = Ordered<T>;
  __shared__ Box<T> tile[kTile];
  __shared__ T tile_area[kTile];
  __shared__ typename Bits::type tile_best[kTile];
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const T limit = T(rule.ignore_iof);

  // All threads of a block go round together: they load the tiles for each other.
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x; first < shape.num_anchors;
       first += stride) {
    const int64_t a = first + threadIdx.x;
    const bool inside = a < shape.num_anchors;
    const Box<T> anchor = inside ? load_box_or_none(anchors, a) : no_box<T>();
    const T anchor_area = area_or_zero(anchor);
    bool ignored = !inside;
    if (rule.ignore_iof > 0) {
      for (int64_t k = 0; k < shape.num_ignores && !ignored; ++k) {
        const Box<T> region = load_box_or_none(ignores, k);
        ignored = intersection_over_first(anchor, anchor_area, region) > limit;
      }
    }

    T most = 0;
    int64_t index = 0;
    for (int64_t start = 0; start < shape.num_gts; start += kTile) {
      __syncthreads();
      if (start + threadIdx.x < shape.num_gts) {
        const Box<T> gt = load_box_or_none(gts, start + threadIdx.x);
        tile[threadIdx.x] = gt;
        tile_area[threadIdx.x] = area_or_zero(gt);
        tile_best[threadIdx.x] = 0;
      }
      __syncthreads();
      const int64_t left = shape.num_gts - start;
      const int count = left < kTile ? static_cast<int>(left) : kTile;
      for (int j = 0; j < count; ++j) {
        const bool meets = !ignored && intersection(anchor, tile[j]) > T(0);
        if (!__any_sync(~0u, meets)) continue;  // the IoU is 0, which nothing below takes note of
        const T value = meets ? iou(anchor, anchor_area, tile[j], tile_area[j]) : T(0);
        if (value > most) {
          most = value;
          index = start + j;
        }
        const typename Bits::type order = warp_maximum(Bits::from(value));
        if (threadIdx.x % 32 == 0) atomicMax(&tile_best[j], order);
      }
      __syncthreads();
      if (static_cast<int>(threadIdx.x) < count && tile_best[threadIdx.x] > 0) {
        atomicMax(&best[start + threadIdx.x], tile_best[threadIdx.x]);
      }
    }

    if (!inside) continue;
    int64_t result = kMatchNeither;
    if (!ignored && shape.num_gts == 0) {
      result = kMatchNegative;
    } else if (!ignored && most >= T(rule.positive_iou)) {
      result = index;
    } else if (!ignored && most < T(rule.negative_iou)) {
      result = kMatchNegative;
    }
    matched[a] = result;
    max_iou[a] = ignored ? T(-1) : most;
  }
}

// From the last ground truth down: the first one found is the one that would overwrite the others.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    take_anchors_kernel(const T* __restrict__ anchors, const T* __restrict__ gts, MatchShape shape,
                        T min_positive_iou, const typename Ordered<T>::type* __restrict__ best,
                        const T* __restrict__ max_iou, int64_t* __restrict__ matched) {
  HTC_GRID_STRIDE(a, shape.num_anchors) {
    const T most = max_iou[a];
    if (most < 0) continue;  // ignored
    const Box<T> anchor = load_box_or_none(anchors, a);
    const T anchor_area = area_or_zero(anchor);
    for (int64_t g = shape.num_gts - 1; g >= 0; --g) {
      const T wanted = Ordered<T>::to(best[g]);
      if (wanted > most || wanted < min_positive_iou) continue;
      const Box<T> gt = load_box_or_none(gts, g);
      if (iou(anchor, anchor_area, gt, area_or_zero(gt)) == wanted) {
        matched[a] = g;
        break;
      }
    }
  }
}

}  // namespace

template <typename T>
int match_anchors(const T* anchors, const T* gts, const T* ignores, const MatchShape& shape,
                  const MatchRule& rule, void* workspace, int64_t* matched, T* max_iou,
                  void* stream) {
  if (shape.num_anchors == 0) return cudaSuccess;
  auto* best = static_cast<typename Ordered<T>::type*>(workspace);
  if (shape.num_gts > 0) {
    const size_t bytes = sizeof(*best) * static_cast<size_t>(shape.num_gts);
    const cudaError_t status = cudaMemsetAsync(best, 0, bytes, as_stream(stream));
    if (status != cudaSuccess) return static_cast<int>(status);
  }
  const unsigned blocks = blocks_for(shape.num_anchors);
  const int status = launch(match_anchors_kernel<T>, blocks, kThreads, stream, anchors, gts,
                            ignores, shape, rule, best, matched, max_iou);
  if (status != cudaSuccess || !rule.low_quality || shape.num_gts == 0) return status;
  return launch(take_anchors_kernel<T>, blocks, kThreads, stream, anchors, gts, shape,
                T(rule.min_positive_iou), best, max_iou, matched);
}

#define HTC_INSTANTIATE(T)                                                                         \
  template int match_anchors<T>(const T*, const T*, const T*, const MatchShape&, const MatchRule&, \
                                void*, int64_t*, T*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
