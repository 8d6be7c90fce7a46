import numpy as np
import paddle
import pytest
from cases import masks
from cases.polygons import positive_polygons, star, with_pycocotools
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import assert_same_on_every_target
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import polygon_mask_targets as oracle

tensor = paddle.to_tensor
SIZE = (60, 80)
SQUARE = [10.0, 10, 30, 10, 30, 30, 10, 30]
BOX = np.float32([[10, 10, 30, 30]])


def run(boxes, polygons, gt_index, size):
    targets = htc_ops.polygon_mask_targets(
        tensor(boxes), polygons, tensor(np.asarray(gt_index, "int64")), size
    )
    assert targets.dtype == paddle.float32
    targets = targets.numpy()
    assert np.isin(targets, (0, 1)).all()
    return targets


def check(boxes, polygons, gt_index, size):
    """The same bits as the definition in NumPy and as the COCO API."""
    pair = (size, size) if isinstance(size, int) else size
    actual = run(boxes, polygons, gt_index, size)
    np.testing.assert_array_equal(actual, with_pycocotools(boxes, polygons, gt_index, pair))
    expected = oracle.polygon_mask_targets(boxes, polygons, gt_index, pair)
    np.testing.assert_array_equal(actual, expected)
    return actual


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [28, 14, 1, (3, 7), (40, 5)])
def test_targets_match_the_oracles(size, dtype):
    targets = check(*positive_polygons(40, 6, SIZE, dtype), size)
    assert 0.2 < targets.mean() < 0.9 or size == 1


def test_a_large_picture_and_many_points():
    check(*positive_polygons(30, 3, (900, 1200), points=300), 28)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_usual_and_empty_boxes_match_the_oracles(dtype):
    boxes = np.concatenate([masks.USUAL_BOXES, masks.EMPTY_BOXES]).astype(dtype)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    polygons = [[star((5, 5, 75, 55))], [star((0, 0, 200, 200), 7, 1), star((0, 0, 20, 20), 3)]]
    targets = check(boxes, polygons, np.arange(len(boxes)) % 2, 7)
    assert targets[1].any() and not targets[8].any()


def test_hand_computed_targets():
    # The box's own square fills it; its left half, the left half. On the grid of fifths a cell is
    # inside from where its middle lies on the edge.
    assert check(BOX, [[SQUARE]], [0], 4).all()
    left = [10.0, 10, 20, 10, 20, 30, 10, 30]
    assert check(BOX, [[left]], [0], 4).tolist() == [[[1, 1, 0, 0]] * 4]
    assert check(BOX, [[left]], [0], 1).tolist() == [[[1]]]
    assert check(BOX, [[[10, 10, 19, 10, 19, 30, 10, 30]]], [0], 1).tolist() == [[[0]]]
    # A triangle under the falling diagonal: cells on the diagonal have their middle on its edge.
    triangle = [10.0, 10, 30, 30, 10, 30]
    assert (check(BOX, [[triangle]], [0], 4)[0] == np.tri(4)).all()


def test_the_way_round_and_the_first_point_change_nothing():
    boxes, polygons, gt_index = positive_polygons(9, 3, SIZE)
    expected = check(boxes, polygons, gt_index, 14)
    for turn in (1, 7, 39):
        turned = [
            [np.roll(np.reshape(part, (-1, 2)), turn, axis=0).reshape(-1) for part in parts]
            for parts in polygons
        ]
        np.testing.assert_array_equal(run(boxes, turned, gt_index, 14), expected)
    backwards = [[np.reshape(part, (-1, 2))[::-1].reshape(-1) for part in gt] for gt in polygons]
    np.testing.assert_array_equal(check(boxes, backwards, gt_index, 14), expected)


def test_parts_are_united_and_a_part_s_own_overlap_is_not():
    inner = [15.0, 15, 25, 15, 25, 25, 15, 25]
    assert check(BOX, [[SQUARE, inner]], [0], 4).all()
    assert check(BOX, [[SQUARE, SQUARE]], [0], 4).all()
    twice = SQUARE + SQUARE  # one outline that goes round twice: even, so outside
    assert not check(BOX, [[twice]], [0], 4).any()


@pytest.mark.parametrize(
    "part",
    [
        [10, 10, 30, 30, 10, 10],  # no area
        [10, 20, 20, 20, 30, 20],  # level
        [20, 10, 20, 20, 20, 30],  # upright
        [20, 20, 20, 20, 20, 20],  # one point
        [-500, -500, -400, -500, -400, -400],  # left of the box and above it
        [500, 12, 600, 12, 600, 28],  # right of it
        [12, 500, 28, 500, 28, 600],  # below it
        [-900, -900, 900, -900, 900, 900, -900, 900],  # around it
        [-90, 20, 20, -90, 130, 20, 20, 130],
        [10, 10, 30, 10, 10, 30, 30, 30],  # crosses itself
    ],
)
def test_odd_parts_match_the_oracles(part):
    for size in (1, 5, (2, 9)):
        check(BOX, [[part]], [0], size)


coordinate = st.one_of(
    st.floats(-200, 300, width=32), st.integers(-12, 120).map(lambda step: step / 4)
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(coordinate, min_size=4, max_size=4),
    st.lists(
        st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9), min_size=0, max_size=3
    ),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(["float32", "float64"]),
)
def test_any_polygon_matches_the_oracles(box, parts, size, dtype):
    polygons = [[[xy for point in part for xy in point] for part in parts]]
    check(np.array([box], dtype), polygons, [0], size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_box_that_is_not_finite_has_an_empty_target(dtype):
    boxes = masks.EMPTY_BOXES.astype(dtype)
    boxes = np.concatenate([boxes[~np.isfinite(boxes).all(axis=1)], BOX]).astype(dtype)
    targets = run(boxes, [[SQUARE]], np.zeros(len(boxes)), 4)
    assert targets[-1].all() and not targets[:-1].any()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_part_that_is_not_finite_fills_nothing(wrong):
    for place in (0, 3, 7):
        part = list(SQUARE)
        part[place] = wrong
        assert not run(BOX, [[part]], [0], 4).any()
        left = [10.0, 10, 20, 10, 20, 30, 10, 30]
        np.testing.assert_array_equal(
            run(BOX, [[left, part]], [0], 4), check(BOX, [[left]], [0], 4)
        )


@pytest.mark.parametrize("far", [1e7, 1e12, 1e300])
def test_far_points_end_soon(far):
    # Too far to walk there step by step, as the oracles do; the answer is plain to see.
    around = [-far, -far, far, -far, far, far, -far, far]
    assert run(BOX, [[around]], [0], 28).all()
    right_half = [20.0, -far, far, -far, far, far, 20, far]
    assert (run(BOX, [[right_half]], [0], 4) == [0, 0, 1, 1]).all()
    lower_half = [-far, 20.0, far, 20, far, far, -far, far]
    assert (run(BOX, [[lower_half]], [0], 4)[0].T == [0, 0, 1, 1]).all()
    assert not run(BOX, [[[far, 0, 2 * far, 0, 2 * far, 90]]], [0], 28).any()


def test_huge_boxes_see_next_to_nothing():
    boxes = np.float32([[-1e30, 0, 1e30, 50], [-1e9, -1e9, 1e9, 1e9], [-3e38] * 2 + [3e38] * 2])
    assert run(boxes, [[SQUARE]], [0, 0, 0], 28).sum() == 0


def test_sides_below_a_pixel_count_as_one():
    boxes = np.float32([[10, 10, 10.5, 10.25], [10, 10, 11, 11], [10, 10, 5, 3]])
    targets = check(boxes, [[SQUARE], [[10, 10, 10.5, 10, 10.5, 11, 10, 11]]], [1, 1, 1], 8)
    assert (targets == ([1] * 4 + [0] * 4)).all()


@pytest.mark.parametrize("polygons", [[], [[]], [[], [SQUARE]]])
def test_no_boxes(polygons):
    assert run(np.zeros((0, 4), "float32"), polygons, [], 28).shape == (0, 28, 28)
    assert run(np.zeros((0, 4), "float64"), polygons, [], (3, 4)).shape == (0, 3, 4)


def test_a_ground_truth_without_parts_has_an_empty_target():
    targets = check(np.repeat(BOX, 3, axis=0), [[], [SQUARE], []], [0, 1, 2], 4)
    assert targets.any(axis=(1, 2)).tolist() == [False, True, False]


def test_parts_of_any_kind_int32_indices_and_views():
    boxes, polygons, gt_index = positive_polygons(9, 3, SIZE)
    polygons = [[np.float32(part).tolist() for part in gt] for gt in polygons]
    expected = run(boxes, polygons, gt_index, 14)
    wide = tensor(boxes.T.copy()).t()
    assert not wide.is_contiguous()
    pairs = tensor(np.stack([gt_index, gt_index * 0], axis=1).astype("int32"))[:, 0]
    for kind in (tuple, np.float32, np.float64):
        kinds = tuple([kind(part) for part in gt] for gt in polygons)
        np.testing.assert_array_equal(
            htc_ops.polygon_mask_targets(wide, kinds, pairs, 14).numpy(), expected
        )


def test_the_number_of_threads_changes_nothing():
    boxes, polygons, gt_index = positive_polygons(100, 7)
    assert_threads_change_nothing(lambda: run(boxes, polygons, gt_index, 28))


def test_every_instruction_set_gives_the_same_bits(tmp_path):
    script = """
import paddle, htc_ops
from cases.polygons import positive_polygons
results = []
for dtype in ("float32", "float64"):
    boxes, polygons, gt_index = positive_polygons(40, 4, (200, 300), dtype)
    boxes, gt_index = paddle.to_tensor(boxes), paddle.to_tensor(gt_index)
    results.append(htc_ops.polygon_mask_targets(boxes, polygons, gt_index, 28).numpy())
"""
    assert_same_on_every_target(script, tmp_path)


class _Targets(paddle.nn.Layer):
    """The polygons are the layer's: in a program they are constants."""

    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter(
            [1], default_initializer=paddle.nn.initializer.Constant(0.5)
        )
        self.polygons = positive_polygons(9, 3, SIZE)[1]

    def forward(self, boxes, gt_index):
        targets = htc_ops.polygon_mask_targets(boxes * self.scale, self.polygons, gt_index, (14, 7))
        return targets + 1, targets * 2


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
        paddle.static.InputSpec([None], "int64", "gt_index"),
    ]
    boxes, _, gt_index = positive_polygons(9, 3, SIZE)
    examples = [(boxes * 2, gt_index), (boxes[:4], gt_index[:4])]
    assert_same_in_graphs(_Targets, specs, examples, tmp_path)


def test_the_result_has_no_gradient():
    boxes = tensor(BOX)
    boxes.stop_gradient = False
    assert htc_ops.polygon_mask_targets(boxes, [[SQUARE]], tensor([0]), 4).stop_gradient


B, P, N = paddle.ones([3, 4]), [[SQUARE], [SQUARE, SQUARE]], paddle.zeros([3], "int64")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((B.numpy(), P, N, 28), TypeError, r"boxes: expected a Tensor \[R, 4\] of float32 or flo"),
        ((B.astype("float16"), P, N, 28), TypeError, "boxes: .* got float16"),
        ((B[:, :2], P, N, 28), ValueError, r"boxes: expected \[R, 4\] .* got float32 \[3, 2\]"),
        ((B, {}, N, 28), TypeError, "polygons: expected a list, .* got dict"),
        ((B, B, N, 28), TypeError, "polygons: expected a list, .* got Tensor"),
        ((B, [SQUARE], N, 28), ValueError, r"polygons\[0\]\[0\]: .* got 1 numbers of shape \[\]"),
        ((B, [[SQUARE], {"counts": 1}], N, 28), TypeError, r"polygons\[1\]: .* got dict"),
        ((B, [[SQUARE, SQUARE[:5]]], N, 28), ValueError, r"polygons\[0\]\[1\]: .* got 5 numbers"),
        ((B, [[SQUARE[:4]]], N, 28), ValueError, r"polygons\[0\]\[0\]: .* at least three points"),
        ((B, [[[]]], N, 28), ValueError, r"polygons\[0\]\[0\]: .* got 0 numbers"),
        ((B, [[np.ones((4, 2))]], N, 28), ValueError, r"polygons.* got 8 numbers of shape \[4, 2"),
        ((B, [[["a"] * 6]], N, 28), TypeError, r"polygons\[0\]\[0\]: expected numbers x, y, x, y"),
        ((B, [[[1, 2, [3], 4, 5, 6]]], N, 28), TypeError, r"polygons\[0\]\[0\]: expected numbers"),
        ((B, P, N.astype("float32"), 28), TypeError, "gt_index: .* int32 or int64, got float32"),
        ((B, P, N[:2], 28), ValueError, "gt_index: expected 3 rows, one a box, got 2"),
        (
            (B, P, tensor([0, 1, 2]), 28),
            ValueError,
            "gt_index: expected 0 to 1, one of the 2 ground truths, got 2 for box 2",
        ),
        ((B, [], N, 28), ValueError, "gt_index: .* the 0 ground truths, got 0 for box 0"),
        ((B, P, N - 1, 28), ValueError, "gt_index: expected 0 to 1, .* got -1 for box 0"),
        ((B, P, N, 0), ValueError, "size: expected an integer of at least 1, got 0"),
        ((B, P, N, 28.0), TypeError, r"size: expected an integer or \(height, width\)"),
        ((B, P, N, (1, 2, 3)), TypeError, r"size: expected an integer or \(height, width\)"),
        ((B, P, N, 40000), ValueError, "size: expected at most 32768 a side, got 40000"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        htc_ops.polygon_mask_targets(*arguments)
