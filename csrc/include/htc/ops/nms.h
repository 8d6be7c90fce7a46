// Non-maximum suppression: of boxes that overlap, the one with the higher score is kept.
// Reference: mmcv.ops.batched_nms as mmdetection 3.3.0 uses it; here without moving the boxes of
// each class apart, which would round their coordinates.
#pragma once

#include <cstdint>

#include "htc/geometry.h"

namespace htc {

struct NmsShape {
  int64_t num_boxes = 0;  // N, below 2^31
  int64_t max_keep = 0;   // stop after so many kept boxes; N to keep all
};

// The rule, for CPU and CUDA alike. Boxes are visited by falling score; equal scores (-0 and 0
// too) by rising index, NaN scores after all others, by rising index. A box is kept unless a kept
// box of its class has an IoU (geometry.h: exact, no +1, union at least kMinUnion) strictly above
// the threshold with it. Boxes without positive width and height, and boxes with a coordinate that
// is NaN or infinite, overlap nothing: they are kept and suppress nothing.
constexpr int64_t kNmsMaxBoxes = (int64_t{1} << 31) - 1;

template <typename T>
HTC_HOST_DEVICE HTC_INLINE bool can_overlap(const Box<T>& box) {
  return is_finite(box) && box.x2 > box.x1 && box.y2 > box.y1;
}

namespace cpu {

// Bytes that `nms` needs at `workspace` (aligned to 16), linear in the number of boxes.
template <typename T>
int64_t nms_workspace_bytes(int64_t num_boxes);

// boxes [N, 4] xyxy; scores [N]; class_ids [N], any int64, or null for one class; iou_threshold in
// 0..1, rounded to T. Writes the indices of the kept boxes, by falling score, to `kept` (room for
// min(N, max_keep)) and returns their number. T: float, double.
template <typename T>
int64_t nms(const T* boxes, const T* scores, const int64_t* class_ids, const NmsShape& shape,
            double iou_threshold, void* workspace, int64_t* kept);

}  // namespace cpu

#if defined(HTC_WITH_CUDA)
namespace cuda {

// As on the CPU, with device pointers (workspace aligned to 256), queued on `stream` (a
// cudaStream_t). The number of kept boxes goes to *num_kept on the device. Returns a cudaError_t.
// Workspace: 8 MiB, or 256 bytes a box where that is more, beside copies of the boxes.
template <typename T>
int64_t nms_workspace_bytes(int64_t num_boxes);
template <typename T>
int nms(const T* boxes, const T* scores, const int64_t* class_ids, const NmsShape& shape,
        double iou_threshold, void* workspace, int64_t* kept, int64_t* num_kept, void* stream);

}  // namespace cuda
#endif

}  // namespace htc
