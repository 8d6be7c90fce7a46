"""Operators of instance segmentation for PaddlePaddle, on CPU and GPU."""

from htc_ops import _installation

try:
    from htc_ops._library import get_num_threads, release_memory, set_num_threads
    from htc_ops.box_codec import decode_boxes, encode_boxes
    from htc_ops.conv2d import conv2d
    from htc_ops.conv3x3 import conv3x3
    from htc_ops.mask_logits import mask_logits
    from htc_ops.mask_targets import mask_targets
    from htc_ops.match_anchors import match_anchors
    from htc_ops.nms import batched_nms, nms
    from htc_ops.paste_masks import paste_masks, paste_masks_rle
    from htc_ops.polygon_mask_targets import polygon_mask_targets
    from htc_ops.resample import max_pool_half, resize_like
    from htc_ops.roi_align import multilevel_roi_align, roi_align
    from htc_ops.soft_nms import soft_nms
except Exception:
    if not _installation.doctor_is_called():
        raise

__all__ = [
    "batched_nms",
    "conv2d",
    "conv3x3",
    "decode_boxes",
    "encode_boxes",
    "get_num_threads",
    "mask_logits",
    "mask_targets",
    "match_anchors",
    "max_pool_half",
    "multilevel_roi_align",
    "nms",
    "paste_masks",
    "paste_masks_rle",
    "polygon_mask_targets",
    "release_memory",
    "resize_like",
    "roi_align",
    "set_num_threads",
    "soft_nms",
]
