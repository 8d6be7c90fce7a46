import numpy as np
import paddle
import pytest
from cases import masks as cases
from cases import reference
from cases.roi_align import boxes_in_picture
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import assert_same_on_every_target
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import paste_masks as oracle

tensor = paddle.to_tensor
SIZE = (60, 80)
ODD_BOXES = np.concatenate([cases.EMPTY_BOXES, cases.HUGE_BOXES])


def run(masks, boxes, image_size=SIZE, threshold=0.5):
    bitmaps = htc_ops.paste_masks(tensor(masks), tensor(boxes), image_size, threshold)
    assert bitmaps.dtype == paddle.uint8
    return bitmaps.numpy()


def check(masks, boxes, image_size=SIZE, threshold=0.5):
    actual = run(masks, boxes, image_size, threshold)
    expected = oracle.paste_masks(masks, boxes, image_size, threshold)
    np.testing.assert_array_equal(actual, expected)
    bits = htc_ops.paste_masks(tensor(masks), tensor(boxes), image_size, threshold, packed=True)
    assert bits.dtype == paddle.uint8
    np.testing.assert_array_equal(bits.numpy(), np.packbits(expected, axis=-1))
    return actual


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mask_size", [(28, 28), (14, 14), (1, 1), (2, 3), (5, 1), (112, 40)])
def test_bitmaps_match_the_oracle(mask_size, dtype):
    boxes = np.concatenate([cases.USUAL_BOXES, boxes_in_picture(30, SIZE, 1, 100)])
    masks = cases.soft_masks(len(boxes), mask_size, dtype)
    some = check(masks, boxes)
    assert 0 < some.sum() < some.size
    check(masks, boxes.astype("float64") + 1 / 3)


@pytest.mark.parametrize("threshold", [0, 1e-6, 0.3, 0.7, 1])
def test_every_threshold(threshold):
    boxes = cases.USUAL_BOXES
    masks = np.random.default_rng(0).uniform(0, 1, (len(boxes), 7, 9)).astype("float32")
    check(np.round(masks), boxes, SIZE, threshold)
    check(masks, boxes, SIZE, threshold)


def test_a_wide_picture_is_more_than_one_tile_and_a_tall_one_more_than_one_band():
    boxes = np.float32([[-100, 2, 3000, 9], [1020, 1, 1030, 12], [30, 3, 2050, 5]])
    masks = cases.soft_masks(3)
    check(masks, boxes, (12, 2900))
    check(masks, boxes[:, [1, 0, 3, 2]], (2900, 500))


@pytest.mark.parametrize("width", [*range(1, 18), 1023, 1024, 1025, 1031])
def test_packed_rows_of_every_length(width):
    random = np.random.default_rng(width)
    starts, sides = random.uniform(-4, width, 20), random.uniform(1, width + 6, 20)
    boxes = np.stack([starts, np.full(20, -1), starts + sides, np.full(20, 4)], 1)
    masks = random.choice(np.float32([0, 1]), (20, 2, 9))
    assert check(masks, boxes.astype("float32"), (3, width)).any()


def test_hand_computed_bits():
    masks, boxes = np.ones((1, 1, 1), "float32"), np.float32([[1, -9, 9, 9]])
    bits = htc_ops.paste_masks(tensor(masks), tensor(boxes), (1, 10), 0.5, packed=True)
    assert bits.numpy().tolist() == [[[0b01111111, 0b10000000]]]


def test_hand_computed_values():
    # One cell of 1 over columns 1..3: at their centres the mask is read at -1/4 and 1/4 of the
    # cell's centre, value 3/4 in each direction; one pixel further out it is 1/4.
    masks, boxes = np.ones((1, 1, 1), "float32"), np.float32([[1, 1, 3, 3]])
    inside = np.pad(np.ones((2, 2)), 1)
    np.testing.assert_array_equal(run(masks, boxes, (4, 4), 0.5625)[0], inside)
    assert run(masks, boxes, (4, 4), 0.5626).sum() == 0
    assert run(masks, boxes, (4, 4), 0.0625).all()
    np.testing.assert_array_equal(run(masks, boxes, (4, 4), 0.0626)[0, 0], [0, 1, 1, 0])


def test_threshold_0_sets_what_reads_a_cell_and_nothing_else():
    masks, boxes = np.zeros((1, 2, 2), "float32"), np.float32([[10, 20, 30, 40]])
    bitmap = run(masks, boxes, SIZE, 0)[0]
    expected = np.zeros(SIZE)
    expected[15:45, 5:35] = 1  # half a cell, 5 pixels, around the box
    np.testing.assert_array_equal(bitmap, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threshold", [0, 0.5])
def test_odd_boxes(threshold, dtype):
    boxes = ODD_BOXES
    bitmaps = check(np.ones((len(boxes), 4, 4), dtype), boxes, SIZE, threshold)
    assert bitmaps[: len(cases.EMPTY_BOXES)].sum() == 0
    wide = np.float64([[-1e300, 0, 1e300, 9], [-1.7e308, 0, 1.7e308, 9], [5, 5, 5 + 1e-300, 9]])
    wide = np.concatenate([wide, np.float64([[0.5, 0.5, 0.5 + 1e-16, 3], [-5e-324, 0, 5e-324, 9]])])
    check(np.ones((len(wide), 4, 4), dtype), wide, SIZE, threshold)


def test_values_that_are_no_probabilities():
    values = [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.5, 0, 1]
    masks = np.random.default_rng(0).choice(np.float32(values), (60, 3, 4))
    boxes = np.tile(np.float32([[7, 5, 61, 47]]), (60, 1))
    for threshold in (0, 0.5):
        check(masks, boxes, SIZE, threshold)
    assert (
        run(np.full((1, 3, 4), np.nan, "float32"), boxes[:1], SIZE, 0)[0, 10:40, 20:50].sum() == 0
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype, packed):
    masks = tensor(cases.soft_masks(len(cases.USUAL_BOXES))).astype(dtype)
    boxes = tensor(cases.USUAL_BOXES)
    np.testing.assert_array_equal(
        htc_ops.paste_masks(masks, boxes, SIZE, packed=packed).numpy(),
        htc_ops.paste_masks(masks.astype("float32"), boxes, SIZE, packed=packed).numpy(),
    )


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("image_size", [(0, 0), (0, 5), (5, 0), (1, 1), SIZE])
@pytest.mark.parametrize("mask_size", [(0, 0), (0, 3), (4, 4)])
def test_nothing_to_paste_and_nowhere_to_paste(count, image_size, mask_size):
    masks, boxes = (
        np.ones((count, *mask_size), "float32"),
        np.tile(np.float32([[-1, -1, 9, 9]]), (count, 1)),
    )
    assert check(masks, boxes, image_size).shape == (count, *image_size)


def test_the_channel_axis_may_be_there():
    masks, boxes = cases.soft_masks(4), cases.USUAL_BOXES[:4]
    np.testing.assert_array_equal(run(masks[:, None], boxes), run(masks, boxes))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.floats(-60, 60, width=32), min_size=4, max_size=4),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_any_box_on_any_picture(seed, mask_size, image_size, box, threshold):
    random = np.random.default_rng(seed)
    masks = random.choice(np.float32([0, 0.25, 0.5, 0.75, 1]), (1, *mask_size))  # many exact ties
    check(masks, np.float32([box]), image_size, threshold)


@reference.needs_reference
@pytest.mark.parametrize("case", ["tiny_full_infer", "tiny_full_infer_pad", "tiny_nosem_infer"])
@pytest.mark.parametrize("kind", ["mean", "last"])
def test_the_reference_s_masks(case, kind):
    stored = reference.load(f"{case}.npz")
    probabilities, boxes = stored[f"mask_prob_{kind}"], stored["out_boxes"]
    expected = stored[f"masks_{kind}"]
    actual = run(probabilities, boxes, expected.shape[1:]).astype(bool)
    values, _ = oracle.paste_values(probabilities, boxes, expected.shape[1:])
    # The reference's own two runs differ where the probability is 0.5 to within rounding.
    assert (np.abs(values[actual != expected] - 0.5) < 1e-5).all()
    assert (actual != expected).sum() <= 5


def test_what_paddle_s_grid_sample_gives():
    masks, boxes = cases.detections(12, SIZE, seed=3)
    whole = grid_sample_paste(tensor(masks), tensor(boxes), SIZE).numpy()
    actual = run(masks, boxes).astype(bool)
    differs = actual != (whole >= 0.5)
    assert (np.abs(whole[differs] - 0.5) < 1e-4).all()
    assert actual.any()


def grid_sample_paste(masks, boxes, image_size):
    """The composition that Paddle offers: values [N, H, W]."""
    height, width = image_size
    xs = (paddle.arange(width, dtype="float32") + 0.5 - boxes[:, 0:1]) / (
        boxes[:, 2:3] - boxes[:, 0:1]
    )
    ys = (paddle.arange(height, dtype="float32") + 0.5 - boxes[:, 1:2]) / (
        boxes[:, 3:4] - boxes[:, 1:2]
    )
    count = len(boxes)
    grid = paddle.stack(
        [
            (xs * 2 - 1)[:, None, :].expand([count, height, width]),
            (ys * 2 - 1)[:, :, None].expand([count, height, width]),
        ],
        axis=3,
    )
    return paddle.nn.functional.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]


@pytest.mark.parametrize("packed", [False, True])
def test_views_are_read_in_their_own_order(packed):
    masks, boxes = cases.soft_masks(5, (6, 9)), cases.USUAL_BOXES[:5]
    turned = tensor(masks.transpose(0, 2, 1).copy()).transpose([0, 2, 1])
    wide = tensor(boxes.T.copy()).t()
    assert not turned.is_contiguous()
    expected = htc_ops.paste_masks(tensor(masks), tensor(boxes), SIZE, packed=packed)
    actual = htc_ops.paste_masks(turned, wide, SIZE, packed=packed)
    np.testing.assert_array_equal(actual.numpy(), expected.numpy())


def test_the_number_of_threads_changes_nothing():
    # Several bands of rows a mask, in bits too.
    masks, boxes = cases.detections(9, (1100, 1500), seed=1)

    def in_bytes_and_bits():
        whole = run(masks, boxes, (1100, 1500))
        bits = htc_ops.paste_masks(tensor(masks), tensor(boxes), (1100, 1500), packed=True)
        np.testing.assert_array_equal(bits.numpy(), np.packbits(whole, axis=-1))
        return whole

    assert_threads_change_nothing(in_bytes_and_bits)


def test_every_instruction_set_gives_the_same_bits(tmp_path):
    script = """
import paddle, htc_ops
from cases import masks as cases
results = []
for dtype in ("float32", "float64"):
    masks, boxes = map(paddle.to_tensor, cases.detections(20, (90, 120), dtype=dtype))
    for packed in (False, True):
        results.append(htc_ops.paste_masks(masks, boxes, (90, 123), packed=packed).numpy())
"""
    assert_same_on_every_target(script, tmp_path)


class _Paster(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter(
            [1], default_initializer=paddle.nn.initializer.Constant(2)
        )

    def forward(self, masks, boxes):
        bitmaps = htc_ops.paste_masks(masks, boxes * self.scale, SIZE, 0.4)
        bits = htc_ops.paste_masks(masks, boxes, SIZE, packed=True)
        # Not "* 2": oneDNN's scaling, in Paddle 3.3 too, refuses a tensor without elements.
        return bitmaps.astype("int32") + 1, bitmaps.astype("float32"), bits.astype("int32")


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, None, None], "float32", "masks"),
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
    ]
    sizes = [(5, 28), (2, 7), (0, 7)]
    if paddle.__version__.startswith(("2.", "3.0")):
        sizes.pop()  # their own cast refuses a tensor without elements
    examples = [cases.detections(n, (30, 40), (m, m)) for n, m in sizes]
    assert_same_in_graphs(_Paster, specs, examples, tmp_path)


def test_the_result_has_no_gradient():
    masks = tensor(cases.soft_masks(2))
    masks.stop_gradient = False
    assert htc_ops.paste_masks(masks, tensor(cases.USUAL_BOXES[:2]), SIZE).stop_gradient


@pytest.mark.slow  # 2.3 GB
@pytest.mark.parametrize("packed", [False, True])
def test_more_than_2_to_the_31_bytes(packed):
    width = 28000 * 8 if packed else 28000
    masks, boxes = np.ones((3, 4, 4), "float32"), np.float32([[0, 0, 9, 9]] * 3)
    boxes[2] = [width - 1000, 26000, width - 1, 26999]
    result = htc_ops.paste_masks(tensor(masks), tensor(boxes), (27000, width), packed=packed)
    assert result.shape == [3, 27000, 28000]
    last = result[2].numpy()
    corner = last[26000:, -125 if packed else -1000 :]
    moved = boxes[2:] - np.float32([width - 1000, 26000] * 2)
    expected = oracle.paste_masks(masks[2:], moved, (1000, 1000))[0]
    np.testing.assert_array_equal(corner, np.packbits(expected, axis=-1) if packed else expected)
    assert np.count_nonzero(last) == np.count_nonzero(corner) > 0


M, B = paddle.ones([3, 4, 4]), paddle.ones([3, 4])
WRONG_ARGUMENTS = [
    ((M.numpy(), B, SIZE), TypeError, r"masks: expected a Tensor \[N, M, M'\] of float16 or"),
    ((M.astype("int32"), B, SIZE), TypeError, r"masks: .* got int32 \[3, 4, 4\]"),
    ((M[0], B, SIZE), ValueError, r"masks: expected \[N, M, M'\] .* got float32 \[4, 4\]"),
    ((M[None], B, SIZE), ValueError, r"masks: expected \[N, 1, M, M'\] .* got float32 \[1, 3, 4"),
    ((M, B[:, :3], SIZE), ValueError, r"boxes: expected \[N, 4\] .* got float32 \[3, 3\]"),
    ((M, B.astype("float16"), SIZE), TypeError, "boxes: .* got float16"),
    ((M, B[:2], SIZE), ValueError, "boxes: expected 3 rows, one a mask, got 2"),
    ((M, B, 60), TypeError, r"image_size: expected \(height, width\), got 60"),
    ((M, B, (60, 80, 3)), TypeError, r"image_size: expected an integer or \(height, width\)"),
    ((M, B, (60, -1)), ValueError, "image_size: expected an integer of at least 0, got -1"),
    ((M, B, (60.0, 80)), TypeError, "image_size: expected an integer, got float 60.0"),
    ((M, B, (60, 2**31)), ValueError, "image_size: expected at most 2147483647 a side"),
    ((M, B, SIZE, -0.1), ValueError, "threshold: expected a number from 0 to 1, got -0.1"),
    ((M, B, SIZE, float("nan")), ValueError, "threshold: expected a number from 0 to 1"),
    ((M, B, SIZE, "half"), TypeError, "threshold: expected a number, got str 'half'"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG_ARGUMENTS)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        htc_ops.paste_masks(*arguments)


def test_packed_is_a_bool():
    with pytest.raises(TypeError, match="packed: expected True or False, got 1"):
        htc_ops.paste_masks(M, B, SIZE, packed=1)
