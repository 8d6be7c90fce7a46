// The CUDA kernels as C functions, for ctypes: the number of a type in front, structs by pointer.
#include <cstdint>
#include <cstring>

#include "htc/ops/box_codec.h"
#include "htc/ops/mask_targets.h"
#include "htc/ops/match_anchors.h"
#include "htc/ops/nms.h"
#include "htc/ops/paste_masks.h"
#include "htc/ops/polygon_mask_targets.h"
#include "htc/ops/roi_align.h"
#include "htc/ops/soft_nms.h"
#include "roi_align_grad_atomic.h"

using namespace htc;

namespace {

enum Type { kFloat = 0, kDouble = 1, kFloat16 = 2, kBfloat16 = 3 };
constexpr int kWrongType = -1;

template <typename T>
const T* in(const void* memory) {
  return static_cast<const T*>(memory);
}
template <typename T>
T* out(void* memory) {
  return static_cast<T*>(memory);
}

}  // namespace

#define FLOATING(type, ...) \
  switch (type) {           \
    case kFloat: {          \
      using T = float;      \
      return __VA_ARGS__;   \
    }                       \
    case kDouble: {         \
      using T = double;     \
      return __VA_ARGS__;   \
    }                       \
    default:                \
      return kWrongType;    \
  }
#define ANY_FLOATING(type, ...)   \
  switch (type) {                 \
    case kFloat16: {              \
      using T = float16;          \
      return __VA_ARGS__;         \
    }                             \
    case kBfloat16: {             \
      using T = bfloat16;         \
      return __VA_ARGS__;         \
    }                             \
    default:                      \
      FLOATING(type, __VA_ARGS__) \
  }

extern "C" {

// So that the caller can tell whether its structs are those of this library; 0: no such struct.
int64_t htc_bytes_of(const char* name) {
#define STRUCT(name_of) \
  if (std::strcmp(name, #name_of) == 0) return sizeof(name_of);
  STRUCT(RoiAlignShape)
  STRUCT(NmsShape)
  STRUCT(SoftNmsRule)
  STRUCT(MatchShape)
  STRUCT(MatchRule)
  STRUCT(BoxCodecShape)
  STRUCT(BoxCodecNorm)
  STRUCT(PasteMasksShape)
  STRUCT(MaskTargetsShape)
  STRUCT(PolygonMaskTargetsShape)
#undef STRUCT
  return 0;
}

int htc_roi_align(int type, const void* const* features, const void* boxes,
                  const int64_t* boxes_num, const RoiAlignShape* shape, void* pooled, void* stream){
    ANY_FLOATING(type, cuda::roi_align<T>(reinterpret_cast<const T* const*>(features),
                                          in<Compute<T>::type>(boxes), boxes_num, *shape,
                                          out<T>(pooled), stream))} int64_t
    htc_roi_align_grad_workspace(const RoiAlignShape* shape) {
  return cuda::roi_align_grad_workspace_bytes(*shape);
}
int htc_roi_align_grad(int type, const void* pooled_grad, const void* boxes,
                       const int64_t* boxes_num, const RoiAlignShape* shape, void* const* grads,
                       void* workspace, void* stream) {
  ANY_FLOATING(
      type, cuda::roi_align_grad<T>(in<T>(pooled_grad), in<Compute<T>::type>(boxes), boxes_num,
                                    *shape, reinterpret_cast<T* const*>(grads), workspace, stream))
}

int htc_roi_align_grad_atomic(int type, const void* pooled_grad, const void* boxes,
                              const int64_t* boxes_num, const RoiAlignShape* shape,
                              void* const* grads, void* stream){ANY_FLOATING(
    type, cuda::roi_align_grad_atomic<T>(in<T>(pooled_grad), in<Compute<T>::type>(boxes), boxes_num,
                                         *shape, reinterpret_cast<Compute<T>::type* const*>(grads),
                                         stream))}

int64_t htc_nms_workspace(int type, int64_t num_boxes) {
  FLOATING(type, cuda::nms_workspace_bytes<T>(num_boxes))
}
int htc_nms(int type, const void* boxes, const void* scores, const int64_t* class_ids,
            const NmsShape* shape, double threshold, void* workspace, int64_t* kept,
            int64_t* num_kept, void* stream){
    FLOATING(type, cuda::nms<T>(in<T>(boxes), in<T>(scores), class_ids, *shape, threshold,
                                workspace, kept, num_kept, stream))}

int64_t htc_soft_nms_workspace(int type, int64_t num_boxes) {
  FLOATING(type, cuda::soft_nms_workspace_bytes<T>(num_boxes))
}
int htc_soft_nms(int type, const void* boxes, const void* scores, int64_t num_boxes,
                 const SoftNmsRule* rule, void* workspace, int64_t* kept, void* kept_scores,
                 int64_t* num_kept, void* stream){
    FLOATING(type, cuda::soft_nms<T>(in<T>(boxes), in<T>(scores), num_boxes, *rule, workspace, kept,
                                     out<T>(kept_scores), num_kept, stream))}

int64_t htc_match_anchors_workspace(int type, const MatchShape* shape) {
  FLOATING(type, match_anchors_workspace_bytes<T>(*shape))
}
int htc_match_anchors(int type, const void* anchors, const void* gts, const void* ignores,
                      const MatchShape* shape, const MatchRule* rule, void* workspace,
                      int64_t* matched, void* max_iou, void* stream) {
  FLOATING(type, cuda::match_anchors<T>(in<T>(anchors), in<T>(gts), in<T>(ignores), *shape, *rule,
                                        workspace, matched, out<T>(max_iou), stream))
}

int htc_decode_boxes(int type, const void* boxes, const void* deltas, const void* image_sizes,
                     const int64_t* boxes_num, const BoxCodecShape* shape, const BoxCodecNorm* norm,
                     void* decoded, void* stream) {
  FLOATING(type, cuda::decode_boxes<T>(in<T>(boxes), in<T>(deltas), in<T>(image_sizes), boxes_num,
                                       *shape, *norm, out<T>(decoded), stream))
}
int htc_encode_boxes(int type, const void* boxes, const void* targets, const BoxCodecShape* shape,
                     const BoxCodecNorm* norm, void* deltas, void* stream){
    FLOATING(type, cuda::encode_boxes<T>(in<T>(boxes), in<T>(targets), *shape, *norm,
                                         out<T>(deltas), stream))}

int64_t htc_paste_masks_workspace(const PasteMasksShape* shape) {
  return cuda::paste_masks_workspace_bytes(*shape);
}
int htc_paste_masks(int type, const void* masks, const double* boxes, const PasteMasksShape* shape,
                    double threshold, void* workspace, uint8_t* bitmaps, void* stream) {
  FLOATING(type,
           cuda::paste_masks<T>(in<T>(masks), boxes, *shape, threshold, workspace, bitmaps, stream))
}
int htc_paste_masks_packed(int type, const void* masks, const double* boxes,
                           const PasteMasksShape* shape, double threshold, void* workspace,
                           uint8_t* bits, void* stream) {
  FLOATING(type, cuda::paste_masks_packed<T>(in<T>(masks), boxes, *shape, threshold, workspace,
                                             bits, stream))
}
int htc_paste_masks_rle_count(int type, const void* masks, const double* boxes,
                              const PasteMasksShape* shape, double threshold, void* workspace,
                              int64_t* changes, void* stream) {
  FLOATING(type, cuda::paste_masks_rle_count<T>(in<T>(masks), boxes, *shape, threshold, workspace,
                                                changes, stream))
}
int htc_paste_masks_rle_places(int type, const void* masks, const PasteMasksShape* shape,
                               double threshold, const void* workspace, const int64_t* offsets,
                               int64_t* places, int64_t* lengths, void* stream) {
  FLOATING(type, cuda::paste_masks_rle_places<T>(in<T>(masks), *shape, threshold, workspace,
                                                 offsets, places, lengths, stream))
}
int htc_paste_masks_rle_write(const PasteMasksShape* shape, const int64_t* offsets,
                              const int64_t* places, const int64_t* code_offsets, uint8_t* codes,
                              void* stream) {
  return cuda::paste_masks_rle_write(*shape, offsets, places, code_offsets, codes, stream);
}

int64_t htc_mask_targets_workspace(int type, const MaskTargetsShape* shape) {
  FLOATING(type, cuda::mask_targets_workspace_bytes<T>(*shape))
}
int htc_mask_targets(int type, const void* boxes, const uint8_t* bitmaps, const int64_t* gt_index,
                     const MaskTargetsShape* shape, double threshold, void* workspace,
                     float* targets, void* stream){
    FLOATING(type, cuda::mask_targets<T>(in<T>(boxes), bitmaps, gt_index, *shape, threshold,
                                         workspace, targets, stream))}

int64_t htc_polygon_mask_targets_workspace(const PolygonMaskTargetsShape* shape) {
  return cuda::polygon_mask_targets_workspace_bytes(*shape);
}
int htc_polygon_mask_targets(int type, const void* boxes, const double* points,
                             const int64_t* part_offsets, const int64_t* gt_offsets,
                             const int64_t* gt_index, const PolygonMaskTargetsShape* shape,
                             void* workspace, float* targets, void* stream) {
  FLOATING(type, cuda::polygon_mask_targets<T>(in<T>(boxes), points, part_offsets, gt_offsets,
                                               gt_index, *shape, workspace, targets, stream))
}

}  // extern "C"
