import re

import numpy as np
import paddle
import pytest
from cases.box_codec import boxes_and_deltas
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import box_codec as oracle

STDS = (0.1, 0.1, 0.2, 0.2)
MEANS = (0.0, 0.1, 0.0, -0.1)
# exp differs by an ulp or two between libraries; coordinates reach some 10,000 px.
TOLERANCE = {"float32": 3e-6, "float64": 1e-14}


def decode(boxes, deltas, **options):
    return htc_ops.decode_boxes(
        paddle.to_tensor(boxes), paddle.to_tensor(deltas), **options
    ).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("count", "per_box"), [(0, 1), (1, 1), (5000, 1), (300, 7)])
def test_decode_matches_the_oracle(count, per_box, dtype):
    boxes, deltas = boxes_and_deltas(count, per_box, dtype)
    expected = oracle.decode_boxes(boxes, deltas, MEANS, STDS)
    actual = decode(boxes, deltas, means=MEANS, stds=STDS)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * 1e3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decode_clips_each_picture_to_its_own_size(dtype):
    boxes, deltas = boxes_and_deltas(900, 2, dtype)
    sizes = np.array([[200, 300], [50, 60], [800, 1333], [1, 1]], dtype)
    boxes_num = np.array([300, 0, 599, 1])
    expected = oracle.decode_boxes(boxes, deltas, MEANS, STDS, sizes, boxes_num)
    for integer in ("int32", "int64"):
        actual = decode(
            boxes,
            deltas,
            means=MEANS,
            stds=STDS,
            image_size=paddle.to_tensor(sizes),
            boxes_num=paddle.to_tensor(boxes_num.astype(integer)),
        )
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * 1e3)


def test_one_size_for_all_is_height_then_width():
    decoded = decode(
        np.float32([[-9, -9, 99, 99]]), np.zeros((1, 4), "float32"), image_size=(20, 30)
    )
    assert decoded.tolist() == [[0, 0, 30, 20]]


def test_growth_is_limited_and_the_limit_is_an_option():
    boxes = np.float64([[0, 0, 16, 16]])
    deltas = np.float64([[0, 0, 50, np.inf]])
    assert decode(boxes, deltas).round(6).tolist() == [[-492, -492, 508, 508]]
    assert decode(boxes, deltas, max_ratio=2).round(6).tolist() == [[-8, -8, 24, 24]]


def test_nan_stays_nan_and_touches_no_other_box():
    boxes, deltas = boxes_and_deltas(3)
    expected = decode(boxes, deltas, image_size=(800, 1333))
    boxes[1, 0] = np.nan
    actual = decode(boxes, deltas, image_size=(800, 1333))
    assert np.isnan(actual[1, [0, 2]]).all()
    np.testing.assert_array_equal(actual[[0, 2]], expected[[0, 2]])


def test_degenerate_boxes_decode_like_the_oracle():
    boxes = np.float32([[5, 5, 5, 5], [9, 9, 1, 1], [1e30, 0, 3e38, 1], [np.inf, 0, 1, 1]])
    deltas = np.float32([[0.5, 0.5, 0.1, 0.1]] * 4)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = oracle.decode_boxes(boxes, deltas, (0,) * 4, STDS)
    np.testing.assert_allclose(decode(boxes, deltas, stds=STDS), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_encode_matches_the_oracle_and_decode_undoes_it(dtype):
    boxes, _ = boxes_and_deltas(2000, dtype=dtype)
    targets, _ = boxes_and_deltas(2000, dtype=dtype, seed=1)
    deltas = htc_ops.encode_boxes(
        paddle.to_tensor(boxes), paddle.to_tensor(targets), MEANS, STDS
    ).numpy()
    expected = oracle.encode_boxes(boxes, targets, MEANS, STDS)
    np.testing.assert_allclose(deltas, expected, rtol=1e-4 if dtype == "float32" else 1e-12)
    back = decode(boxes, deltas, means=MEANS, stds=STDS, max_ratio=1e6)
    np.testing.assert_allclose(back, targets, rtol=0, atol=TOLERANCE[dtype] * 1e3)


def test_views_are_read_in_their_own_order():
    boxes, deltas = boxes_and_deltas(8)
    wide = paddle.to_tensor(np.ascontiguousarray(boxes.T)).t()  # [8, 4], columns in memory
    assert not wide.is_contiguous()
    actual = htc_ops.decode_boxes(wide, paddle.to_tensor(deltas)).numpy()
    np.testing.assert_array_equal(actual, decode(boxes, deltas))


def test_the_number_of_threads_changes_nothing():
    boxes, deltas = boxes_and_deltas(20000)
    assert_threads_change_nothing(lambda: decode(boxes, deltas))


B = paddle.ones([2, 4])
D = paddle.ones([2, 8])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((B.numpy(), D), {}, TypeError, r"boxes: expected a Tensor \[R, 4\] of float32 or float64"),
        ((B.astype("int32"), D), {}, TypeError, r"boxes: .* got int32 \[2, 4\]"),
        ((B[0], D), {}, ValueError, r"boxes: expected \[R, 4\] .* got float32 \[4\]"),
        ((B, D.astype("float64")), {}, TypeError, "deltas: expected the dtype of boxes, float32"),
        ((B, D[:1]), {}, ValueError, "deltas: expected 2 rows, one a box, got 1"),
        ((B, D[:, :6]), {}, ValueError, r"deltas: expected \[R, 4 \* K\], got \[2, 6\]"),
        ((B, D), {"stds": (1, 1)}, ValueError, "stds: expected 4 numbers, got 2"),
        ((B, D), {"means": (1, 1, 1, "x")}, TypeError, "means: expected a number, got str 'x'"),
        ((B, D), {"max_ratio": 1}, ValueError, "max_ratio: expected a number above 1, got 1"),
        ((B, D), {"image_size": (1, 2, 3)}, ValueError, r"image_size: expected \(height, width\)"),
        ((B, D), {"boxes_num": B}, ValueError, "boxes_num: expected None"),
        (
            (B, D),
            {"image_size": paddle.ones([1, 2])},
            TypeError,
            r"boxes_num: expected a Tensor \[B\] of int32 or int64, got NoneType",
        ),
        (
            (B, D),
            {"image_size": paddle.ones([1, 2]), "boxes_num": paddle.ones([2], "int32")},
            ValueError,
            "boxes_num: expected 1 rows, one a row of image_size, got 2",
        ),
        (
            (B, D),
            {"image_size": paddle.ones([1, 2]), "boxes_num": paddle.ones([1], "int32")},
            ValueError,
            r"boxes_num: expected counts that add up to the 2 rows of boxes, got \[1\]",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        htc_ops.decode_boxes(*arguments, **options)


def test_encode_refuses_a_zero_std():
    with pytest.raises(ValueError, match=re.escape("stds: expected numbers other than 0")):
        htc_ops.encode_boxes(B, B, stds=(0, 1, 1, 1))
