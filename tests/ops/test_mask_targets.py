import numpy as np
import paddle
import pytest
from cases import masks as cases
from cases import reference
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import assert_same_on_every_target
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import mask_targets as oracle

tensor = paddle.to_tensor
SIZE = (60, 80)
# A sum over the samples of a bin rounds by a few ulps; where the oracle's value is this near to the
# threshold, either answer stands.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def run(boxes, gt_masks, gt_index, size, threshold=0.5):
    targets = htc_ops.mask_targets(
        tensor(boxes), tensor(gt_masks), tensor(np.asarray(gt_index, "int64")), size, threshold
    )
    assert targets.dtype == paddle.float32
    targets = targets.numpy()
    assert np.isin(targets, (0, 1)).all()
    return targets


def check(boxes, gt_masks, gt_index, size, threshold=0.5):
    pair = (size, size) if isinstance(size, int) else size
    actual = run(boxes, gt_masks, gt_index, size, threshold)
    values = oracle.mask_target_values(boxes, gt_masks, gt_index, pair)
    assert actual.shape == values.shape
    differs = actual != (values >= threshold)
    assert (np.abs(values[differs] - threshold) < TOLERANCE[str(boxes.dtype)]).all()
    return actual


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [28, 14, 1, (3, 7)])
def test_targets_match_the_oracle(size, dtype):
    boxes, gt_masks, gt_index = cases.positives(40, 5, SIZE, dtype)
    targets = check(boxes, gt_masks, gt_index, size)
    assert 0.2 < targets.mean() < 0.99 or size == 1
    check(boxes, gt_masks, gt_index, size, 0.2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_usual_and_odd_boxes_match_the_oracle(dtype):
    boxes = np.concatenate([cases.USUAL_BOXES, cases.EMPTY_BOXES]).astype(dtype)
    boxes = boxes[~(np.abs(boxes) > 1e5).any(axis=1)]  # the oracle visits every sample
    gt_masks = cases.bitmaps(np.float32([[5, 5, 75, 55], [0, 0, 200, 200]]), SIZE)
    targets = check(boxes, gt_masks, np.arange(len(boxes)) % 2, 7)
    assert targets[1].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_boxes_that_sample_nothing_have_value_0(dtype):
    boxes = np.concatenate([cases.EMPTY_BOXES, cases.USUAL_BOXES[[8, 9]]]).astype(dtype)
    ones = np.ones((1, *SIZE), "uint8")
    index = np.zeros(len(boxes))
    assert run(boxes, ones, index, 7, 1e-9).sum() == 0
    assert run(boxes, ones, index, 7, 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_boxes_end_soon_and_see_next_to_nothing(dtype):
    boxes = np.array(
        [[-1e30, 0, 1e30, 50], [-1e9, -1e9, 1e9, 1e9], [-3e38] * 2 + [3e38] * 2], dtype
    )
    assert run(boxes, np.ones((1, *SIZE), "uint8"), [0, 0, 0], 28, 1e-3).sum() == 0
    large = np.array([[-400, -300, 480, 360]], dtype)  # eleven pictures a side
    assert check(large, np.ones((1, *SIZE), "uint8"), [0], 11)[0].sum() == 1


def test_hand_computed_values():
    # 2 x 2 bins of 2 x 2 pixels, sampled at the pixels' centres: the means of four pixels.
    bitmap = np.uint8([[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]])[None]
    boxes = np.float32([[0, 0, 4, 4]])
    assert run(boxes, bitmap, [0], 2).tolist() == [[[1, 0], [1, 1]]]  # 1/2, 1/4, 3/4, 1
    assert run(boxes, bitmap, [0], 2, 0.75).tolist() == [[[0, 0], [1, 1]]]
    assert run(boxes, bitmap, [0], 2, 0.75000006).tolist() == [[[0, 0], [0, 1]]]
    assert run(boxes, bitmap, [0], 1, 10 / 16).tolist() == [[[1]]]
    assert run(boxes, bitmap, [0], 1, 10.001 / 16).tolist() == [[[0]]]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(-12, 60), min_size=4, max_size=4),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0.25, 0.5, 1.0]),
)
def test_ties_are_exact_where_no_sum_rounds(seed, corners, size, threshold):
    # Quarter-pixel corners, and sides for which every bin has 1, 2, 4 or 8 samples: all weights are
    # binary fractions, so float32 holds each sum exactly and equality with the threshold counts.
    x, y, w, h = corners
    steps = np.array([1, 2, 4, 8])
    sides = steps[np.array([w, h]) % 4] * size
    box = np.float32([[x / 4, y / 4, x / 4 + sides[0], y / 4 + sides[1]]])
    bitmap = np.random.default_rng(seed).integers(0, 2, (1, 16, 21)).astype("uint8")
    values = oracle.mask_target_values(box, bitmap, [0], (size, size))
    np.testing.assert_array_equal(run(box, bitmap, [0], size, threshold), values >= threshold)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_values_are_those_of_roi_align(dtype):
    boxes, gt_masks, gt_index = cases.positives(60, 4, SIZE, dtype)
    features = tensor(gt_masks[gt_index][:, None].astype(dtype))
    ones = paddle.ones([len(boxes)], "int32")
    for align in (htc_ops.roi_align, paddle.vision.ops.roi_align):
        values = align(features, tensor(boxes), ones, 14, aligned=True).numpy()[:, 0]
        differs = run(boxes, gt_masks, gt_index, 14) != (values >= 0.5)
        assert (np.abs(values[differs] - 0.5) < TOLERANCE[dtype]).all()


@reference.needs_reference
@pytest.mark.parametrize("case", ["full", "nosem", "noninter", "cascade", "noflow"])
def test_the_reference_s_targets(case):
    stored = reference.load(f"tiny_{case}_train_b2.npz")
    compared = 0
    for stage in range(3):
        targets, values = [], []
        for image in range(2):
            # Where the stages are not interleaved, the boxes of the box head are used.
            head = "mask" if f"s{stage}_mask_img{image}_pos_priors" in stored else "bbox"
            boxes = stored[f"s{stage}_{head}_img{image}_pos_priors"]
            gt_index = stored[f"s{stage}_{head}_img{image}_pos_assigned_gt_inds"]
            gt_masks = stored[f"gt{image}_masks"]
            targets.append(run(boxes, gt_masks, gt_index, 28))
            values.append(oracle.mask_target_values(boxes, gt_masks, gt_index, (28, 28)))
        expected = stored[f"s{stage}_mask_targets"]
        differs = np.concatenate(targets) != expected
        # The reference's own two runs differ in a few cells of value 0.5 to within rounding.
        assert (np.abs(np.concatenate(values)[differs] - 0.5) < 1e-5).all()
        assert differs.sum() <= 5
        compared += expected.size
    assert compared > 40000


@pytest.mark.parametrize("value", [1, 2, 255])
def test_inside_is_whatever_is_not_0(value):
    boxes, gt_masks, gt_index = cases.positives(9, 2, SIZE)
    expected = run(boxes, gt_masks, gt_index, 14)
    np.testing.assert_array_equal(run(boxes, gt_masks * np.uint8(value), gt_index, 14), expected)
    np.testing.assert_array_equal(run(boxes, gt_masks.astype(bool), gt_index, 14), expected)


def test_int32_indices_and_views():
    boxes, gt_masks, gt_index = cases.positives(9, 3, SIZE)
    expected = run(boxes, gt_masks, gt_index, 14)
    turned = tensor(gt_masks.transpose(0, 2, 1).copy()).transpose([0, 2, 1])
    wide = tensor(boxes.T.copy()).t()
    pairs = tensor(np.stack([gt_index, gt_index * 0], axis=1).astype("int32"))[:, 0]
    assert not turned.is_contiguous()
    np.testing.assert_array_equal(htc_ops.mask_targets(wide, turned, pairs, 14).numpy(), expected)


@pytest.mark.parametrize("gts", [0, 2])
def test_no_boxes(gts):
    nothing = np.zeros((0, 4), "float32")
    assert run(nothing, np.ones((gts, *SIZE), "uint8"), [], 28).shape == (0, 28, 28)
    assert run(nothing, np.ones((gts, 0, 0), "bool"), [], (3, 4)).shape == (0, 3, 4)


@pytest.mark.parametrize("picture", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 9), (9, 1)])
def test_tiny_and_empty_bitmaps(picture):
    boxes = np.float32([[-1, -1, 8, 8], [0, 0, 1, 1], [0.25, 0.25, 0.75, 3]])
    targets = run(boxes, np.ones((1, *picture), "uint8"), [0, 0, 0], 4)
    if 0 in picture:
        assert targets.sum() == 0
    else:
        check(boxes, np.ones((1, *picture), "uint8"), [0, 0, 0], 4)
        assert targets[1].all()


def test_the_number_of_threads_changes_nothing():
    boxes, gt_masks, gt_index = cases.positives(100, 5, (200, 300))
    assert_threads_change_nothing(lambda: run(boxes, gt_masks, gt_index, 28))


def test_every_instruction_set_gives_the_same_bits(tmp_path):
    script = """
import paddle, htc_ops
from cases import masks as cases
results = []
for dtype in ("float32", "float64"):
    arguments = map(paddle.to_tensor, cases.positives(40, 4, (200, 300), dtype))
    results.append(htc_ops.mask_targets(*arguments, 28).numpy())
"""
    assert_same_on_every_target(script, tmp_path)


class _Targets(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter(
            [1], default_initializer=paddle.nn.initializer.Constant(0.5)
        )

    def forward(self, boxes, gt_masks, gt_index):
        targets = htc_ops.mask_targets(boxes * self.scale, gt_masks, gt_index, (14, 7))
        return targets + 1, targets * 2


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
        paddle.static.InputSpec([None, None, None], "uint8", "gt_masks"),
        paddle.static.InputSpec([None], "int64", "gt_index"),
    ]
    examples = [cases.positives(r, g, size) for r, g, size in ((9, 3, SIZE), (4, 1, (20, 30)))]
    assert_same_in_graphs(_Targets, specs, examples, tmp_path)


def test_the_result_has_no_gradient():
    boxes, gt_masks, gt_index = (tensor(part) for part in cases.positives(3, 1, SIZE))
    boxes.stop_gradient = False
    assert htc_ops.mask_targets(boxes, gt_masks, gt_index, 4).stop_gradient


@pytest.mark.slow  # 2.2 GB
def test_bitmaps_of_more_than_2_to_the_31_pixels():
    gt_masks = paddle.zeros([3, 27000, 28000], "uint8")
    gt_masks[2, 26000:27000, 27000:28000] = 1
    boxes = tensor(np.float32([[27000, 26000, 28000, 27000], [26500, 26000, 27500, 27000]]))
    targets = htc_ops.mask_targets(boxes, gt_masks, tensor([2, 2]), 4).numpy()
    assert targets[0].all()
    assert targets[1].tolist() == [[0, 0, 1, 1]] * 4


B, G, N = paddle.ones([3, 4]), paddle.ones([2, 5, 6], "uint8"), paddle.zeros([3], "int64")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (B.numpy(), G, N, 28),
            TypeError,
            r"boxes: expected a Tensor \[R, 4\] of float32 or float",
        ),
        ((B.astype("float16"), G, N, 28), TypeError, "boxes: .* got float16"),
        ((B[:, :2], G, N, 28), ValueError, r"boxes: expected \[R, 4\] .* got float32 \[3, 2\]"),
        ((B, G.astype("float32"), N, 28), TypeError, r"gt_masks: .* of uint8 or bool, got float32"),
        ((B, G[0], N, 28), ValueError, r"gt_masks: expected \[G, H, W\] .* got uint8 \[5, 6\]"),
        ((B, G, N.astype("float32"), 28), TypeError, "gt_index: .* int32 or int64, got float32"),
        ((B, G, N[:2], 28), ValueError, "gt_index: expected 3 rows, one a box, got 2"),
        (
            (B, G, paddle.to_tensor([0, 1, 2]), 28),
            ValueError,
            "gt_index: expected 0 to 1, one of the 2 ground truths, got 2 for box 2",
        ),
        ((B, G, N - 1, 28), ValueError, "gt_index: expected 0 to 1, .* got -1 for box 0"),
        ((B, G, N + 2**40, 28), ValueError, "gt_index: .* got 1099511627776 for box 0"),
        ((B, G, N, 0), ValueError, "size: expected an integer of at least 1, got 0"),
        ((B, G, N, 28.0), TypeError, r"size: expected an integer or \(height, width\)"),
        ((B, G, N, (1, 2, 3)), TypeError, r"size: expected an integer or \(height, width\)"),
        ((B, G, N, 40000), ValueError, "size: expected at most 32768 a side, got 40000"),
        ((B, G, N, 28, 1.1), ValueError, "threshold: expected a number from 0 to 1, got 1.1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        htc_ops.mask_targets(*arguments)
