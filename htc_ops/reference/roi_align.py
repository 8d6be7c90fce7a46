"""What RoIAlign and its gradient compute, in NumPy. Slow, and meant to be read.

Coordinates are in the dtype of the boxes, in the order of operations of Paddle's roi_align: which
side of the border a sample falls on is then the same everywhere. Sums are in float64.
"""

import numpy as np


def roi_align(
    x, boxes, boxes_num, output_size, spatial_scale=1, sampling_ratio=-1, aligned=True, average=1
):
    """x [B, C, H, W], boxes [R, 4], boxes_num [B] -> float64 [R, C, *output_size]."""
    if average > 1:
        finer = [average * size for size in output_size]
        pooled = roi_align(x, boxes, boxes_num, finer, spatial_scale, sampling_ratio, aligned)
        blocks = [size for bins in output_size for size in (bins, average)]
        return pooled.reshape(*pooled.shape[:2], *blocks).mean((3, 5))
    pooled = np.zeros((len(boxes), x.shape[1], *output_size))
    pictures = np.repeat(np.arange(len(x)), boxes_num)
    for r, (box, picture) in enumerate(zip(boxes, pictures, strict=True)):
        for ph, pw, row, column, weight in _taps(
            box, output_size, x.shape[2:], spatial_scale, sampling_ratio, aligned
        ):
            pooled[r, :, ph, pw] += weight * x[picture, :, row, column].astype("float64")
    return pooled


def roi_align_grad(
    grad, shape, boxes, boxes_num, spatial_scale=1, sampling_ratio=-1, aligned=True, average=1
):
    """grad [R, C, PH, PW], shape = B, C, H, W -> float64 of that shape."""
    if average > 1:
        finer = grad.repeat(average, 2).repeat(average, 3) / average**2
        return roi_align_grad(
            finer, shape, boxes, boxes_num, spatial_scale, sampling_ratio, aligned
        )
    result = np.zeros(shape)
    pictures = np.repeat(np.arange(shape[0]), boxes_num)
    for r, (box, picture) in enumerate(zip(boxes, pictures, strict=True)):
        for ph, pw, row, column, weight in _taps(
            box, grad.shape[2:], shape[2:], spatial_scale, sampling_ratio, aligned
        ):
            result[picture, :, row, column] += weight * grad[r, :, ph, pw].astype("float64")
    return result


def levels(boxes, num_levels, canonical_size=56):
    """boxes [R, 4] -> int64 [R]."""
    with np.errstate(invalid="ignore", over="ignore"):
        size = boxes[:, 2:] - boxes[:, :2]
        ratio = np.sqrt(size[:, 0] * size[:, 1]) / boxes.dtype.type(canonical_size)
        ratio = np.nan_to_num(ratio + boxes.dtype.type(1e-6), nan=0, posinf=2.0**60)
    return np.clip(np.frexp(ratio)[1] - 1, 0, num_levels - 1).astype("int64")


def multilevel_roi_align(
    features, boxes, boxes_num, output_size, strides, sampling_ratio=-1, canonical_size=56
):
    """features: a list of [B, C, H_l, W_l]; else as roi_align."""
    level = levels(boxes, len(features), canonical_size)
    pooled = np.zeros((len(boxes), features[0].shape[1], *output_size))
    for number, (x, stride) in enumerate(zip(features, strides, strict=True)):
        chosen = level == number
        counts = _counts(chosen, boxes_num)
        pooled[chosen] = roi_align(
            x, boxes[chosen], counts, output_size, 1 / stride, sampling_ratio
        )
    return pooled


def multilevel_roi_align_grad(
    grad, shapes, boxes, boxes_num, strides, sampling_ratio=-1, canonical_size=56
):
    """grad [R, C, PH, PW], shapes: B, C, H_l, W_l of each level -> a list of gradients."""
    level = levels(boxes, len(shapes), canonical_size)
    results = []
    for number, (shape, stride) in enumerate(zip(shapes, strides, strict=True)):
        chosen = level == number
        counts = _counts(chosen, boxes_num)
        results.append(
            roi_align_grad(grad[chosen], shape, boxes[chosen], counts, 1 / stride, sampling_ratio)
        )
    return results


def _counts(chosen, boxes_num):
    ends = np.cumsum(boxes_num)
    return [int(chosen[e - n : e].sum()) for e, n in zip(ends, boxes_num, strict=True)]


def _taps(box, output_size, size, spatial_scale, sampling_ratio, aligned):
    """Yield (bin row, bin column, row, column, weight) of every pixel that a sample reads."""
    real = box.dtype.type
    if not np.isfinite(box).all() or 0 in size:
        return
    offset = real(0.5 if aligned else 0)
    x1, y1, x2, y2 = box * real(spatial_scale) - offset
    height, width = y2 - y1, x2 - x1
    if not aligned:
        height, width = max(height, real(1)), max(width, real(1))
    bin_height, bin_width = height / real(output_size[0]), width / real(output_size[1])
    grid_height = sampling_ratio if sampling_ratio > 0 else int(np.ceil(bin_height))
    grid_width = sampling_ratio if sampling_ratio > 0 else int(np.ceil(bin_width))
    count = grid_height * grid_width
    for ph in range(output_size[0]):
        for iy in range(grid_height):
            y = y1 + bin_height * (real(ph) + real(iy + 0.5) / real(grid_height))
            for pw in range(output_size[1]):
                for ix in range(grid_width):
                    x = x1 + bin_width * (real(pw) + real(ix + 0.5) / real(grid_width))
                    if -1 <= y <= size[0] and -1 <= x <= size[1]:
                        for row, wy in _neighbours(y, size[0]):
                            for column, wx in _neighbours(x, size[1]):
                                yield ph, pw, row, column, float(wy) * float(wx) / count


def _neighbours(position, size):
    """The two pixels around a position, and their weights; the border's own beyond it."""
    position = max(position, 0)
    low = int(position)
    if low >= size - 1:
        return [(size - 1, 1.0)]
    return [(low, low + 1 - position), (low + 1, position - low)]
