import os
import subprocess
import sys

import numpy as np
import paddle
import pytest
from cases import nms as cases
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops import _library
from htc_ops.reference import nms as hard
from htc_ops.reference import soft_nms as oracle

DTYPES = ["float32", "float64"]
METHODS = ["linear", "gaussian"]


def run(boxes, scores, *options, **named):
    kept, new_scores = htc_ops.soft_nms(
        paddle.to_tensor(boxes), paddle.to_tensor(scores), *options, **named
    )
    assert kept.dtype == paddle.int64
    return kept.numpy(), new_scores.numpy()


def check(boxes, scores, **options):
    expected_kept, expected_scores = oracle.soft_nms(boxes, scores, **options)
    kept, new_scores = run(boxes, scores, **options)
    np.testing.assert_array_equal(kept, expected_kept)
    assert new_scores.dtype == scores.dtype
    if boxes.dtype == np.float64 and options.get("method") == "gaussian":
        # Two libraries may differ in the last bit of the exponential of a double.
        np.testing.assert_allclose(new_scores, expected_scores, rtol=1e-13, atol=0)
    else:
        np.testing.assert_array_equal(new_scores, expected_scores)
    return kept, new_scores


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [0, 1, 2, 100, 191, 192, 700])
def test_it_matches_the_oracle(count, method, dtype):
    boxes, scores = cases.proposals(count, dtype)
    check(boxes, scores, method=method)
    check(boxes, scores, method=method, iou_threshold=0.6, sigma=0.1, min_score=0.2)
    check(boxes, scores, method=method, iou_threshold=0, sigma=4.0, min_score=0)


def test_one_overlap_by_hand():
    # IoU of 0 and 1: 50 / 150; box 2 stands alone.
    boxes = np.float64([[0, 0, 10, 10], [0, 5, 10, 15], [50, 50, 60, 60]])
    scores = np.float64([0.9, 0.6, 0.5])
    kept, new_scores = run(boxes, scores)
    assert kept.tolist() == [0, 2, 1]
    np.testing.assert_allclose(new_scores, [0.9, 0.5, 0.6 * 2 / 3], rtol=1e-15)
    kept, new_scores = run(boxes, scores, method="gaussian", sigma=0.25)
    assert kept.tolist() == [0, 2, 1]
    np.testing.assert_allclose(new_scores, [0.9, 0.5, 0.6 * np.exp(-1 / 9 / 0.25)], rtol=1e-15)
    # Not above the threshold: nothing is lost.
    kept, new_scores = run(boxes, scores, iou_threshold=50 / 150)
    assert kept.tolist() == [0, 1, 2] and new_scores.tolist() == [0.9, 0.6, 0.5]
    kept, _ = run(boxes, scores, min_score=0.45)
    assert kept.tolist() == [0, 2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_odd_boxes_match_the_oracle(method, dtype):
    boxes = cases.odd_boxes(dtype)
    scores = np.linspace(1, 0.1, len(boxes)).astype(dtype)
    for min_score in (0, 1e-3):
        check(boxes, scores, method=method, min_score=min_score)
    others, _ = cases.proposals(300, dtype)
    boxes = np.concatenate([others[:150], boxes, others[150:]])
    check(boxes, np.linspace(0, 1, len(boxes)).astype(dtype), method=method)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_odd_scores(method, dtype):
    boxes = cases.grid_boxes(8, dtype)[0]
    scores = np.array([np.nan, -np.inf, 1, -0.0, np.inf, 0.0, -1, 0.5], dtype)
    assert check(boxes, scores, method=method, min_score=0)[0].tolist() == [4, 2, 7, 3, 5]
    assert check(boxes, scores, method=method)[0].tolist() == [4, 2, 7]
    # Identical boxes: a negative score may not come back as a zero one.
    check(np.tile(boxes[:1], (8, 1)), scores, method=method, min_score=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_equal_scores_are_kept_by_index(method, dtype):
    boxes, scores = cases.proposals(300, dtype)
    check(boxes, np.round(scores, 1), method=method)
    same = np.tile(np.array([[0, 0, 9, 9]], dtype), (5, 1))
    kept, _ = check(same, np.full(5, 0.5, dtype), method=method, min_score=0)
    assert kept.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", METHODS)
def test_many_boxes(method):
    disjoint, scores = cases.grid_boxes(50_000)
    kept, new_scores = run(disjoint, scores, method=method, min_score=0)
    np.testing.assert_array_equal(kept, np.arange(50_000))
    np.testing.assert_array_equal(new_scores, scores)
    same = np.tile(np.float32([[5, 5, 9, 9]]), (50_000, 1))
    assert len(run(same, scores)[0]) == 1


boxes_strategy = st.integers(0, 40).flatmap(
    lambda count: st.tuples(
        st.lists(st.tuples(*[st.integers(-8, 24)] * 4), min_size=count, max_size=count),
        st.lists(st.integers(-1, 8), min_size=count, max_size=count),
    )
)


@settings(max_examples=80, deadline=None)
@given(
    boxes_strategy,
    st.sampled_from(METHODS),
    st.sampled_from([0, 0.2, 1 / 3, 0.5, 1]),
    st.sampled_from([0, 1e-3, 0.4]),
    st.sampled_from(DTYPES),
)
def test_any_small_input_matches_the_oracle(drawn, method, iou_threshold, min_score, dtype):
    boxes = np.array(drawn[0], dtype).reshape(-1, 4)
    scores = np.array(drawn[1], dtype) / 8
    check(boxes, scores, method=method, iou_threshold=iou_threshold, min_score=min_score)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(METHODS))
def test_scores_fall_and_never_rise(seed, method):
    boxes, scores = cases.proposals(300, seed=seed)
    kept, new_scores = run(boxes, scores, method=method)
    assert (np.diff(new_scores) <= 0).all() and (new_scores >= np.float32(1e-3)).all()
    assert (new_scores <= scores[kept]).all()
    assert len(np.unique(kept)) == len(kept)
    assert kept[0] == hard.falling(scores)[0] and new_scores[0] == scores.max()


def test_views_are_read_in_their_own_order():
    boxes, scores = cases.proposals(60)
    wide = paddle.to_tensor(np.ascontiguousarray(boxes.T)).t()
    assert not wide.is_contiguous()
    kept, new_scores = htc_ops.soft_nms(wide, paddle.to_tensor(scores))
    expected = run(boxes, scores)
    np.testing.assert_array_equal(kept.numpy(), expected[0])
    np.testing.assert_array_equal(new_scores.numpy(), expected[1])


def test_the_number_of_threads_changes_nothing():
    boxes, scores = cases.proposals(20_000)
    assert_threads_change_nothing(lambda: run(boxes, scores))


TARGET_SCRIPT = """
import sys
import numpy as np, paddle
import htc_ops
from cases import nms as cases
parts = []
for dtype in ("float32", "float64"):
    tensors = [paddle.to_tensor(part) for part in cases.proposals(800, dtype)]
    for method in ("linear", "gaussian"):
        parts += [part.numpy() for part in htc_ops.soft_nms(*tensors, method=method)]
np.savez(sys.argv[1], *parts)
print(htc_ops._library.cpu_target())
"""


def test_every_instruction_set_gives_the_same_bits(tmp_path):
    results = {}
    for target in {"portable", _library.cpu_target()}:
        file = tmp_path / f"{target}.npz"
        folders = [os.path.dirname(os.path.dirname(cases.__file__)), *sys.path]
        environment = dict(
            os.environ, HTC_OPS_TARGET=target, PYTHONPATH=os.pathsep.join(filter(None, folders))
        )
        command = [sys.executable, "-c", TARGET_SCRIPT, str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == target
        with np.load(file) as loaded:
            results[target] = [loaded[name] for name in loaded.files]
    first, *others = results.values()
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


class Head(paddle.nn.Layer):
    """Arithmetic before and after, so that the operator is not alone in the graph."""

    def __init__(self):
        super().__init__()
        two = paddle.nn.initializer.Constant(2.0)
        self.two = self.create_parameter([1], default_initializer=two)

    def forward(self, boxes, scores):
        boxes = boxes * self.two
        kept, new_scores = htc_ops.soft_nms(boxes, scores, method="gaussian")
        return paddle.gather(boxes, kept), new_scores * 2


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
        paddle.static.InputSpec([None], "float32", "scores"),
    ]
    assert_same_in_graphs(Head, specs, [cases.proposals(count) for count in (150, 3)], tmp_path)


B, S = paddle.ones([3, 4]), paddle.ones([3])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((B.numpy(), S), {}, TypeError, r"boxes: expected a Tensor \[N, 4\] of float32 or float6"),
        ((B, S[:2]), {}, ValueError, "scores: expected 3 rows, one a box, got 2"),
        ((B, S), {"iou_threshold": 2}, ValueError, "iou_threshold: expected a number from 0 to 1"),
        ((B, S), {"sigma": 0}, ValueError, "sigma: expected a finite number above 0, got 0"),
        ((B, S), {"sigma": float("nan")}, ValueError, "sigma: expected a finite number above 0"),
        ((B, S), {"sigma": "1"}, TypeError, "sigma: expected a number, got str"),
        ((B, S), {"min_score": -0.1}, ValueError, "min_score: expected a number of at least 0"),
        ((B, S), {"method": "hard"}, ValueError, "method: expected 'linear' or 'gaussian', got 'h"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        htc_ops.soft_nms(*arguments, **options)
