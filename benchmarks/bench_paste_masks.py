"""Pasting 100 masks of 28 x 28 into a picture of 800 x 1333: bitmaps, bits, run-length codes.

Paddle has no operator for it. Its bars are what detectors write instead: grid_sample over the whole
picture for all masks at once, and over each box alone. The limit of the bitmaps is the time that
filling their memory takes (107 MB).
"""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from cases import masks as cases
from pycocotools import mask as coco

import htc_ops

SIZE = (800, 1333)
COUNT = 100


@pytest.fixture(scope="module")
def detections():
    paddle.set_device("cpu")
    return tuple(map(paddle.to_tensor, cases.detections(COUNT, SIZE)))


def centres(start, stop, low, high):
    """Where the centres of pixels start .. stop - 1 lie between low and high: -1 to 1, [N, P]."""
    pixels = paddle.arange(start, stop, dtype="float32") + 0.5
    return (pixels - low.unsqueeze(-1)) / (high - low).unsqueeze(-1) * 2 - 1


def sample(masks, boxes, window):
    """Probabilities [N, h, w] of the pixels of window = (x1, y1, x2, y2)."""
    x = centres(window[0], window[2], boxes[:, 0], boxes[:, 2])  # [N, w]
    y = centres(window[1], window[3], boxes[:, 1], boxes[:, 3])  # [N, h]
    shape = [len(masks), y.shape[1], x.shape[1]]
    grid = paddle.stack([x.unsqueeze(1).expand(shape), y.unsqueeze(2).expand(shape)], axis=3)
    return F.grid_sample(masks.unsqueeze(1), grid, align_corners=False)[:, 0]


def paddle_whole_picture(masks, boxes):
    probabilities = sample(masks, boxes, (0, 0, SIZE[1], SIZE[0]))
    return (probabilities >= 0.5).astype("uint8")


def windows(boxes):
    """Of each box, the pixels that it can touch: a cell more than the box on each side."""
    margin = (boxes[:, 2:] - boxes[:, :2]) / 28 + 1
    low = np.floor(np.maximum(boxes[:, :2] - margin, 0)).astype(int)
    high = np.ceil(np.minimum(boxes[:, 2:] + margin, [SIZE[1], SIZE[0]])).astype(int)
    return np.concatenate([low, high], axis=1).tolist()


def paddle_box_by_box(masks, boxes):
    bitmaps = paddle.zeros([len(masks), *SIZE], "uint8")
    for n, (x1, y1, x2, y2) in enumerate(windows(boxes.numpy())):
        part = sample(masks[n : n + 1], boxes[n : n + 1], (x1, y1, x2, y2))
        bitmaps[n, y1:y2, x1:x2] = (part[0] >= 0.5).astype("uint8")
    return bitmaps


def htc_ops_bitmaps(masks, boxes):
    return htc_ops.paste_masks(masks, boxes, SIZE)


def htc_ops_bits(masks, boxes):
    return htc_ops.paste_masks(masks, boxes, SIZE, packed=True)


def htc_ops_bitmaps_and_numpy_packbits(masks, boxes):
    return np.packbits(htc_ops_bitmaps(masks, boxes).numpy(), axis=-1)


def paddle_box_by_box_and_numpy_packbits(masks, boxes):
    return np.packbits(paddle_box_by_box(masks, boxes).numpy(), axis=-1)


def limit_filling_the_memory(masks, boxes):
    return paddle.full([len(masks), *SIZE], 1, "uint8")


def codes(bitmaps):
    columns_first = np.asfortranarray(bitmaps.numpy().transpose(1, 2, 0))
    return coco.encode(columns_first)


def paddle_box_by_box_and_pycocotools(masks, boxes):
    return codes(paddle_box_by_box(masks, boxes))


def paddle_box_by_box_without_coding(masks, boxes):
    """Only the sampling and the comparison: nothing is put together or encoded."""
    return [
        sample(masks[n : n + 1], boxes[n : n + 1], window) >= 0.5
        for n, window in enumerate(windows(boxes.numpy()))
    ]


def htc_ops_codes(masks, boxes):
    return htc_ops.paste_masks_rle(masks, boxes, SIZE)


BITMAPS = {
    htc_ops_bitmaps: 30,
    limit_filling_the_memory: 30,
    paddle_box_by_box: 5,
    paddle_whole_picture: 2,
}
BITS = {
    htc_ops_bits: 30,
    htc_ops_bitmaps_and_numpy_packbits: 10,
    paddle_box_by_box_and_numpy_packbits: 5,
}
CODES = {
    htc_ops_codes: 100,
    paddle_box_by_box_without_coding: 8,
    paddle_box_by_box_and_pycocotools: 4,
}


@pytest.mark.parametrize("function", BITMAPS)
def test_bitmaps(benchmark, detections, function):
    benchmark.group = "paste_masks: 100 masks 28x28 to 800x1333 uint8"
    if function is not limit_filling_the_memory:
        # Sums of other order differ in the last digits: a pixel in a million may fall otherwise.
        different = (function(*detections) != htc_ops_bitmaps(*detections)).sum()
        assert int(different) <= COUNT
    benchmark.pedantic(function, detections, rounds=BITMAPS[function], warmup_rounds=1)


@pytest.mark.parametrize("function", BITS)
def test_bits(benchmark, detections, function):
    benchmark.group = "paste_masks: 100 masks 28x28 to 800x1333 packed bits"
    expected = htc_ops_bitmaps_and_numpy_packbits(*detections)
    different = np.unpackbits(np.asarray(function(*detections)) ^ expected).sum()
    assert different <= (COUNT if function is paddle_box_by_box_and_numpy_packbits else 0)
    benchmark.pedantic(function, detections, rounds=BITS[function], warmup_rounds=1)


@pytest.mark.parametrize("function", CODES)
def test_run_lengths(benchmark, detections, function):
    benchmark.group = "paste_masks_rle: 100 masks 28x28 in 800x1333 to COCO's RLE"
    assert htc_ops_codes(*detections) == codes(htc_ops_bitmaps(*detections))
    benchmark.pedantic(function, detections, rounds=CODES[function], warmup_rounds=1)
