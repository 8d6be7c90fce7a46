import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from cases import match_anchors as cases
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import match_anchors as oracle

RPN = (0.7, 0.3, 0.3)
BOX_STAGE = (0.5, 0.5, 0.5)


def tensor(array):
    return None if array is None else paddle.to_tensor(array)


def match(anchors, gts, *thresholds, ignore_boxes=None, **options):
    matched, max_iou = htc_ops.match_anchors(
        tensor(anchors), tensor(gts), *thresholds, ignore_boxes=tensor(ignore_boxes), **options
    )
    assert matched.dtype == paddle.int64
    return matched.numpy(), max_iou.numpy()


def assert_as_oracle(anchors, gts, *thresholds, **options):
    """Equal to the last bit; returns what was matched."""
    expected = oracle.match_anchors(anchors, gts, *thresholds, **options)
    actual = match(anchors, gts, *thresholds, **options)
    for is_, should in zip(actual, expected, strict=True):
        assert is_.dtype == should.dtype
        np.testing.assert_array_equal(is_, should)
    return actual[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gts", [0, 1, 15, 16, 33])
def test_anchors_of_a_picture(gts, dtype):
    anchors = cases.anchors((200, 317), dtype=dtype)
    matched = assert_as_oracle(anchors, cases.boxes(gts, (200, 317), dtype), *RPN)
    assert set(matched) >= ({-2, -1, gts - 1} if gts else {-1})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 512, 2000])
@pytest.mark.parametrize("gts", [0, 1, 300])
def test_proposals(count, gts, dtype):
    gt_boxes = cases.boxes(gts, dtype=dtype)
    assert_as_oracle(cases.proposals(count, gt_boxes), gt_boxes, *BOX_STAGE)


def test_the_picture_of_the_benchmark():
    anchors = cases.anchors()
    assert len(anchors) == 267_069
    assert_as_oracle(anchors, cases.boxes(20), *RPN)


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("thresholds", [(0.7, 0.3, 0.0), (0.5, 0.5, 0.5), (0, 0, 0), (1, 0, 1)])
def test_ties_everywhere(thresholds, low_quality):
    for seed in range(5):
        anchors, gts = cases.on_a_grid(500, seed=seed), cases.on_a_grid(40, seed=100 + seed)
        assert_as_oracle(anchors, gts, *thresholds, match_low_quality=low_quality)


def test_who_wins_a_tie():
    anchors = np.float32([[0, 0, 4, 4], [0, 0, 4, 8], [20, 20, 24, 24]])
    twice = np.float32([[0, 0, 4, 4], [0, 0, 4, 4]])
    # By its own largest IoU an anchor goes to the first; as a low-quality match to the last.
    assert match(anchors, twice, 0.7, 0.3, match_low_quality=False)[0].tolist() == [0, -2, -1]
    assert match(anchors, twice, 0.7, 0.3, 0.3)[0].tolist() == [1, -2, -1]
    # Both of two anchors that tie for a ground truth are taken, far below the threshold.
    gt = np.float32([[0, 0, 4, 2]])
    sides = np.float32([[0, 0, 4, 4], [0, -2, 4, 2], [0, 0, 4, 8]])
    matched, max_iou = match(sides, gt, 0.7, 0.3, 0.3)
    assert matched.tolist() == [0, 0, -1] and max_iou.tolist() == [0.5, 0.5, 0.25]
    assert match(sides, gt, 0.7, 0.3, 0.51)[0].tolist() == [-2, -2, -1]


def test_a_ground_truth_that_touches_nothing_takes_all_unless_told():
    anchors = np.float32([[0, 0, 4, 4], [0, 0, 4, 8], [20, 20, 24, 24]])
    far = np.float32([[0, 0, 4, 4], [90, 90, 95, 95]])
    assert match(anchors, far, 0.7, 0.3, 0.0)[0].tolist() == [1, 1, 1]
    assert match(anchors, far[::-1].copy(), 0.7, 0.3, 0.0)[0].tolist() == [1, 0, 0]
    assert match(anchors, far, 0.7, 0.3, 1e-6)[0].tolist() == [0, -2, -1]


def test_thresholds_are_those_of_the_dtype():
    # IoU 7 / 10 is the float32 nearest to 0.7, which lies below the float64 nearest to 0.7.
    anchors, gts = np.float32([[0, 0, 10, 1]]), np.float32([[0, 0, 7, 1]])
    assert match(anchors, gts, 0.7, 0.3, match_low_quality=False)[0].tolist() == [0]
    anchors, gts = anchors.astype("float64"), gts.astype("float64")
    assert match(anchors, gts, 0.7, 0.3, match_low_quality=False)[0].tolist() == [0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("iof", [0.5, 0.01, 1.0, 0.0, -1.0])
@pytest.mark.parametrize("gts", [0, 20])
def test_ignored_regions(gts, iof, dtype):
    anchors = cases.anchors((200, 317), dtype=dtype)
    crowds = cases.boxes(17, (200, 317), dtype, seed=5)
    gt_boxes = cases.boxes(gts, (200, 317), dtype)
    for thresholds in (RPN, (0.7, 0.3, 0.0)):
        matched = assert_as_oracle(
            anchors, gt_boxes, *thresholds, ignore_boxes=crowds, ignore_iof=iof
        )
    assert (matched == -2).any() or (iof <= 0 and gts == 0) or iof == 1


def test_all_anchors_ignored():
    anchors, everything = cases.boxes(100), np.float32([[0, 0, 2000, 2000]])
    options = {"ignore_boxes": everything, "ignore_iof": 0.5}
    matched, max_iou = match(anchors, anchors[:3], 0.5, 0.5, 0.0, **options)
    assert (matched == -2).all() and (max_iou == -1).all()
    assert_as_oracle(anchors, anchors[:3], 0.5, 0.5, 0.0, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_boxes(dtype):
    odd, plain = cases.odd_boxes(dtype), cases.on_a_grid(200, dtype=dtype)
    mixed = np.concatenate([plain, odd, plain])
    for anchors, gts in [(odd, plain), (plain, odd), (odd, odd), (mixed, mixed), (mixed, odd)]:
        for thresholds in [(0.5, 0.5, 0.5), (0.7, 0.3, 1e-3), (0.7, 0.3, 0.0)]:
            assert_as_oracle(anchors, gts, *thresholds)
            assert_as_oracle(anchors, gts, *thresholds, ignore_boxes=odd, ignore_iof=0.2)


def test_not_finite_boxes_have_no_iou():
    odd = cases.odd_boxes()
    bad = odd[~np.isfinite(odd).all(axis=1)]
    everywhere = np.float32([[-1e9, -1e9, 1e9, 1e9]])
    for anchors, gts in [(bad, everywhere), (everywhere, bad), (bad, bad)]:
        matched, max_iou = match(anchors, gts, 0.5, 0.5, 0.5)
        assert (matched == -1).all() and (max_iou == 0).all()


coordinates = st.one_of(
    st.integers(-3, 12).map(float), st.floats(width=32), st.floats(-20, 60, width=32)
)


@settings(max_examples=200, deadline=None)
@given(
    anchors=hnp.arrays("float32", st.tuples(st.integers(0, 80), st.just(4)), elements=coordinates),
    gts=hnp.arrays("float32", st.tuples(st.integers(0, 20), st.just(4)), elements=coordinates),
    crowds=st.none()
    | hnp.arrays("float32", st.tuples(st.integers(0, 5), st.just(4)), elements=coordinates),
    thresholds=st.lists(st.sampled_from([0, 0.25, 0.3, 0.5, 0.7, 1]), min_size=3, max_size=3),
    low_quality=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_any_boxes(anchors, gts, crowds, thresholds, low_quality, dtype):
    negative, positive = sorted(thresholds[:2])
    assert_as_oracle(
        anchors.astype(dtype),
        gts.astype(dtype),
        positive,
        negative,
        thresholds[2],
        match_low_quality=low_quality,
        ignore_boxes=None if crowds is None else crowds.astype(dtype),
        ignore_iof=0.5,
    )


def test_views_are_read_in_their_own_order():
    anchors, gts = cases.boxes(300), cases.boxes(20, seed=1)
    expected = match(anchors, gts, *BOX_STAGE)
    wide = [tensor(np.ascontiguousarray(boxes.T)).t() for boxes in (anchors, gts)]
    assert not wide[0].is_contiguous()
    actual = htc_ops.match_anchors(*wide, *BOX_STAGE)
    for is_, should in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(is_.numpy(), should)


def test_the_number_of_threads_changes_nothing():
    anchors, gts = cases.on_a_grid(30_000, cells=40), cases.on_a_grid(50, cells=40, seed=1)
    expected = oracle.match_anchors(anchors, gts, *RPN)
    for is_, should in zip(match(anchors, gts, *RPN), expected, strict=True):
        np.testing.assert_array_equal(is_, should)
    assert_threads_change_nothing(lambda: match(anchors, gts, *RPN))


@pytest.mark.parametrize("target", ["portable", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same(target):
    """In a process of its own; a set that the processor lacks falls back to the best it has."""
    names = "test_anchors_of_a_picture or test_ties_everywhere or test_odd_boxes"
    command = [sys.executable, "-m", "pytest", "-q", __file__, "-k", names]
    folder = Path(htc_ops.__file__).parents[1]  # the package that this process runs
    result = subprocess.run(
        command,
        env=os.environ | {"HTC_OPS_TARGET": target, "PYTHONPATH": str(folder)},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:]


class Matcher(paddle.nn.Layer):
    """Arithmetic before and after, so that the operator is not alone in the graph."""

    def __init__(self):
        super().__init__()
        two = paddle.nn.initializer.Constant(2.0)
        self.two = self.create_parameter([1], default_initializer=two)

    def forward(self, anchors, gts, crowds):
        matched, max_iou = htc_ops.match_anchors(
            anchors * self.two, gts * 2, *RPN, ignore_boxes=crowds * 2, ignore_iof=0.5
        )
        return matched + 1, max_iou * 2


def test_in_graphs(tmp_path):
    names = ("anchors", "gts", "crowds")
    specs = [paddle.static.InputSpec([None, 4], "float32", name) for name in names]
    examples = [
        [cases.boxes(count) for count in counts]
        for counts in ((500, 20, 3), (70, 1, 1), (5, 9, 2), (50, 0, 1), (50, 2, 0))
    ]
    assert_same_in_graphs(Matcher, specs, examples, tmp_path)


def test_no_gradient_flows():
    anchors, gts = tensor(cases.boxes(10)), tensor(cases.boxes(3))
    anchors.stop_gradient = False
    matched, max_iou = htc_ops.match_anchors(anchors, gts, *RPN)
    assert matched.stop_gradient and max_iou.stop_gradient


B = paddle.ones([2, 4])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((B.numpy(), B, 0.7, 0.3), {}, TypeError, r"anchors: expected a Tensor \[A, 4\]"),
        ((B.astype("int32"), B, 0.7, 0.3), {}, TypeError, r"anchors: .* got int32 \[2, 4\]"),
        ((B, B[:, :3], 0.7, 0.3), {}, ValueError, r"gt_boxes: expected \[G, 4\]"),
        ((B, B.astype("float64"), 0.7, 0.3), {}, TypeError, "gt_boxes: expected the dtype of anch"),
        ((B, B, 1.7, 0.3), {}, ValueError, "positive_iou: expected a number from 0 to 1, got 1.7"),
        ((B, B, 0.7, -0.3), {}, ValueError, "negative_iou: expected a number from 0 to 1"),
        ((B, B, 0.7, "0"), {}, TypeError, "negative_iou: expected a number, got str '0'"),
        ((B, B, 0.3, 0.7), {}, ValueError, "negative_iou: expected at most positive_iou, 0.3"),
        ((B, B, 0.7, 0.3, float("nan")), {}, ValueError, "min_positive_iou: expected a number"),
        ((B, B, 0.7, 0.3, 0, 1), {}, TypeError, "match_low_quality: expected a bool, got 1"),
        ((B, B, 0.7, 0.3), {"ignore_iof": 2}, ValueError, "ignore_iof: .* from 0 to 1.* got 2"),
        ((B, B, 0.7, 0.3), {"ignore_iof": float("nan")}, ValueError, "ignore_iof: .* got nan"),
        ((B, B, 0.7, 0.3), {"ignore_boxes": B[0]}, ValueError, r"ignore_boxes: expected \[K, 4\]"),
        (
            (B, B, 0.7, 0.3),
            {"ignore_boxes": B.astype("float64")},
            TypeError,
            "ignore_boxes: expected the dtype of anchors, float32, got float64",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        htc_ops.match_anchors(*arguments, **options)
