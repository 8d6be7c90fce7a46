"""The C functions of c_api.cpp through ctypes: structs, signatures, and checks of both."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_bool, c_char_p, c_double, c_int, c_int64, c_void_p
from pathlib import Path

MAX_LEVELS = 8
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}


def _struct(name: str, **fields) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


def _sizes(name: str, *fields: str) -> type[ctypes.Structure]:
    return _struct(name, **dict.fromkeys(fields, c_int64))


# As in csrc/include/htc/ops; `check` compares their sizes with the library's.
RoiAlignShape = _struct(
    "RoiAlignShape",
    num_rois=c_int64,
    num_pictures=c_int64,
    channels=c_int64,
    pooled_height=c_int64,
    pooled_width=c_int64,
    num_levels=c_int,
    heights=c_int64 * MAX_LEVELS,
    widths=c_int64 * MAX_LEVELS,
    scales=c_double * MAX_LEVELS,
    canonical_size=c_double,
    sampling_ratio=c_int64,
    aligned=c_bool,
)
NmsShape = _sizes("NmsShape", "num_boxes", "max_keep")
SoftNmsRule = _struct(
    "SoftNmsRule", iou_threshold=c_double, sigma=c_double, min_score=c_double, method=c_int
)
MatchShape = _sizes("MatchShape", "num_anchors", "num_gts", "num_ignores")
MatchRule = _struct(
    "MatchRule",
    positive_iou=c_double,
    negative_iou=c_double,
    min_positive_iou=c_double,
    low_quality=c_bool,
    ignore_iof=c_double,
)
BoxCodecShape = _sizes("BoxCodecShape", "num_boxes", "num_deltas", "num_pictures")
BoxCodecNorm = _struct("BoxCodecNorm", mean=c_double * 4, std=c_double * 4, max_log_ratio=c_double)
PasteMasksShape = _sizes(
    "PasteMasksShape", "num_masks", "mask_height", "mask_width", "height", "width"
)
MaskTargetsShape = _sizes(
    "MaskTargetsShape", "num_boxes", "num_gts", "height", "width", "target_height", "target_width"
)
PolygonMaskTargetsShape = _sizes(
    "PolygonMaskTargetsShape",
    *("num_boxes", "num_gts", "num_parts", "num_points", "target_height", "target_width"),
)
STRUCTS = [
    RoiAlignShape,
    NmsShape,
    SoftNmsRule,
    MatchShape,
    MatchRule,
    BoxCodecShape,
    BoxCodecNorm,
    PasteMasksShape,
    MaskTargetsShape,
    PolygonMaskTargetsShape,
]

# One letter an argument: i int, n int64, d double, p pointer to memory of the device, P to an array
# of such pointers on the host; or a struct, handed over by pointer. The stream comes last.
_KINDS = {"i": c_int, "n": c_int64, "d": c_double, "p": c_void_p, "P": POINTER(c_void_p)}
CALLS = {
    "roi_align": ["i", "P", "p", "p", RoiAlignShape, "p"],
    "roi_align_grad": ["i", "p", "p", "p", RoiAlignShape, "P", "p"],
    "roi_align_grad_atomic": ["i", "p", "p", "p", RoiAlignShape, "P"],
    "nms": ["i", "p", "p", "p", NmsShape, "d", "p", "p", "p"],
    "soft_nms": ["i", "p", "p", "n", SoftNmsRule, "p", "p", "p", "p"],
    "match_anchors": ["i", "p", "p", "p", MatchShape, MatchRule, "p", "p", "p"],
    "decode_boxes": ["i", "p", "p", "p", "p", BoxCodecShape, BoxCodecNorm, "p"],
    "encode_boxes": ["i", "p", "p", BoxCodecShape, BoxCodecNorm, "p"],
    "paste_masks": ["i", "p", "p", PasteMasksShape, "d", "p", "p"],
    "paste_masks_packed": ["i", "p", "p", PasteMasksShape, "d", "p", "p"],
    "paste_masks_rle_count": ["i", "p", "p", PasteMasksShape, "d", "p", "p"],
    "paste_masks_rle_places": ["i", "p", PasteMasksShape, "d", "p", "p", "p", "p"],
    "paste_masks_rle_write": [PasteMasksShape, "p", "p", "p", "p"],
    "mask_targets": ["i", "p", "p", "p", MaskTargetsShape, "d", "p", "p"],
    "polygon_mask_targets": ["i", "p", "p", "p", "p", "p", PolygonMaskTargetsShape, "p", "p"],
}
WORKSPACES = {
    "roi_align_grad": [RoiAlignShape],
    "nms": ["i", "n"],
    "soft_nms": ["i", "n"],
    "match_anchors": ["i", MatchShape],
    "paste_masks": [PasteMasksShape],
    "mask_targets": ["i", MaskTargetsShape],
    "polygon_mask_targets": [PolygonMaskTargetsShape],
}


def _types(kinds) -> list:
    return [_KINDS[kind] if isinstance(kind, str) else POINTER(kind) for kind in kinds]


class Library:
    """The library, with every function's signature set: ctypes refuses what does not fit."""

    def __init__(self, path: Path):
        loaded = ctypes.CDLL(str(path))
        self.bytes_of = loaded.htc_bytes_of
        self.bytes_of.argtypes, self.bytes_of.restype = [c_char_p], c_int64
        self.functions, self.workspaces = {}, {}
        for name, kinds in CALLS.items():
            function = getattr(loaded, f"htc_{name}")  # AttributeError: the symbol is missing
            function.argtypes, function.restype = [*_types(kinds), c_void_p], c_int
            self.functions[name] = function
        for name, kinds in WORKSPACES.items():
            function = getattr(loaded, f"htc_{name}_workspace")
            function.argtypes, function.restype = _types(kinds), c_int64
            self.workspaces[name] = function

    def check(self) -> None:
        """Compare the structs with the library's, and call what needs no GPU."""
        for struct in STRUCTS:
            theirs, ours = self.bytes_of(struct.__name__.encode()), ctypes.sizeof(struct)
            if theirs != ours:
                raise AssertionError(f"{struct.__name__} has {theirs} bytes there, {ours} here")
        for name, kinds in WORKSPACES.items():
            arguments = [
                {"i": 0, "n": 100}[kind] if isinstance(kind, str) else _some(kind) for kind in kinds
            ]
            if self.workspaces[name](*arguments) <= 0:
                raise AssertionError(f"{name} says that it needs no workspace")
        for name in self.functions:  # of a type that there is not: no kernel is launched
            if CALLS[name][0] == "i" and self.functions[name](*self._of_wrong_type(name)) != -1:
                raise AssertionError(f"{name} takes a type that there is not")

    @staticmethod
    def _of_wrong_type(name: str) -> list:
        values = {"i": 99, "n": 0, "d": 0.5, "p": None, "P": None}
        return [
            *(values[kind] if isinstance(kind, str) else kind() for kind in CALLS[name]),
            None,
        ]


def _some(struct):
    """One with all sizes 10: enough to ask for a workspace."""
    value = struct()
    for field, kind in struct._fields_:
        if kind in (c_int64, c_int):
            setattr(value, field, 1 if field == "num_levels" else 10)
    return value
