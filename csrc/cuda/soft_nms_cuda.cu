#include "cuda/cuda_launch.h"
#include "htc/ops/soft_nms.h"
#include "htc/workspace.h"

namespace htc::cuda {
namespace {

constexpr int kSoftThreads = 1024;
constexpr int kWarp = 32;

// The best box that a thread has seen; settled boxes have the score -1, so -1 says there is none.
template <typename T>
struct Best {
  T score;
  uint32_t index;

  __device__ void meet(T other_score, uint32_t other_index) {
    if (other_score > score || (other_score == score && other_index < index)) {
      score = other_score;
      index = other_index;
    }
  }
};

// The best of the whole block, for every thread. The order that they meet in does not matter: no
// two boxes share an index.
template <typename T>
__device__ Best<T> best_of_block(Best<T> best, Best<T>* shared) {
  const auto best_of_warp = [&] {
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const T score = __shfl_down_sync(~0u, best.score, step);
      best.meet(score, __shfl_down_sync(~0u, best.index, step));
    }
  };
  best_of_warp();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = best;
  __syncthreads();
  if (threadIdx.x < kWarp) {
    best = shared[threadIdx.x];
    best_of_warp();
    if (threadIdx.x == 0) shared[0] = best;
  }
  __syncthreads();
  best = shared[0];
  __syncthreads();  // before anybody writes there again
  return best;
}

// One block: each box that is kept changes what comes next. Lowering the scores and finding the
// next best box are one walk over the boxes.
template <typename T>
__global__ void soft_nms_kernel(const T* __restrict__ boxes, const T* __restrict__ scores,
                                int64_t num_boxes, T threshold, T sigma, T min_score,
                                SoftNmsMethod method, T* __restrict__ current,
                                int64_t* __restrict__ kept, T* __restrict__ kept_scores,
                                int64_t* __restrict__ num_kept) {
  static_assert(kSoftThreads == kWarp * kWarp, "one warp reduces what the warps have found");
  __shared__ Best<T> shared[kWarp];
  Best<T> best{T(-1), ~0u};
  for (int64_t i = threadIdx.x; i < num_boxes; i += kSoftThreads) {
    const T score = scores[i];
    current[i] = score >= min_score ? score : T(-1);
    best.meet(current[i], static_cast<uint32_t>(i));
  }
  int64_t count = 0;
  for (;;) {
    const Best<T> first = best_of_block(best, shared);
    if (first.score < T(0)) break;
    if (threadIdx.x == 0) {
      kept[count] = first.index;
      kept_scores[count] = first.score;
    }
    ++count;
    const Box<T> box = load_box(boxes, first.index);
    const T box_area = area(box);
    const bool overlaps = can_overlap(box);
    best = {T(-1), ~0u};
    for (int64_t i = threadIdx.x; i < num_boxes; i += kSoftThreads) {
      T score = current[i];
      if (score < T(0)) continue;
      if (i == first.index) {
        current[i] = T(-1);
        continue;
      }
      const Box<T> other = load_box(boxes, i);
      if (overlaps && can_overlap(other)) {
        const T overlap = iou(box, box_area, other, area(other));
        if (overlap > threshold) {
          score *= soft_nms_weight(overlap, method, sigma);
          if (!(score >= min_score)) score = T(-1);
          current[i] = score;
        }
      }
      best.meet(score, static_cast<uint32_t>(i));
    }
  }
  if (threadIdx.x == 0) *num_kept = count;
}

}  // namespace

template <typename T>
int64_t soft_nms_workspace_bytes(int64_t num_boxes) {
  Workspace workspace(nullptr);
  workspace.take<T>(num_boxes);
  return workspace.used();
}

template <typename T>
int soft_nms(const T* boxes, const T* scores, int64_t num_boxes, const SoftNmsRule& rule,
             void* workspace, int64_t* kept, T* kept_scores, int64_t* num_kept, void* stream) {
  if (num_boxes == 0) return cudaMemsetAsync(num_kept, 0, sizeof(int64_t), as_stream(stream));
  const bool linear = rule.method == SoftNmsMethod::kLinear;
  return launch(soft_nms_kernel<T>, 1, kSoftThreads, stream, boxes, scores, num_boxes,
                static_cast<T>(linear ? rule.iou_threshold : 0.0), static_cast<T>(rule.sigma),
                static_cast<T>(rule.min_score), rule.method,
                Workspace(workspace).take<T>(num_boxes), kept, kept_scores, num_kept);
}

#define HTC_INSTANTIATE(T)                                                                       \
  template int64_t soft_nms_workspace_bytes<T>(int64_t);                                         \
  template int soft_nms<T>(const T*, const T*, int64_t, const SoftNmsRule&, void*, int64_t*, T*, \
                           int64_t*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
