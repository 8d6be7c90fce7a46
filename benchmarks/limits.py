"""Measures what this machine can do, and prints the least time that each operator's work takes.

    python benchmarks/limits.py

Copying: a float32 copy of 256 MB by Paddle's own copy, on all threads, read and written bytes over
the time. Arithmetic: NumPy's float32 product of two matrices of 2048 x 2048. The work of an operator is
counted from the inputs that its benchmark takes (tests/ops/cases): bytes that must be read and
written once, and for RoIAlign the multiply-adds of the sums over rows, then over columns. The
larger of the two times is the limit.
"""

import sys
import time
from pathlib import Path

import numpy as np
import paddle

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ops"))

from cases.roi_align import STRIDES, boxes_in_picture

from htc_ops.reference.roi_align import levels

CHANNELS = 256
SIZE = (800, 1333)


def fastest(function, rounds=15) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def copy_rate() -> float:
    """Bytes a second, those read and those written."""
    source = paddle.zeros([64 << 20], "float32")
    target = paddle.zeros_like(source)
    return 2 * 256e6 * 1.048576 / fastest(lambda: paddle.assign(source, target))


def product_rate() -> float:
    """Multiply-adds a second."""
    a, b = (np.ones((2048, 2048), "float32") for _ in range(2))
    return 2048**3 / fastest(lambda: a @ b)


def roi_align_work(count, bins, channels=CHANNELS):
    """Bytes and multiply-adds of pooling `count` boxes from P2 to P5."""
    boxes = boxes_in_picture(count)
    stride = np.array(STRIDES)[levels(boxes, len(STRIDES))]
    width, height = ((boxes[:, i + 2] - boxes[:, i]) / stride for i in (0, 1))
    columns, rows = width + 2, height + bins + 1  # that the samples touch; rows once for each bin
    sums = rows * columns + bins * (columns + bins)
    result = count * bins * bins * channels * 4
    # The features that the boxes touch, each read once; no more than there are.
    touched = 0
    for s in STRIDES:
        chosen = stride == s
        plane = (-(-SIZE[0] // s)) * (-(-SIZE[1] // s))
        touched += min(plane, float((columns * (height + 2))[chosen].sum()))
    return result + touched * channels * 4, float(sums.sum()) * channels


def work():
    anchors = 267_069
    yield "roi_align forward, 1000 boxes -> 7x7", *roi_align_work(1000, 7)
    yield "roi_align forward, 100 boxes -> 14x14", *roi_align_work(100, 14)
    read, sums = roi_align_work(1000, 7)
    features = sum((-(-SIZE[0] // s)) * (-(-SIZE[1] // s)) for s in STRIDES) * CHANNELS * 4
    yield "roi_align forward + backward, 1000 boxes -> 7x7", 2 * read + features, 2 * sums
    yield "match_anchors, 267,069 anchors x 20", anchors * (16 + 8 + 4), anchors * 20 * 8
    yield "paste_masks, 100 of 28x28 to 800x1333", 100 * SIZE[0] * SIZE[1], 0
    yield "decode_boxes, 267,069", anchors * 48, 0


def main():
    paddle.set_device("cpu")
    copied, multiplied = copy_rate(), product_rate()
    print(f"copy {copied / 1e9:.1f} GB/s, {multiplied / 1e9:.1f} G multiply-adds/s\n")
    print("| work | MB | M multiply-adds | limit by bytes | limit by arithmetic |")
    print("|---|---|---|---|---|")
    for name, size, operations in work():
        by_bytes, by_sums = size / copied * 1e3, operations / multiplied * 1e3
        print(
            f"| {name} | {size / 1e6:.1f} | {operations / 1e6:.0f} "
            f"| {by_bytes:.2f} ms | {by_sums:.2f} ms |"
        )


if __name__ == "__main__":
    main()
