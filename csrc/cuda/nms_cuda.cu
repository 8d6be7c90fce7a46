#include <algorithm>

#include "cuda/cuda_launch.h"
#include "htc/ops/nms.h"
#include "htc/score_order.h"
#include "htc/workspace.h"

// The visit of each box is found by counting the boxes that come before it. That takes the square
// of the number of boxes, as the suppression does, but a tenth of its work; it is faster than a
// radix sort for the thousands of boxes of a detector, and compiles in a tenth of the time. Then,
// pass by pass, for the next rows of boxes: `overlap_kernel` notes for each the later boxes that it
// would suppress, 64 to a word, with all of the GPU; and `decide_kernel` goes through these rows in
// order, with one block. All boxes up to 8192 are one pass; more are cut, so that the words never
// take the square of the number of boxes.
namespace htc::cuda {
namespace {

using Word = unsigned long long;
constexpr int kWordBits = 64;
constexpr int kDecideThreads = 1024;
constexpr int64_t kMinPassRows = 2048;
constexpr int64_t kPassWords = int64_t{1} << 20;  // 8 MiB

__host__ __device__ constexpr int64_t words_of(int64_t count) {
  return (count + kWordBits - 1) / kWordBits;
}

// Rows of boxes a pass, a multiple of 64.
int64_t pass_rows(int64_t num_boxes) {
  const int64_t words = words_of(num_boxes);
  const int64_t rows = std::max(kMinPassRows, kPassWords / words / kWordBits * kWordBits);
  return std::min(rows, words * kWordBits);
}

template <typename T>
struct NmsBuffers {
  uint32_t *visits, *order;  // box -> visit, visit -> box
  Box<T>* boxes;             // by visit
  int64_t* class_ids;        // by visit
  Word *suppressed, *overlaps;

  NmsBuffers(int64_t num_boxes, Workspace& workspace) {
    visits = workspace.take<uint32_t>(num_boxes);
    order = workspace.take<uint32_t>(num_boxes);
    boxes = workspace.take<Box<T>>(num_boxes);
    class_ids = workspace.take<int64_t>(num_boxes);
    suppressed = workspace.take<Word>(words_of(num_boxes));
    overlaps = workspace.take<Word>(pass_rows(num_boxes) * words_of(num_boxes));
  }
};

constexpr int kVisitTiles = 8;           // tiles of kThreads scores that a block counts
constexpr int64_t kMaxGridRows = 65535;  // of a launch

// Block (x, y): adds to `visits` of tile x of the boxes how many of tiles 8 y .. 8 y + 7 come
// before them.
template <typename T>
__global__ void visits_kernel(const T* __restrict__ scores, int64_t num_boxes,
                              uint32_t* __restrict__ visits) {
  using Key = typename ScoreKey<T>::type;
  __shared__ Key others[kThreads];
  const int64_t tile = blockIdx.x, tiles = (num_boxes + kThreads - 1) / kThreads;
  const int64_t box = tile * kThreads + threadIdx.x;
  const Key key = box < num_boxes ? falling_key(scores[box]) : 0;
  uint32_t before = 0;
  for (int64_t group = blockIdx.y; group * kVisitTiles < tiles; group += gridDim.y) {
    for (int64_t other = group * kVisitTiles; other < min((group + 1) * kVisitTiles, tiles);
         ++other) {
      const int64_t begin = other * kThreads;
      const int64_t count = min(static_cast<int64_t>(kThreads), num_boxes - begin);
      __syncthreads();
      if (threadIdx.x < count) others[threadIdx.x] = falling_key(scores[begin + threadIdx.x]);
      __syncthreads();
      if (other < tile) {  // of lower index: equal scores come before, too
        for (int i = 0; i < count; ++i) before += others[i] <= key;
      } else if (other > tile) {
        for (int i = 0; i < count; ++i) before += others[i] < key;
      } else {
        for (int i = 0; i < count; ++i) {
          before += others[i] < key || (others[i] == key && i < static_cast<int>(threadIdx.x));
        }
      }
    }
  }
  if (box < num_boxes) atomicAdd(visits + box, before);
}

template <typename T>
__global__ void gather_kernel(const T* __restrict__ boxes, const int64_t* __restrict__ class_ids,
                              const uint32_t* __restrict__ visits, int64_t num_boxes,
                              uint32_t* __restrict__ order, Box<T>* __restrict__ sorted_boxes,
                              int64_t* __restrict__ sorted_class_ids) {
  HTC_GRID_STRIDE(i, num_boxes) {
    const int64_t visit = visits[i];
    const Box<T> box = load_box(boxes, i);
    order[visit] = static_cast<uint32_t>(i);
    sorted_boxes[visit] = can_overlap(box) ? box : Box<T>{0, 0, 0, 0};  // IoU 0 with every box
    if (class_ids) sorted_class_ids[visit] = class_ids[i];
  }
}

// Block (x, y), one thread a row: which of the 64 boxes of column word first_word + x do the boxes
// of row word first_word + y suppress, should they be kept? Only boxes later than themselves.
template <typename T>
__global__ void overlap_kernel(const Box<T>* __restrict__ boxes,
                               const int64_t* __restrict__ class_ids, int64_t num_boxes,
                               T threshold, int64_t first_word, int64_t max_keep,
                               const int64_t* __restrict__ num_kept,
                               const Word* __restrict__ suppressed, Word* __restrict__ overlaps) {
  const int64_t row_word = first_word + blockIdx.y, column_word = first_word + blockIdx.x;
  if (column_word < row_word || *num_kept >= max_keep) return;
  __shared__ Box<T> columns[kWordBits];
  __shared__ T areas[kWordBits];
  __shared__ int64_t column_ids[kWordBits];
  const int lane = threadIdx.x;
  const int64_t column = column_word * kWordBits + lane;
  if (column < num_boxes) {
    columns[lane] = boxes[column];
    areas[lane] = area(boxes[column]);
    column_ids[lane] = class_ids ? class_ids[column] : 0;
  }
  __syncthreads();
  const int64_t row = row_word * kWordBits + lane;
  if (row >= num_boxes || (suppressed[row_word] >> lane & 1) != 0) return;  // nobody will look
  const Box<T> box = boxes[row];
  const T box_area = area(box);
  const int64_t id = class_ids ? class_ids[row] : 0;
  const int64_t left = num_boxes - column_word * kWordBits;
  const int count = left < kWordBits ? static_cast<int>(left) : kWordBits;
  Word found = 0;
  for (int k = row_word == column_word ? lane + 1 : 0; k < count; ++k) {
    if (column_ids[k] == id && iou(box, box_area, columns[k], areas[k]) > threshold) {
      found |= Word{1} << k;
    }
  }
  overlaps[(row - first_word * kWordBits) * words_of(num_boxes) + column_word] = found;
}

// One block. Keeps or drops the boxes of words first_word..end_word - 1 in order, and notes in
// `suppressed` what the kept ones suppress.
__global__ void decide_kernel(const uint32_t* __restrict__ order, int64_t num_boxes,
                              int64_t first_word, int64_t end_word, int64_t max_keep,
                              const Word* __restrict__ overlaps, Word* suppressed,
                              int64_t* __restrict__ kept, int64_t* num_kept) {
  __shared__ Word within[kWordBits];  // overlaps among the 64 boxes at hand
  __shared__ Word kept_bits;
  __shared__ int64_t count;
  const int thread = threadIdx.x, lane = thread % kWordBits;
  const int64_t words = words_of(num_boxes);
  if (thread == 0) count = *num_kept;
  __syncthreads();
  for (int64_t word = first_word; word < end_word && count < max_keep; ++word) {
    const Word* rows = overlaps + (word - first_word) * kWordBits * words;
    const int64_t left = num_boxes - word * kWordBits;
    const Word exist = left < kWordBits ? (Word{1} << left) - 1 : ~Word{0};
    // From L2, where the atomics below leave it.
    const Word open = exist & ~__ldcg(suppressed + word);
    if (thread < kWordBits) within[lane] = (open >> lane & 1) ? rows[lane * words + word] : 0;
    __syncthreads();
    if (thread == 0) {
      Word stay = open;
      for (Word next = open; next != 0;) {  // a box suppresses only later ones
        const int k = __ffsll(static_cast<int64_t>(next)) - 1;
        stay &= ~within[k];
        next = stay & ~((Word{2} << k) - 1);
      }
      for (int64_t excess = __popcll(stay) - (max_keep - count); excess > 0; --excess) {
        stay &= ~(Word{1} << (63 - __clzll(static_cast<int64_t>(stay))));
      }
      kept_bits = stay;
    }
    __syncthreads();
    const Word stay = kept_bits;
    if (thread < kWordBits && (stay >> lane & 1)) {
      const int before = __popcll(stay & ((Word{1} << lane) - 1));
      kept[count + before] = order[word * kWordBits + lane];
    }
    // 64 columns at a time, the rows split over the groups of threads.
    for (int64_t column = word + 1 + lane; column < words; column += kWordBits) {
      Word found = 0;
#pragma unroll  // the loads of all rows at once
      for (int row = thread / kWordBits; row < kWordBits; row += kDecideThreads / kWordBits) {
        if (stay >> row & 1) found |= rows[row * words + column];
      }
      if (found) atomicOr(suppressed + column, found);
    }
    __syncthreads();
    if (thread == 0) count += __popcll(stay);
    __syncthreads();
  }
  if (thread == 0) *num_kept = count;
}

}  // namespace

template <typename T>
int64_t nms_workspace_bytes(int64_t num_boxes) {
  if (num_boxes == 0) return 0;
  Workspace workspace(nullptr);
  NmsBuffers<T>(num_boxes, workspace);
  return workspace.used();
}

template <typename T>
int nms(const T* boxes, const T* scores, const int64_t* class_ids, const NmsShape& shape,
        double iou_threshold, void* workspace, int64_t* kept, int64_t* num_kept, void* stream) {
  const int64_t num_boxes = shape.num_boxes;
  cudaStream_t queue = as_stream(stream);
  int status = cudaMemsetAsync(num_kept, 0, sizeof(int64_t), queue);
  if (status != cudaSuccess || num_boxes == 0) return status;
  Workspace parts(workspace);
  NmsBuffers<T> buffers(num_boxes, parts);
  const int64_t words = words_of(num_boxes);
  status = cudaMemsetAsync(buffers.suppressed, 0, words * sizeof(Word), queue);
  if (status != cudaSuccess) return status;
  status = cudaMemsetAsync(buffers.visits, 0, num_boxes * sizeof(uint32_t), queue);
  if (status != cudaSuccess) return status;

  const int64_t tiles = (num_boxes + kThreads - 1) / kThreads;
  const dim3 count_grid(
      static_cast<unsigned>(tiles),
      static_cast<unsigned>(std::min((tiles + kVisitTiles - 1) / kVisitTiles, kMaxGridRows)));
  status =
      launch(visits_kernel<T>, count_grid, kThreads, stream, scores, num_boxes, buffers.visits);
  if (status != cudaSuccess) return status;
  status = launch(gather_kernel<T>, blocks_for(num_boxes), kThreads, stream, boxes, class_ids,
                  buffers.visits, num_boxes, buffers.order, buffers.boxes, buffers.class_ids);

  const int64_t* ids = class_ids ? buffers.class_ids : nullptr;
  const int64_t words_a_pass = pass_rows(num_boxes) / kWordBits;
  for (int64_t first = 0; first < words && status == cudaSuccess; first += words_a_pass) {
    const int64_t end = std::min(first + words_a_pass, words);
    const dim3 grid(static_cast<unsigned>(words - first), static_cast<unsigned>(end - first));
    status = launch(overlap_kernel<T>, grid, kWordBits, stream, buffers.boxes, ids, num_boxes,
                    static_cast<T>(iou_threshold), first, shape.max_keep, num_kept,
                    buffers.suppressed, buffers.overlaps);
    if (status != cudaSuccess) return status;
    status = launch(decide_kernel, 1, kDecideThreads, stream, buffers.order, num_boxes, first, end,
                    shape.max_keep, buffers.overlaps, buffers.suppressed, kept, num_kept);
  }
  return status;
}

#define HTC_INSTANTIATE(T)                                                                \
  template int64_t nms_workspace_bytes<T>(int64_t);                                       \
  template int nms<T>(const T*, const T*, const int64_t*, const NmsShape&, double, void*, \
                      int64_t*, int64_t*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
