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
from htc_ops.reference import nms as oracle

DTYPES = ["float32", "float64"]


def run(boxes, scores, iou_threshold):
    kept = htc_ops.nms(paddle.to_tensor(boxes), paddle.to_tensor(scores), iou_threshold)
    assert kept.dtype == paddle.int64
    return kept.numpy()


def run_batched(boxes, scores, class_ids, iou_threshold, max_keep=None):
    kept = htc_ops.batched_nms(
        paddle.to_tensor(boxes),
        paddle.to_tensor(scores),
        paddle.to_tensor(class_ids),
        iou_threshold,
        max_keep,
    )
    assert kept.dtype == paddle.int64
    return kept.numpy()


def check(boxes, scores, iou_threshold, class_ids=None, max_keep=None):
    if class_ids is None:
        expected = oracle.nms(boxes, scores, iou_threshold)
        np.testing.assert_array_equal(run(boxes, scores, iou_threshold), expected)
    else:
        expected = oracle.batched_nms(boxes, scores, class_ids, iou_threshold, max_keep)
        actual = run_batched(boxes, scores, class_ids, iou_threshold, max_keep)
        np.testing.assert_array_equal(actual, expected)
    return expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("iou_threshold", [0, 1e-8, 1e-4, 0.1, 0.5, 0.7, 0.95, 1])
@pytest.mark.parametrize("count", [0, 1, 2, 100, 191, 192, 1500])
def test_nms_matches_the_oracle(count, iou_threshold, dtype):
    check(*cases.proposals(count, dtype), iou_threshold)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("max_keep", [None, 0, 1, 300, 10**12])
@pytest.mark.parametrize(("count", "classes"), [(0, 1), (1, 1), (800, 1), (800, 3), (800, 400)])
def test_batched_nms_matches_the_oracle(count, classes, max_keep, dtype):
    boxes, scores, class_ids = cases.detections(count, classes, dtype)
    check(boxes, scores, 0.5, class_ids, max_keep)
    np.testing.assert_array_equal(
        run_batched(boxes, scores, class_ids.astype("int32"), 0.5, max_keep),
        run_batched(boxes, scores, class_ids, 0.5, max_keep),
    )


def test_the_levels_of_a_pyramid_match_the_oracle():
    boxes, scores, levels = cases.pyramid_proposals()
    kept = check(boxes, scores, 0.7, levels, 1000)
    assert len(kept) == 1000


@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nms_keeps_what_paddle_keeps(dtype, iou_threshold):
    for count in (1, 50, 2000):
        boxes, scores = cases.proposals(count, dtype, seed=count)
        expected = paddle.vision.ops.nms(
            paddle.to_tensor(boxes), iou_threshold, paddle.to_tensor(scores)
        ).numpy()
        np.testing.assert_array_equal(run(boxes, scores, iou_threshold), expected)


def test_batched_nms_keeps_what_paddle_keeps():
    boxes, scores, class_ids = cases.detections(1000, 7)
    for top_k in (None, 100):
        expected = paddle.vision.ops.nms(
            paddle.to_tensor(boxes),
            0.5,
            paddle.to_tensor(scores),
            paddle.to_tensor(class_ids),
            list(range(7)),
            top_k,
        ).numpy()
        np.testing.assert_array_equal(run_batched(boxes, scores, class_ids, 0.5, top_k), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_iou_equal_to_the_threshold_is_kept(dtype):
    # 10 x 10 boxes with a common 10 x 5: IoU 50 / 150; then 10 x 10 in 10 x 20: 1/2 exactly.
    boxes = np.array([[0, 0, 10, 10], [0, 5, 10, 15], [100, 0, 110, 20], [100, 0, 110, 10]], dtype)
    scores = np.array([0.9, 0.8, 0.7, 0.6], dtype)
    third = float(np.dtype(dtype).type(50) / np.dtype(dtype).type(150))
    below = float(np.nextafter(np.dtype(dtype).type(third), np.dtype(dtype).type(0)))
    assert check(boxes[:2], scores[:2], third).tolist() == [0, 1]
    assert check(boxes[:2], scores[:2], below).tolist() == [0]
    assert check(boxes[2:], scores[2:], 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("count", [40, 1000])
def test_integer_boxes_have_exact_ties_of_iou(count):
    random = np.random.default_rng(3)
    corner = random.integers(0, 12, (count, 2))
    side = random.integers(0, 8, (count, 2))
    boxes = np.concatenate([corner, corner + side], axis=1).astype("float32")
    scores = random.permutation(count).astype("float32")
    for numerator, denominator in [(1, 2), (1, 3), (2, 3), (1, 5), (3, 7)]:
        check(boxes, scores, numerator / denominator)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_scores_are_visited_by_index(dtype):
    boxes = np.array([[0, 0, 10, 10]] * 3 + [[50, 50, 60, 60]] * 3, dtype)
    assert check(boxes, np.full(6, 0.5, dtype), 0.5).tolist() == [0, 3]
    # Zero of either sign is one score.
    assert check(boxes, np.array([-0.0, 0.0, 1, -1, -0.0, 0.0], dtype), 0.5).tolist() == [2, 4]
    boxes, _ = cases.proposals(900, dtype)
    check(boxes, np.round(np.random.default_rng(0).uniform(0, 1, 900), 1).astype(dtype), 0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_scores_come_last_and_infinite_ones_are_scores(dtype):
    boxes = cases.grid_boxes(8, dtype)[0]
    scores = np.array([np.nan, -np.inf, 1, -np.nan, np.inf, 0, -1, np.nan], dtype)
    assert check(boxes, scores, 0.5).tolist() == [4, 2, 5, 6, 1, 0, 3, 7]
    boxes[:] = boxes[0]  # identical boxes: the NaN ones are suppressed like any other
    assert check(boxes, scores, 0.5).tolist() == [4]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("iou_threshold", [0, 1e-5, 0.5, 1])
def test_odd_boxes_match_the_oracle(iou_threshold, dtype):
    boxes = cases.odd_boxes(dtype)
    scores = np.linspace(1, 0, len(boxes)).astype(dtype)
    check(boxes, scores, iou_threshold)
    # And among so many ordinary ones that the grid is in use.
    others, _ = cases.proposals(600, dtype)
    boxes = np.concatenate([others[:300], boxes, others[300:]])
    scores = np.random.default_rng(0).permutation(len(boxes)).astype(dtype)
    check(boxes, scores, iou_threshold)
    check(boxes, scores, iou_threshold, np.arange(len(boxes)) % 2)


def test_boxes_that_are_not_finite_or_empty_neither_suppress_nor_are_suppressed():
    boxes = cases.odd_boxes()[4:26]  # no width ... up to everything infinite
    assert not oracle.can_overlap(boxes[:20]).any()
    kept = run(boxes[:20], np.linspace(1, 0, 20).astype("float32"), 0)
    assert kept.tolist() == list(range(20))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e4, 1e15, 1e19])
def test_any_scale_and_a_far_off_box_match_the_oracle(scale, dtype):
    boxes, scores = cases.proposals(700, dtype)
    boxes *= np.dtype(dtype).type(scale)
    check(boxes, scores, 0.5)
    boxes[3] += np.dtype(dtype).type(scale * 1e9)
    check(boxes, scores, 0.3)
    boxes += np.dtype(dtype).type(scale * 1e6)  # coordinates far beyond what the sides need
    check(boxes, scores, 0.7)


def test_class_ids_may_be_any_integers():
    boxes, scores, class_ids = cases.detections(900, 6)
    expected = run_batched(boxes, scores, class_ids, 0.5)
    low, high = np.iinfo("int64").min, np.iinfo("int64").max
    for names in (
        [low, high, 0, -1, low + 1, high - 1],
        [high, high - 1, high - 2, high - 3, high - 4, high - 5],
        [5, 4, 3, 2, 1, 0],
        [0, 3600, 4000, 4623, 4624, 2],  # up to the size of the table of ids, and beyond
        [0, 3600, 4000, 4623, 4625, 2],
        [-(10**6), 10**6, 7, 8, 9, 10],
    ):
        actual = run_batched(boxes, scores, np.array(names, "int64")[class_ids], 0.5)
        np.testing.assert_array_equal(actual, expected)


def test_every_box_a_class_of_its_own_keeps_all():
    boxes, scores = cases.proposals(500)
    class_ids = np.random.default_rng(0).integers(-(2**62), 2**62, 500)
    assert len(np.unique(class_ids)) == 500
    np.testing.assert_array_equal(run_batched(boxes, scores, class_ids, 0), oracle.falling(scores))


def test_huge_class_ids_do_not_blur_coordinates():
    # With boxes moved apart by id * largest coordinate, float32 would round these to one box.
    boxes = np.float32([[0, 0, 1, 1], [0.5, 0, 1.5, 1], [0, 0, 1000, 1]])
    kept = run_batched(boxes, np.float32([3, 2, 1]), np.full(3, 10**9), 0.5)
    assert kept.tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [3000, 100_000])
def test_extremes_of_overlap(count):
    disjoint, scores = cases.grid_boxes(count)
    assert len(run(disjoint, scores, 0)) == count
    same = np.tile(np.float32([[5, 5, 9, 9]]), (count, 1))
    assert run(same, scores[::-1].copy(), 0.5).tolist() == [count - 1]


def test_a_hundred_thousand_boxes_keep_no_pair_above_the_threshold():
    boxes, scores = cases.proposals(100_000, seed=5)
    kept = run(boxes, scores, 0.5)
    assert (np.diff(scores[kept]) < 0).all()
    # Around some of the kept boxes: none kept overlaps them; around some dropped ones: one does.
    dropped = np.setdiff1d(np.arange(len(boxes)), kept)
    better = oracle.falling(scores).argsort()
    for index in kept[::500]:
        assert (oracle.iou_with(boxes[index], boxes[kept]) > 0.5).sum() == 1
    for index in dropped[::500]:
        rivals = kept[better[kept] < better[index]]
        assert (oracle.iou_with(boxes[index], boxes[rivals]) > 0.5).any()


boxes_strategy = st.integers(0, 60).flatmap(
    lambda count: st.tuples(
        st.lists(st.tuples(*[st.integers(-8, 24)] * 4), min_size=count, max_size=count),
        st.lists(st.integers(-3, 3), min_size=count, max_size=count),
        st.lists(st.integers(0, 2), min_size=count, max_size=count),
    )
)


@settings(max_examples=100, deadline=None)
@given(boxes_strategy, st.sampled_from([0, 0.2, 1 / 3, 0.5, 0.8, 1]), st.sampled_from(DTYPES))
def test_any_small_input_matches_the_oracle(drawn, iou_threshold, dtype):
    boxes, scores, class_ids = drawn
    boxes = np.array(boxes, dtype).reshape(-1, 4)
    check(boxes, np.array(scores, dtype), iou_threshold, np.array(class_ids, "int64"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 0.7]))
def test_suppressing_twice_changes_nothing(seed, iou_threshold):
    boxes, scores = cases.proposals(400, seed=seed)
    kept = run(boxes, scores, iou_threshold)
    again = run(boxes[kept], scores[kept], iou_threshold)
    np.testing.assert_array_equal(again, np.arange(len(kept)))


def test_views_are_read_in_their_own_order():
    boxes, scores, class_ids = cases.detections(300, 3)
    wide = paddle.to_tensor(np.ascontiguousarray(boxes.T)).t()
    pairs = paddle.to_tensor(np.stack([scores, scores * 0], axis=1))[:, 0]
    ids = paddle.to_tensor(np.stack([class_ids, class_ids * 0], axis=1)).t()[0]
    assert not wide.is_contiguous()
    np.testing.assert_array_equal(
        htc_ops.batched_nms(wide, pairs, ids, 0.5).numpy(),
        run_batched(boxes, scores, class_ids, 0.5),
    )


def test_the_result_has_no_gradient():
    boxes, scores = (paddle.to_tensor(part) for part in cases.proposals(20))
    boxes.stop_gradient = scores.stop_gradient = False
    assert htc_ops.nms(boxes, scores, 0.5).stop_gradient


def test_the_number_of_threads_changes_nothing():
    boxes, scores, class_ids = cases.detections(30_000, 3)
    assert_threads_change_nothing(lambda: run_batched(boxes, scores, class_ids, 0.6))


TARGET_SCRIPT = """
import sys
import numpy as np, paddle
import htc_ops
from cases import nms as cases
kept = []
for dtype in ("float32", "float64"):
    for count, classes in ((1500, 2), (900, 60)):
        tensors = [paddle.to_tensor(part) for part in cases.detections(count, classes, dtype)]
        for threshold in (0, 0.5):
            kept.append(htc_ops.batched_nms(*tensors, threshold).numpy())
np.savez(sys.argv[1], *kept)
print(htc_ops._library.cpu_target())
"""


def test_every_instruction_set_gives_the_same_answer(tmp_path):
    results = {}
    for target in {"portable", _library.cpu_target()}:
        file = tmp_path / f"{target}.npz"
        folders = [os.path.dirname(os.path.dirname(cases.__file__)), *sys.path]
        done = subprocess.run(
            [sys.executable, "-c", TARGET_SCRIPT, str(file)],
            env=dict(
                os.environ,
                HTC_OPS_TARGET=target,
                PYTHONPATH=os.pathsep.join(filter(None, folders)),
            ),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == target
        with np.load(file) as loaded:
            results[target] = [loaded[name] for name in loaded.files]
    first, *others = results.values()
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


class Detector(paddle.nn.Layer):
    """Arithmetic before and after, so that the operators are not alone in the graph."""

    def __init__(self):
        super().__init__()
        two = paddle.nn.initializer.Constant(2.0)
        self.two = self.create_parameter([1], default_initializer=two)

    def forward(self, boxes, scores, class_ids):
        boxes = boxes * self.two
        kept = htc_ops.batched_nms(boxes, scores, class_ids + 1, 0.5, 50)
        alone = htc_ops.nms(boxes, scores * self.two, 0.5)
        return paddle.gather(boxes, kept), kept, alone + 1


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
        paddle.static.InputSpec([None], "float32", "scores"),
        paddle.static.InputSpec([None], "int64", "class_ids"),
    ]
    examples = [cases.detections(count, 3) for count in (200, 7, 400)]
    assert_same_in_graphs(Detector, specs, examples, tmp_path)


B, S, C = paddle.ones([3, 4]), paddle.ones([3]), paddle.zeros([3], "int64")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((B.numpy(), S, 0.5), TypeError, r"boxes: expected a Tensor \[N, 4\] of float32 or float6"),
        ((B.astype("float16"), S, 0.5), TypeError, r"boxes: .* got float16 \[3, 4\]"),
        ((B[:, :3], S, 0.5), ValueError, r"boxes: expected \[N, 4\] .* got float32 \[3, 3\]"),
        ((B, None, 0.5), TypeError, r"scores: expected a Tensor \[N\] .* got NoneType"),
        ((B, B, 0.5), ValueError, r"scores: expected \[N\] .* got float32 \[3, 4\]"),
        ((B, S.astype("float64"), 0.5), TypeError, "scores: expected the dtype of boxes, float32"),
        ((B, S[:2], 0.5), ValueError, "scores: expected 3 rows, one a box, got 2"),
        ((B, S, 1.5), ValueError, "iou_threshold: expected a number from 0 to 1, got 1.5"),
        ((B, S, float("nan")), ValueError, "iou_threshold: expected a number from 0 to 1"),
        ((B, S, "0.5"), TypeError, "iou_threshold: expected a number, got str '0.5'"),
    ],
)
def test_wrong_arguments_of_nms_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        htc_ops.nms(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((B, S, S, 0.5), TypeError, r"class_ids: expected \[N\] of int32 or int64, got float32"),
        ((B, S, C[:1], 0.5), ValueError, "class_ids: expected 3 rows, one a box, got 1"),
        ((B, S, C, 0.5, -1), ValueError, "max_keep: expected an integer of at least 0, got -1"),
        ((B, S, C, 0.5, 1.0), TypeError, "max_keep: expected an integer, got float 1.0"),
        ((B[:1], S, C, 0.5), ValueError, "scores: expected 1 rows, one a box, got 3"),
        ((B, S, C, -0.1), ValueError, "iou_threshold: expected a number from 0 to 1"),
    ],
)
def test_wrong_arguments_of_batched_nms_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        htc_ops.batched_nms(*arguments)
