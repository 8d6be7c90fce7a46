"""Decoding and encoding of boxes, against a composition of Paddle's own operators."""

import math

import numpy as np
import paddle
import pytest
from cases.box_codec import boxes_and_deltas

import htc_ops
from htc_ops.reference import box_codec as oracle

MEANS, STDS = (0.0, 0.0, 0.0, 0.0), (0.1, 0.1, 0.2, 0.2)
SIZE = (800, 1333)
COUNTS = [1000, 267_069]


def decode_in_paddle(boxes, deltas):
    limit = math.log(1000 / 16)
    dx, dy, dw, dh = (deltas * paddle.to_tensor(STDS)).unbind(1)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x = (boxes[:, 0] + boxes[:, 2]) * 0.5 + width * dx
    y = (boxes[:, 1] + boxes[:, 3]) * 0.5 + height * dy
    half_width = width * paddle.exp(paddle.clip(dw, -limit, limit)) * 0.5
    half_height = height * paddle.exp(paddle.clip(dh, -limit, limit)) * 0.5
    columns = [
        paddle.clip(x - half_width, 0, SIZE[1]),
        paddle.clip(y - half_height, 0, SIZE[0]),
        paddle.clip(x + half_width, 0, SIZE[1]),
        paddle.clip(y + half_height, 0, SIZE[0]),
    ]
    return paddle.stack(columns, axis=1)


def decode_in_htc_ops(boxes, deltas):
    return htc_ops.decode_boxes(boxes, deltas, MEANS, STDS, image_size=SIZE)


def encode_in_paddle(boxes, targets):
    size, target_size = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    shift = (targets[:, :2] + targets[:, 2:]) * 0.5 - (boxes[:, :2] + boxes[:, 2:]) * 0.5
    deltas = paddle.concat([shift / size, paddle.log(target_size / size)], axis=1)
    return deltas / paddle.to_tensor(STDS)


def encode_in_htc_ops(boxes, targets):
    return htc_ops.encode_boxes(boxes, targets, MEANS, STDS)


def compare(benchmark, function, arrays, expected, atol):
    tensors = [paddle.to_tensor(array) for array in arrays]
    np.testing.assert_allclose(function(*tensors).numpy(), expected, rtol=1e-5, atol=atol)
    rounds = 200 if len(arrays[0]) < 10_000 else 30
    benchmark.pedantic(function, tensors, rounds=rounds, iterations=1, warmup_rounds=3)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("function", [decode_in_htc_ops, decode_in_paddle])
def test_decode(benchmark, function, count):
    benchmark.group = f"decode_boxes: {count:,} boxes"
    arrays = boxes_and_deltas(count)
    sizes, boxes_num = np.float32([SIZE]), [count]
    expected = oracle.decode_boxes(*arrays, MEANS, STDS, sizes, boxes_num)
    compare(benchmark, function, arrays, expected, atol=3e-3)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("function", [encode_in_htc_ops, encode_in_paddle])
def test_encode(benchmark, function, count):
    benchmark.group = f"encode_boxes: {count:,} boxes"
    arrays = boxes_and_deltas(count)[0], boxes_and_deltas(count, seed=1)[0]
    compare(benchmark, function, arrays, oracle.encode_boxes(*arrays, MEANS, STDS), atol=1e-4)


@pytest.mark.parametrize("count", COUNTS)
def test_limit_copy(benchmark, count):
    """Copying the boxes and the deltas: a third more bytes than decoding moves."""
    benchmark.group = f"decode_boxes: {count:,} boxes"
    boxes, deltas = map(paddle.to_tensor, boxes_and_deltas(count))
    benchmark.pedantic(
        lambda: (paddle.assign(boxes), paddle.assign(deltas)), rounds=50, warmup_rounds=3
    )
