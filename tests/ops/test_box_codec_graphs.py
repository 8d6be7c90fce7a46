"""The box codec on any boxes, in graphs, and on every instruction set."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from cases.box_codec import boxes_and_deltas
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import htc_ops
from htc_ops.reference import box_codec as oracle

coordinates = st.floats(-1e4, 1e4, width=32) | st.integers(-9, 9).map(float)
small = st.floats(-8, 8, width=32)
sizes = st.floats(0, 999, width=32)


def rows(count, elements, width=4):
    return hnp.arrays("float32", (count, width), elements=elements)


@st.composite
def problems(draw):
    count, per_box = draw(st.integers(0, 70)), draw(st.integers(1, 3))
    pictures = draw(st.integers(1, 4))
    cuts = sorted(draw(st.lists(st.integers(0, count), min_size=pictures - 1, max_size=3))[:3])
    cuts = [*cuts[: pictures - 1], count]
    boxes_num = np.diff([0, *cuts])
    return (
        draw(rows(count, coordinates)),
        draw(rows(count, small, 4 * per_box)),
        draw(st.none() | rows(len(boxes_num), sizes, 2)),
        boxes_num,
        draw(st.sampled_from(["float32", "float64"])),
    )


@settings(max_examples=150, deadline=None)
@given(problems())
def test_decode_any_boxes(problem):
    boxes, deltas, sizes, boxes_num, dtype = problem
    boxes, deltas = boxes.astype(dtype), deltas.astype(dtype)
    options, limits = {}, ()
    if sizes is not None:
        sizes = sizes.astype(dtype)
        limits = (sizes, boxes_num)
        options = {
            "image_size": paddle.to_tensor(sizes),
            "boxes_num": paddle.to_tensor(boxes_num.astype("int64")),
        }
    means, stds = (0.0, 0.1, 0.0, -0.1), (0.1, 0.1, 0.5, 0.5)
    actual = htc_ops.decode_boxes(
        paddle.to_tensor(boxes), paddle.to_tensor(deltas), means, stds, **options
    ).numpy()
    expected = oracle.decode_boxes(boxes, deltas, means, stds, *limits)
    # exp may differ by two units in the last place; it scales sides of up to 2e4 by up to 62.5.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=4 * eps, atol=4 * eps * 2e4 * 62.5)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_decode_undoes_encode(data):
    count = data.draw(st.integers(1, 40))
    low = data.draw(rows(2 * count, st.floats(-999, 999, width=32), 2)).astype("float64")
    side = data.draw(rows(2 * count, st.floats(1, 500, width=32), 2)).astype("float64")
    boxes, targets = np.split(np.concatenate([low, low + side], 1), 2)
    deltas = htc_ops.encode_boxes(paddle.to_tensor(boxes), paddle.to_tensor(targets))
    back = htc_ops.decode_boxes(paddle.to_tensor(boxes), deltas, max_ratio=1e3).numpy()
    np.testing.assert_allclose(back, targets, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 87), ("float64", 690)])
def test_exp_over_its_whole_range(dtype, limit):
    """A box of side 2 around 0, so that the result is the exponential itself."""
    growth = np.concatenate([np.linspace(-limit, limit, 20001), [np.nan, np.inf, -np.inf]])
    deltas = np.zeros((len(growth), 4), dtype)
    deltas[:, 2] = growth
    boxes = np.tile(np.array([[-1, -1, 1, 1]], dtype), (len(growth), 1))
    actual = htc_ops.decode_boxes(
        paddle.to_tensor(boxes), paddle.to_tensor(deltas), max_ratio=1e300
    ).numpy()[:, 2]
    np.testing.assert_allclose(actual[:-3], np.exp(deltas[:-3, 2]), rtol=3 * np.finfo(dtype).eps)
    assert np.isnan(actual[-3])
    # The largest ratio is beyond float32, and just within float64.
    last = {"float32": [np.inf, 0], "float64": [1e300, 1e-300]}[dtype]
    np.testing.assert_allclose(actual[-2:], np.array(last, dtype), rtol=1e-12)


class Codec(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        ones = paddle.nn.initializer.Constant(1.0)
        self.one = self.create_parameter([1], default_initializer=ones)

    def forward(self, boxes, deltas, sizes, boxes_num):
        decoded = htc_ops.decode_boxes(
            boxes + 1,
            deltas * self.one,
            stds=(0.1, 0.1, 0.2, 0.2),
            image_size=sizes,
            boxes_num=boxes_num,
        )
        whole = htc_ops.decode_boxes(boxes, deltas, image_size=(50, 60))
        return decoded * 2, whole, htc_ops.encode_boxes(boxes * 2, decoded + boxes)


def test_in_graphs(tmp_path):
    spec = paddle.static.InputSpec
    specs = [
        spec([None, 4], "float32", "boxes"),
        spec([None, 4], "float32", "deltas"),
        spec([None, 2], "float32", "sizes"),
        spec([None], "int64", "boxes_num"),
    ]
    examples = [
        [
            *boxes_and_deltas(sum(boxes_num)),
            np.float32([[200, 300], [600, 800]])[: len(boxes_num)],
            np.int64(boxes_num),
        ]
        for boxes_num in ([200, 131], [1, 9], [77], [5, 0])
    ]
    assert_same_in_graphs(Codec, specs, examples, tmp_path)


_BITS = """
import sys; sys.path.insert(0, sys.argv[1])
import hashlib, paddle, htc_ops
from cases.box_codec import boxes_and_deltas
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    for count, per_box in ((1, 1), (63, 1), (65, 3), (3000, 2)):
        arrays = map(paddle.to_tensor, boxes_and_deltas(count, per_box, dtype))
        digest.update(htc_ops.decode_boxes(*arrays, image_size=(300, 400)).numpy().tobytes())
print(digest.hexdigest())
"""


def test_every_instruction_set_gives_the_same_bits():
    """In processes of their own; a set that the processor lacks falls back to the best it has."""
    folder = str(Path(htc_ops.__file__).parents[1])  # the package that this process runs
    results = set()
    for target in ("portable", "avx2", "avx512"):
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _BITS, str(Path(__file__).parent)],
            env=os.environ | {"HTC_OPS_TARGET": target, "PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=True,
        )
        results.add(result.stdout.split()[-1])
    assert len(results) == 1
