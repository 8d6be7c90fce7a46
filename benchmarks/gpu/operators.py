"""The operators on PyTorch tensors: allocate, call the library on the current stream, raise."""

from __future__ import annotations

import ctypes

import library as lib
import torch
from library import MAX_LEVELS, TYPES


class KernelError(RuntimeError):
    """A launch gave back a cudaError_t."""


def _type(tensor) -> int:
    return TYPES[str(tensor.dtype).removeprefix("torch.")]


def _pointer(tensor):
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()


class Operators:
    """On `device`: "cuda", or "cpu" for the library that runs on the host."""

    def __init__(self, library: lib.Library, device: str):
        self.library = library
        self.device = device

    def _call(self, name, *arguments):
        stream = torch.cuda.current_stream().cuda_stream if self.device == "cuda" else None
        values = [_pointer(a) if isinstance(a, torch.Tensor) else a for a in arguments]
        status = self.library.functions[name](*values, stream)
        if status != 0:
            raise KernelError(f"{name}: error {status}")

    def _workspace(self, name, *arguments):
        return self._empty(self.library.workspaces[name](*arguments), dtype=torch.uint8)

    def _empty(self, *size, dtype):
        return torch.empty(size, dtype=dtype, device=self.device)

    def _roi_shape(self, sizes, channels, boxes, boxes_num, output_size, scales, **options):
        shape = lib.RoiAlignShape(
            num_rois=len(boxes),
            num_pictures=len(boxes_num),
            channels=channels,
            pooled_height=output_size[0],
            pooled_width=output_size[1],
            num_levels=len(sizes),
            canonical_size=options.get("canonical_size", 56),
            sampling_ratio=options.get("sampling_ratio", 0),
            aligned=options.get("aligned", True),
        )
        assert len(sizes) <= MAX_LEVELS
        for level, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
            shape.heights[level], shape.widths[level], shape.scales[level] = *size, scale
        return shape

    def roi_align(self, features, boxes, boxes_num, output_size, scales, **options):
        """features: a list of [B, C, H, W]; options: canonical_size, sampling_ratio, aligned."""
        shape = self._roi_shape(
            [x.shape[2:] for x in features],
            features[0].shape[1],
            boxes,
            boxes_num,
            output_size,
            scales,
            **options,
        )
        pooled = self._empty(
            len(boxes), features[0].shape[1], *output_size, dtype=features[0].dtype
        )
        pointers = (ctypes.c_void_p * len(features))(*(_pointer(x) for x in features))
        self._call(
            "roi_align", _type(features[0]), pointers, boxes, boxes_num, ctypes.byref(shape), pooled
        )
        return pooled

    def roi_align_grad(self, grad, sizes, boxes, boxes_num, scales, **options):
        """grad [R, C, PH, PW]; sizes: B, C, H, W of each level. Returns a gradient a level."""
        shape = self._grad_shape(grad, sizes, boxes, boxes_num, scales, **options)
        results = [self._empty(*size, dtype=grad.dtype) for size in sizes]
        workspace = self._workspace("roi_align_grad", ctypes.byref(shape))
        pointers = (ctypes.c_void_p * len(results))(*(_pointer(x) for x in results))
        self._call(
            "roi_align_grad",
            *(_type(grad), grad, boxes, boxes_num, ctypes.byref(shape), pointers, workspace),
        )
        return results

    def roi_align_grad_atomic(self, grad, sizes, boxes, boxes_num, scales, **options):
        """The same by atomic additions, as float32 for 16-bit types: not an operator of the package."""
        shape = self._grad_shape(grad, sizes, boxes, boxes_num, scales, **options)
        results = [self._empty(*size, dtype=boxes.dtype) for size in sizes]
        pointers = (ctypes.c_void_p * len(results))(*(_pointer(x) for x in results))
        self._call(
            "roi_align_grad_atomic",
            *(_type(grad), grad, boxes, boxes_num, ctypes.byref(shape), pointers),
        )
        return results

    def _grad_shape(self, grad, sizes, boxes, boxes_num, scales, **options):
        levels = [size[2:] for size in sizes]
        return self._roi_shape(
            levels, grad.shape[1], boxes, boxes_num, grad.shape[2:], scales, **options
        )

    def nms_on_device(self, boxes, scores, class_ids, threshold, max_keep=None):
        """Kept indices with room for all, and their number: both on the device, no wait."""
        count = len(boxes)
        shape = lib.NmsShape(count, count if max_keep is None else max_keep)
        workspace = self._workspace("nms", _type(boxes), count)
        kept = self._empty(min(count, shape.max_keep), dtype=torch.int64)
        num_kept = self._empty(1, dtype=torch.int64)
        self._call(
            "nms",
            *(_type(boxes), boxes, scores, class_ids, ctypes.byref(shape), threshold),
            *(workspace, kept, num_kept),
        )
        return kept, num_kept

    def nms(self, boxes, scores, threshold, class_ids=None, max_keep=None):
        kept, num_kept = self.nms_on_device(boxes, scores, class_ids, threshold, max_keep)
        return kept[: int(num_kept)]

    def soft_nms(self, boxes, scores, method, **options):
        rule = lib.SoftNmsRule(0.3, 0.5, options.get("min_score", 1e-3), method == "gaussian")
        workspace = self._workspace("soft_nms", _type(boxes), len(boxes))
        kept = self._empty(len(boxes), dtype=torch.int64)
        num_kept = self._empty(1, dtype=torch.int64)
        kept_scores = torch.empty_like(scores)
        self._call(
            "soft_nms",
            *(_type(boxes), boxes, scores, len(boxes), ctypes.byref(rule), workspace),
            *(kept, kept_scores, num_kept),
        )
        return kept[: int(num_kept)], kept_scores[: int(num_kept)]

    def match_anchors(self, anchors, gts, positive, negative, least=0.0, low_quality=True):
        shape = lib.MatchShape(len(anchors), len(gts), 0)
        rule = lib.MatchRule(positive, negative, least, low_quality, -1.0)
        workspace = self._workspace("match_anchors", _type(anchors), ctypes.byref(shape))
        matched = self._empty(len(anchors), dtype=torch.int64)
        max_iou = self._empty(len(anchors), dtype=anchors.dtype)
        self._call(
            "match_anchors",
            *(_type(anchors), anchors, gts, None, ctypes.byref(shape), ctypes.byref(rule)),
            *(workspace, matched, max_iou),
        )
        return matched, max_iou

    def decode_boxes(self, boxes, deltas, image_sizes=None, boxes_num=None):
        pictures = 0 if image_sizes is None else len(image_sizes)
        shape = lib.BoxCodecShape(len(boxes), deltas.shape[1] // 4, pictures)
        decoded = torch.empty_like(deltas)
        self._call(
            "decode_boxes",
            *(_type(boxes), boxes, deltas, image_sizes, boxes_num, ctypes.byref(shape)),
            *(ctypes.byref(_norm()), decoded),
        )
        return decoded

    def encode_boxes(self, boxes, targets):
        shape = lib.BoxCodecShape(len(boxes), 1, 0)
        deltas = torch.empty_like(boxes)
        self._call(
            "encode_boxes",
            *(_type(boxes), boxes, targets, ctypes.byref(shape), ctypes.byref(_norm()), deltas),
        )
        return deltas

    def paste_masks(self, masks, boxes, size, threshold=0.5, packed=False):
        """boxes: float64."""
        shape = lib.PasteMasksShape(*masks.shape, *size)
        workspace = self._workspace("paste_masks", ctypes.byref(shape))
        height, width = size
        row = (width + 7) // 8 if packed else width
        bitmaps = self._empty(len(masks), height, row, dtype=torch.uint8)
        self._call(
            "paste_masks_packed" if packed else "paste_masks",
            *(_type(masks), masks, boxes, ctypes.byref(shape), threshold, workspace, bitmaps),
        )
        return bitmaps

    def paste_masks_rle(self, masks, boxes, size, threshold=0.5):
        """Codes of all masks, one after another, and offsets [N + 1]; waits for two sums."""
        shape = lib.PasteMasksShape(*masks.shape, *size)
        reference = ctypes.byref(shape)
        count, number = len(masks), _type(masks)
        workspace = self._workspace("paste_masks", reference)
        changes, lengths = (self._empty(count, dtype=torch.int64) for _ in range(2))
        self._call(
            "paste_masks_rle_count", number, masks, boxes, reference, threshold, workspace, changes
        )
        offsets = torch.nn.functional.pad(changes.cumsum(0), (1, 0))
        places = self._empty(int(offsets[-1]), dtype=torch.int64)
        self._call(
            "paste_masks_rle_places",
            *(number, masks, reference, threshold, workspace, offsets, places, lengths),
        )
        code_offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        codes = self._empty(int(code_offsets[-1]), dtype=torch.uint8)
        self._call("paste_masks_rle_write", reference, offsets, places, code_offsets, codes)
        return codes, code_offsets

    def mask_targets(self, boxes, bitmaps, gt_index, size, threshold=0.5):
        shape = lib.MaskTargetsShape(len(boxes), *bitmaps.shape, *size)
        reference = ctypes.byref(shape)
        workspace = self._workspace("mask_targets", _type(boxes), reference)
        targets = self._empty(len(boxes), *size, dtype=torch.float32)
        self._call(
            "mask_targets",
            *(_type(boxes), boxes, bitmaps, gt_index, reference, threshold, workspace, targets),
        )
        return targets

    def polygon_mask_targets(self, boxes, points, part_offsets, gt_offsets, gt_index, size):
        counts = len(boxes), len(gt_offsets) - 1, len(part_offsets) - 1, len(points)
        shape = lib.PolygonMaskTargetsShape(*counts, *size)
        reference = ctypes.byref(shape)
        workspace = self._workspace("polygon_mask_targets", reference)
        targets = self._empty(len(boxes), *size, dtype=torch.float32)
        self._call(
            "polygon_mask_targets",
            *(_type(boxes), boxes, points, part_offsets, gt_offsets, gt_index, reference),
            *(workspace, targets),
        )
        return targets


def _norm():
    """Means 0, standard deviations 1, the usual limit of log(1000 / 16)."""
    return lib.BoxCodecNorm((0, 0, 0, 0), (1, 1, 1, 1), 4.135166556742356)
