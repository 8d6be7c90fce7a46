"""What pasting masks computes, in NumPy. Slow, and meant to be read."""

import numpy as np


def paste_values(masks, boxes, image_size):
    """masks [N, M, M'], boxes [N, 4] -> [N, H, W]: values, and whether a cell was reached."""
    count, mask_height, mask_width = masks.shape
    values = np.zeros((count, *image_size), masks.dtype)
    reached = np.zeros((count, *image_size), bool)
    for n, (x1, y1, x2, y2) in enumerate(boxes.astype("float64").tolist()):
        xs = _axis(x1, x2, mask_width, image_size[1], masks.dtype)
        ys = _axis(y1, y2, mask_height, image_size[0], masks.dtype)
        if xs is None or ys is None:
            continue
        padded = np.pad(masks[n], 1)
        first, second = padded[:, xs[0]], padded[:, xs[0] + 1]  # [M + 2, W]
        with np.errstate(invalid="ignore", over="ignore"):
            mixed = first + xs[1] * (second - first)
            mixed[[0, -1]] = 0  # rows of zeros, also where the columns hold NaN
            first, second = mixed[ys[0]], mixed[ys[0] + 1]  # [H, W]
            values[n] = first + ys[1][:, None] * (second - first)
        reached[n] = ys[2][:, None] & xs[2]
    return values, reached


def paste_masks(masks, boxes, image_size, threshold=0.5):
    """masks [N, M, M'] float32 or float64, boxes [N, 4] -> uint8 [N, H, W]."""
    values, reached = paste_values(masks, boxes, image_size)
    return ((values >= masks.dtype.type(threshold)) & reached).astype("uint8")


def _axis(start, stop, cells, pixels, dtype):
    """Index of the first of the two cells in the padded mask, weight of the second, reached."""
    with np.errstate(all="ignore"):
        side = np.float64(stop) - np.float64(start)
        if not (side > 0 and np.isfinite(side)) or cells == 0:
            return None
        at = (np.arange(pixels) + 0.5 - start) * (cells / side) - 0.5
        reached = (at > -1) & (at < cells)
        at = np.where(reached, at, 0)
    cell = np.floor(at)
    return cell.astype("int64") + 1, (at - cell).astype(dtype), reached


def encode_rle(bitmap):
    """uint8 [H, W] -> the counts of COCO's compressed run-length code, as bytes.

    The runs of the pixels in column order, of 0 and of 1 in turn, beginning with 0. From the fourth
    run on, its difference to the run two before is written. A number is cut into groups of 5 bits,
    lowest first; a group is the character 48 + bits, + 32 while others follow.
    """
    pixels = bitmap.flatten(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], pixels.astype("int8")]))).tolist()
    runs = np.diff([0, *changes, len(pixels)]).tolist()
    code = bytearray()
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        while True:
            group, number = number & 31, number >> 5
            done = number == (-1 if group & 16 else 0)
            code.append(48 + group + (0 if done else 32))
            if done:
                break
    return bytes(code)
