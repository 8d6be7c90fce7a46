"""RoIAlign: `roi_align` over one feature map, `multilevel_roi_align` over a feature pyramid."""

from __future__ import annotations

import math

import paddle

from htc_ops import _checks as checks
from htc_ops import _library

MAX_LEVELS = 8
MAX_BINS = 2**15
MAX_SAMPLING_RATIO = 4096
MAX_AVERAGE = 64


@_library.operator
def roi_align(
    x,
    boxes,
    boxes_num,
    output_size,
    spatial_scale=1.0,
    sampling_ratio=-1,
    aligned=True,
    average=1,
):
    """Pool each box to a small grid of bins: the mean of bilinear samples, one grid a channel.

    As paddle.vision.ops.roi_align, with these cases defined that it leaves open: a box with a NaN
    or infinite side, or without a positive width and height where the grid of samples adapts to
    it, pools to zeros and gets no gradient; so does one outside the picture. A sample outside
    [-1, size] of the map counts as 0, one between there and the border as the border. A NaN or
    infinite feature may also reach the other bins of the boxes that read it.
    The gradient is of x alone and the same bits for any number of threads.

    Source: Mask R-CNN (arXiv 1703.06870); aligned: detectron2, layers/roi_align.py.

    Args:
        x: [B, C, H, W] float32, float64, float16 or bfloat16. 16-bit features are added up in
            float32.
        boxes: [R, 4] float32 (float64 with a float64 x), x1 y1 x2 y2 in pixels of the picture.
        boxes_num: [B] int32 or int64, boxes of each picture, in order; its sum must be R.
        output_size: bins, an integer or (height, width), 1 to 32768 each.
        spatial_scale: pixels of x a pixel of the picture, above 0.
        sampling_ratio: samples a bin along each axis, at most 4096. 0 or less: the ceiling of the
            bin's own height and width in pixels of x, each axis for itself.
        aligned: whether pixel centres lie at half coordinates. False is the older rule: no shift,
            and boxes at least one pixel of x wide and high.
        average: k for bins that are each the mean of k x k bins: what pooling to k times
            output_size and then averaging blocks gives, without the larger result. 1 to 64.

    Returns:
        [R, C, height, width] of the dtype of x.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_tensor("x", x, ("B", "C", "H", "W"), checks.HALF_FLOATS)
    if not isinstance(aligned, bool):
        raise TypeError(f"aligned: expected True or False, got {aligned!r}")
    scale = _positive("spatial_scale", spatial_scale)
    average = checks.check_integer("average", average, 1)
    if average > MAX_AVERAGE:
        raise ValueError(f"average: expected at most {MAX_AVERAGE}, got {average}")
    return _pool(
        "x", [x], boxes, boxes_num, output_size, [scale], sampling_ratio, 1.0, aligned, average
    )


@_library.operator
def multilevel_roi_align(
    features,
    boxes,
    boxes_num,
    output_size,
    strides,
    sampling_ratio=-1,
    canonical_size=56,
):
    """Pool each box from the level of a feature pyramid that suits its size, in one pass.

    The level is clip(floor(log2(sqrt(width * height) / canonical_size + 1e-6)), 0, levels - 1),
    counted from the first feature map: boxes under twice canonical_size come from the first, and
    each doubling moves one on. A box without an area is of level 0. Pooling is that of `roi_align`
    with aligned=True and a spatial_scale of 1 / stride, odd boxes included.

    Source: FPN (arXiv 1612.03144), equation 1; mmdetection 3.3.0, single_level_roi_extractor.py.

    Args:
        features: list of 1 to 8 [B, C, H_l, W_l], finest first, of one dtype: float32, float64,
            float16 or bfloat16.
        boxes: [R, 4] float32 (float64 with float64 features), x1 y1 x2 y2 in pixels of the picture.
        boxes_num: [B] int32 or int64, boxes of each picture, in order; its sum must be R.
        output_size: bins, an integer or (height, width), 1 to 32768 each.
        strides: pixels of the picture a pixel of each feature map, a number above 0 a level.
        sampling_ratio: as for roi_align.
        canonical_size: half the side in pixels at which boxes leave the first level, above 0.

    Returns:
        [R, C, height, width] of the dtype of the features, in the order of boxes.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    if not isinstance(features, (list, tuple)):
        raise TypeError(f"features: expected a list of Tensors, got {type(features).__name__}")
    if not 1 <= len(features) <= MAX_LEVELS:
        raise ValueError(f"features: expected 1 to {MAX_LEVELS} levels, got {len(features)}")
    if not isinstance(strides, (list, tuple)):
        raise TypeError(f"strides: expected a list of numbers, got {type(strides).__name__}")
    if len(strides) != len(features):
        raise ValueError(
            f"strides: expected {len(features)} numbers, one a level, got {len(strides)}"
        )
    for level, feature in enumerate(features):
        name = f"features[{level}]"
        checks.check_tensor(name, feature, ("B", "C", "H", "W"), checks.HALF_FLOATS)
        checks.check_same(name, feature, "features[0]", features[0])
        for axis in (0, 1):
            size, first = feature.shape[axis], features[0].shape[axis]
            if size != first and -1 not in (size, first):
                raise ValueError(
                    f"{name}: expected B and C as of features[0], {list(features[0].shape)}, "
                    f"got {list(feature.shape)}"
                )
    scales = [1 / _positive("strides", stride) for stride in strides]
    canonical_size = _positive("canonical_size", canonical_size)
    return _pool(
        "features[0]",
        list(features),
        boxes,
        boxes_num,
        output_size,
        scales,
        sampling_ratio,
        canonical_size,
        True,
    )


def _pool(
    name,
    features,
    boxes,
    boxes_num,
    output_size,
    scales,
    sampling_ratio,
    canonical_size,
    aligned,
    average=1,
):
    """The operator itself; `name` is what the caller knows features[0] as."""
    dtype = features[0].dtype
    box_dtype = paddle.float64 if dtype == paddle.float64 else paddle.float32
    checks.check_tensor("boxes", boxes, ("R", 4), (box_dtype,))
    checks.check_same_device("boxes", boxes, name, features[0])
    checks.check_boxes_num("boxes_num", boxes_num, "boxes", boxes)
    checks.check_length("boxes_num", boxes_num, features[0].shape[0], f"one a picture of {name}")
    height, width = checks.check_pair("output_size", output_size)
    if max(height, width) > MAX_BINS:
        raise ValueError(f"output_size: expected at most {MAX_BINS} a side, got {output_size}")
    sampling_ratio = max(checks.check_integer("sampling_ratio", sampling_ratio, -(2**31)), 0)
    if sampling_ratio > MAX_SAMPLING_RATIO:
        raise ValueError(
            f"sampling_ratio: expected at most {MAX_SAMPLING_RATIO}, got {sampling_ratio}"
        )
    inputs = {
        "Features": list(features),
        "Boxes": boxes.detach(),
        "BoxesNum": boxes_num,
    }
    attributes = {
        "pooled_height": height,
        "pooled_width": width,
        "scales": [_library.real(scale) for scale in scales],
        "canonical_size": _library.real(canonical_size),
        # Parts of a bin have the samples of the bins that they are; -k: k parts, each its own grid.
        "sampling_ratio": sampling_ratio * average or -average,
        "aligned": aligned,
    }
    return _library.call("htc_roi_align", inputs, attributes, {"Pooled": dtype})[0]


def _positive(name: str, value) -> float:
    number = checks.check_real(name, value)
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(f"{name}: expected a finite number above 0, got {value}")
    return number
