import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from cases.roi_align import (
    EMPTY_BOXES,
    HUGE_BOXES,
    NOT_FINITE_BOXES,
    STRIDES,
    USUAL_BOXES,
    boxes_in_picture,
    feature_pyramid,
)
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import roi_align as oracle

SIZE = (60, 80)  # of the picture, pixels
# Features are around 1. Rounding of float32 sums; of the 16-bit result (2^-11, 2^-8 of it).
TOLERANCE = {"float32": 2e-6, "float64": 1e-13, "float16": 3e-3, "bfloat16": 2e-2}


def tensor(array, dtype=None):
    return paddle.to_tensor(np.ascontiguousarray(array), dtype=dtype)


def pool(x, boxes, boxes_num, output_size, *args, **options):
    return htc_ops.roi_align(
        tensor(x), tensor(boxes), tensor(boxes_num, "int32"), output_size, *args, **options
    ).numpy()


def random_features(shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gradient(function, inputs, seed=1):
    """Return the results of `function`, the gradient that was sent back, and those of `inputs`."""
    for each in inputs:
        each.stop_gradient = False
    result = function(*inputs)
    sent = random_features(result.shape, seed)
    result.backward(tensor(sent).astype(result.dtype))
    received = [each.grad.astype("float64").numpy() for each in inputs]
    sent = tensor(sent).astype(result.dtype).astype("float64").numpy()
    return result.astype("float64").numpy(), sent, received


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("sampling_ratio", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_forward_and_gradient_match_the_oracle(dtype, sampling_ratio, aligned):
    boxes = USUAL_BOXES if sampling_ratio <= 0 else np.concatenate([USUAL_BOXES, EMPTY_BOXES])
    boxes = boxes.astype("float64" if dtype == "float64" else "float32")
    x = tensor(random_features((2, 3, 15, 20))).astype(dtype)
    boxes_num = [4, len(boxes) - 4]
    options = {"spatial_scale": 0.25, "sampling_ratio": sampling_ratio, "aligned": aligned}
    pooled, sent, (received,) = gradient(
        lambda x: htc_ops.roi_align(
            x, tensor(boxes), tensor(boxes_num, "int64"), (3, 4), **options
        ),
        [x],
    )
    exact = x.astype("float64").numpy()
    expected = oracle.roi_align(exact, boxes, boxes_num, (3, 4), **options)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=TOLERANCE[dtype] * 2)
    expected = oracle.roi_align_grad(sent, x.shape, boxes, boxes_num, **options)
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE[dtype] * 8)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
@pytest.mark.parametrize("average", [2, 3])
def test_an_average_is_that_of_the_finer_bins(dtype, sampling_ratio, average):
    boxes = USUAL_BOXES.astype("float64" if dtype == "float64" else "float32")
    x = tensor(random_features((2, 3, 15, 20))).astype(dtype)
    boxes_num = [4, len(boxes) - 4]
    where = tensor(boxes), tensor(boxes_num, "int64")
    options = {"spatial_scale": 0.25, "sampling_ratio": sampling_ratio}
    pooled, sent, (received,) = gradient(
        lambda x: htc_ops.roi_align(x, *where, (3, 4), average=average, **options), [x]
    )
    exact = x.astype("float64").numpy()
    expected = oracle.roi_align(exact, boxes, boxes_num, (3, 4), average=average, **options)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=TOLERANCE[dtype] * 2)
    expected = oracle.roi_align_grad(sent, x.shape, boxes, boxes_num, average=average, **options)
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE[dtype] * 8)
    finer = htc_ops.roi_align(x, *where, (3 * average, 4 * average), **options)
    averaged = F.avg_pool2d(finer.astype("float64"), average).numpy()
    np.testing.assert_allclose(pooled, averaged, rtol=0, atol=TOLERANCE[dtype] * 3)


@pytest.mark.parametrize("output_size", [(1, 1), (7, 7), (14, 14), (2, 9), (17, 3), (33, 20)])
@pytest.mark.parametrize("map_size", [(1, 1), (3, 2), (9, 7), (12, 16), (20, 33)])
def test_any_number_of_bins_and_any_size_of_map(output_size, map_size):
    boxes = USUAL_BOXES / 80 * map_size[1]
    pooled, sent, (received,) = gradient(
        lambda x: htc_ops.roi_align(x, tensor(boxes), tensor([len(boxes)], "int32"), output_size),
        [tensor(random_features((1, 2, *map_size)))],
    )
    x = random_features((1, 2, *map_size))
    expected = oracle.roi_align(x, boxes, [len(boxes)], output_size)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-5)
    expected = oracle.roi_align_grad(sent, x.shape, boxes, [len(boxes)])
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-5)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    sides=st.lists(st.tuples(*[st.floats(-30, 60, width=32)] * 4), min_size=0, max_size=4),
    map_size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    output_size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    sampling_ratio=st.integers(-1, 3),
    aligned=st.booleans(),
    scale=st.sampled_from([1.0, 0.5, 0.3]),
)
def test_forward_and_gradient_are_the_oracle_s_for_any_box(
    sides, map_size, output_size, sampling_ratio, aligned, scale
):
    boxes = np.array(sides, "float32").reshape(-1, 4)
    options = {"spatial_scale": scale, "sampling_ratio": sampling_ratio, "aligned": aligned}
    x = random_features((1, 2, *map_size))
    pooled, sent, (received,) = gradient(
        lambda x: htc_ops.roi_align(
            x, tensor(boxes), tensor([len(boxes)], "int32"), output_size, **options
        ),
        [tensor(x)],
    )
    expected = oracle.roi_align(x, boxes, [len(boxes)], output_size, **options)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-5)
    expected = oracle.roi_align_grad(sent, x.shape, boxes, [len(boxes)], **options)
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("output_size", [7, (14, 10)])
def test_equals_paddle_s_own_operator(dtype, sampling_ratio, aligned, output_size):
    # Left out: boxes without extent, where Paddle's gives NaN, and boxes under a pixel of the map,
    # which its gradient (not its forward) widens to a pixel even with aligned=True.
    boxes = np.concatenate([USUAL_BOXES, boxes_in_picture(50, SIZE, 4, 60)]).astype(dtype)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] > 2).all(axis=1)]
    boxes_num = tensor([20, 0, len(boxes) - 20], "int32")
    results = []
    for operator in (htc_ops.roi_align, paddle.vision.ops.roi_align):
        x = tensor(random_features((3, 5, 30, 40), dtype=dtype))

        def function(x, operator=operator):
            return operator(x, tensor(boxes), boxes_num, output_size, 0.5, sampling_ratio, aligned)

        results.append(gradient(function, [x]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=0, atol=1e-5)
    # Paddle's gradient rounds coordinates in another order than its forward: up to 3e-5 here.
    atol = 1e-4 if dtype == "float32" else 1e-5
    np.testing.assert_allclose(results[0][2][0], results[1][2][0], rtol=0, atol=atol)


@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_gradient_matches_central_differences(sampling_ratio):
    boxes = np.concatenate([USUAL_BOXES, boxes_in_picture(6, SIZE, 4, 60)]).astype("float64")
    weights = random_features((len(boxes), 1, 3, 2), dtype="float64")
    x = random_features((1, 1, 8, 10), seed=3, dtype="float64")

    def loss(x):
        return float((pool(x, boxes, [len(boxes)], (3, 2), 0.125, sampling_ratio) * weights).sum())

    leaf = tensor(x)
    leaf.stop_gradient = False
    pooled = htc_ops.roi_align(
        leaf, tensor(boxes), tensor([len(boxes)], "int32"), (3, 2), 0.125, sampling_ratio
    )
    (pooled * tensor(weights)).sum().backward()
    numeric, step = np.zeros_like(x), 1e-3
    for at in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        numeric[at] = (loss(x + moved) - loss(x - moved)) / (2 * step)
    np.testing.assert_allclose(leaf.grad.numpy(), numeric, rtol=0, atol=1e-11)


@pytest.mark.parametrize("boxes", [NOT_FINITE_BOXES, EMPTY_BOXES], ids=["not finite", "empty"])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_boxes_without_samples_pool_to_zeros_and_disturb_nobody(boxes, sampling_ratio):
    if boxes is EMPTY_BOXES and sampling_ratio > 0:
        pytest.skip("with a fixed grid these have samples; the oracle tests look at them")
    mixed = np.concatenate([USUAL_BOXES, boxes, USUAL_BOXES])
    pooled, sent, (received,) = gradient(
        lambda x: htc_ops.roi_align(
            x, tensor(mixed), tensor([len(mixed)], "int32"), 3, 0.25, sampling_ratio
        ),
        [tensor(random_features((1, 2, 15, 20)))],
    )
    usual = len(USUAL_BOXES)
    assert (pooled[usual:-usual] == 0).all()
    np.testing.assert_array_equal(pooled[:usual], pooled[-usual:])
    assert np.abs(pooled[:usual]).max() > 0.1
    kept = np.concatenate([USUAL_BOXES, USUAL_BOXES])
    expected = oracle.roi_align_grad(
        np.concatenate([sent[:usual], sent[-usual:]]),
        (1, 2, 15, 20),
        kept,
        [len(kept)],
        0.25,
        sampling_ratio,
    )
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("sampling_ratio", [-1, 2, 4096])
@pytest.mark.parametrize("aligned", [True, False])
def test_huge_boxes_end_and_weigh_what_is_in_the_picture(sampling_ratio, aligned):
    x = random_features((1, 2, 15, 20))
    pooled, _, (received,) = gradient(
        lambda x: htc_ops.roi_align(
            x,
            tensor(HUGE_BOXES),
            tensor([len(HUGE_BOXES)], "int32"),
            3,
            0.25,
            sampling_ratio,
            aligned,
        ),
        [tensor(x)],
    )
    assert np.isfinite(pooled).all()
    assert np.isfinite(received).all()
    if sampling_ratio <= 0:  # a few pixels over the very many samples of an adaptive grid
        assert np.abs(pooled).max() < 1e-3
    # Where half a bin covers the picture exactly: 1/30 of the first bin's width, all of one height.
    wide = np.float32([[0, 0, 80 * 3 * 100, 60]])
    expected = oracle.roi_align(x[:, :, :, :], wide, [1], (1, 3), 0.25, 0, aligned)
    np.testing.assert_allclose(pool(x, wide, [1], (1, 3), 0.25, 0, aligned), expected, atol=1e-6)


def test_a_box_far_larger_than_the_map_gives_the_oracle_s_mean():
    x = random_features((1, 2, 5, 6))
    boxes = np.float32([[-70, -90, 400, 300], [-3000, -1, 4000, 7], [2, -5000, 4, 100]])
    expected = oracle.roi_align(x, boxes, [3], (2, 3))
    np.testing.assert_allclose(pool(x, boxes, [3], (2, 3)), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_boxes_empty_pictures_and_empty_maps(dtype):
    none = paddle.zeros([0, 4])
    x = tensor(random_features((3, 2, 6, 7))).astype(dtype)
    x.stop_gradient = False
    pooled = htc_ops.roi_align(x, none, tensor([0, 0, 0], "int32"), (3, 4))
    assert pooled.shape == [0, 2, 3, 4]
    pooled.backward(pooled.detach())  # (Paddle 2.6 has no sum over nothing)
    assert x.grad.shape == x.shape
    assert (x.grad.astype("float32").numpy() == 0).all()
    boxes = tensor(USUAL_BOXES[:2])
    for size in ((3, 2, 0, 7), (3, 2, 6, 0), (3, 0, 6, 7)):
        empty = paddle.zeros(size, dtype)
        pooled = htc_ops.roi_align(empty, boxes, tensor([0, 2, 0], "int32"), 2)
        assert pooled.shape == [2, size[1], 2, 2]
        assert (pooled.astype("float32").numpy() == 0).all()


def test_each_box_reads_its_own_picture():
    x = np.zeros((4, 1, 8, 8), "float32") + np.float32([1, 2, 3, 4]).reshape(4, 1, 1, 1)
    boxes = np.float32([[0, 0, 8, 8]] * 6)
    pooled = pool(x, boxes, [1, 0, 3, 2], 2)
    np.testing.assert_array_equal(pooled[:, 0, 0, 0], [1, 3, 3, 3, 4, 4])


def test_levels_follow_the_square_root_of_the_area():
    features = [
        np.full((1, 1, 256 // s, 256 // s), level, "float32") for level, s in enumerate(STRIDES)
    ]
    sides = [1, 55, 111.9, 112, 223.9, 224, 447.9, 448, 5000]
    boxes = np.float32([[100, 100, 100 + s, 100 + s] for s in sides])
    boxes = np.concatenate([boxes, np.float32([[0, 0, 28, 448], [0, 0, 448, 448]])])
    expected = oracle.levels(boxes, 4)
    assert expected.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 1, 3]
    pooled = htc_ops.multilevel_roi_align(
        [tensor(f) for f in features], tensor(boxes), tensor([len(boxes)], "int32"), 1, STRIDES, 1
    )
    inside = (boxes[:, :2] + boxes[:, 2:]).max(axis=1) / 2 < 250  # the middle is what is sampled
    np.testing.assert_array_equal(pooled.numpy()[inside, 0, 0, 0], expected[inside])
    larger = oracle.levels(boxes, 4, canonical_size=112)
    assert larger.tolist() == [0, 0, 0, 0, 0, 1, 1, 2, 3, 0, 2]
    assert oracle.levels(NOT_FINITE_BOXES, 4).max() <= 3


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_multilevel_forward_and_gradient_match_the_oracle(dtype):
    boxes = np.concatenate([boxes_in_picture(25, (128, 160), 4, 150), EMPTY_BOXES])
    boxes = boxes.astype("float64" if dtype == "float64" else "float32")
    boxes_num = [10, 0, len(boxes) - 10]
    features = [
        tensor(f).astype(dtype) for f in feature_pyramid((128, 160), channels=3, pictures=3)
    ]
    options = {"canonical_size": 12, "sampling_ratio": 0}
    pooled, sent, received = gradient(
        lambda *features: htc_ops.multilevel_roi_align(
            list(features), tensor(boxes), tensor(boxes_num, "int32"), (3, 4), STRIDES, **options
        ),
        features,
    )
    assert len(set(oracle.levels(boxes, 4, 12))) == 4
    exact = [f.astype("float64").numpy() for f in features]
    expected = oracle.multilevel_roi_align(exact, boxes, boxes_num, (3, 4), STRIDES, **options)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=TOLERANCE[dtype] * 2)
    shapes = [f.shape for f in features]
    expected = oracle.multilevel_roi_align_grad(sent, shapes, boxes, boxes_num, STRIDES, **options)
    for actual, wanted in zip(received, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=TOLERANCE[dtype] * 8)


def test_one_level_is_roi_align():
    boxes = tensor(boxes_in_picture(30, SIZE, 4, 60))
    x, boxes_num = tensor(random_features((1, 4, 15, 20))), tensor([30], "int32")
    np.testing.assert_array_equal(
        htc_ops.multilevel_roi_align([x], boxes, boxes_num, 7, [4]).numpy(),
        htc_ops.roi_align(x, boxes, boxes_num, 7, 0.25).numpy(),
    )


def test_views_are_read_in_their_own_order():
    x = random_features((1, 3, 15, 20))
    boxes = USUAL_BOXES
    view = tensor(x.transpose(0, 2, 3, 1)).transpose([0, 3, 1, 2])
    box_view = tensor(boxes.T).t()
    assert not view.is_contiguous()
    assert not box_view.is_contiguous()
    results = [
        gradient(
            lambda x, b=b: htc_ops.roi_align(x, b, tensor([len(boxes)], "int32"), 3, 0.25), [each]
        )
        for each, b in ((view.detach(), box_view), (tensor(x), tensor(boxes)))
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][2][0], results[1][2][0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_of_threads_changes_nothing(dtype):
    boxes = boxes_in_picture(300, (128, 160), 4, 150)
    features = feature_pyramid((128, 160), channels=11, pictures=2)
    counts = tensor([100, 200], "int32")
    assert_threads_change_nothing(
        lambda: gradient(
            lambda *features: htc_ops.multilevel_roi_align(
                list(features), tensor(boxes), counts, 7, STRIDES
            ),
            [tensor(f).astype(dtype) for f in features],
        )
    )


def test_many_boxes_take_several_runs_of_tables():
    # 20,000 boxes' weights are more than the kernels hold at once.
    boxes = boxes_in_picture(20000, (128, 160), 4, 150)
    features = [tensor(f).astype("bfloat16") for f in feature_pyramid((128, 160), channels=2)]
    pooled, sent, received = gradient(
        lambda *features: htc_ops.multilevel_roi_align(
            list(features), tensor(boxes), tensor([len(boxes)], "int32"), 3, STRIDES
        ),
        features,
    )
    some = slice(None, None, 400)
    exact = [f.astype("float64").numpy() for f in features]
    expected = oracle.multilevel_roi_align(exact, boxes[some], [50], (3, 3), STRIDES)
    np.testing.assert_allclose(pooled[some], expected, rtol=0, atol=TOLERANCE["bfloat16"] * 2)
    # All weights of a box inside the picture add up to one a bin.
    total = sum(float(each.sum()) for each in received)
    np.testing.assert_allclose(total, sent.sum(), rtol=0, atol=0.01 * np.abs(sent).sum() ** 0.5 + 5)


def test_boxes_get_no_gradient_and_need_none():
    x, boxes = tensor(random_features((1, 2, 15, 20))), tensor(USUAL_BOXES)
    x.stop_gradient = boxes.stop_gradient = False
    htc_ops.roi_align(x, boxes, tensor([len(USUAL_BOXES)], "int32"), 3).sum().backward()
    assert x.grad is not None
    assert boxes.grad is None


def test_only_the_maps_that_train_get_a_gradient():
    features = [tensor(f) for f in feature_pyramid(SIZE, channels=2)]
    features[1].stop_gradient = False
    boxes = tensor(np.float32([[0, 0, 80, 60]]))
    htc_ops.multilevel_roi_align(
        features, boxes, tensor([1], "int32"), 3, STRIDES, canonical_size=30
    ).sum().backward()
    assert features[0].grad is None
    np.testing.assert_allclose(float(features[1].grad.sum()), 2 * 9, rtol=1e-5)


X = paddle.ones([2, 3, 8, 8])
B = paddle.ones([4, 4])
N = paddle.to_tensor([1, 3], dtype="int32")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X.numpy(), B, N, 2), {}, TypeError, r"x: expected a Tensor \[B, C, H, W\] of float16 or"),
        ((X[0], B, N, 2), {}, ValueError, r"x: expected \[B, C, H, W\] .* got float32 \[3, 8, 8\]"),
        ((X.astype("int32"), B, N, 2), {}, TypeError, "x: .* got int32"),
        ((X, B.astype("float64"), N, 2), {}, TypeError, r"boxes: .* of float32, got float64"),
        ((X.astype("float64"), B, N, 2), {}, TypeError, r"boxes: .* of float64, got float32"),
        ((X, B[:, :3], N, 2), {}, ValueError, r"boxes: expected \[R, 4\] .* \[4, 3\]"),
        ((X, B, N[:1], 2), {}, ValueError, "boxes_num: expected counts that add up to the 4 rows"),
        ((X[:1], B, N, 2), {}, ValueError, "boxes_num: expected 1 rows, one a picture of x, got 2"),
        ((X, B, N.astype("float32"), 2), {}, TypeError, "boxes_num: .* int32 or int64"),
        ((X, B, N, 0), {}, ValueError, "output_size: expected an integer of at least 1, got 0"),
        ((X, B, N, (2, 3, 4)), {}, TypeError, r"output_size: expected an integer or \(height"),
        ((X, B, N, 40000), {}, ValueError, "output_size: expected at most 32768"),
        ((X, B, N, 2, 0), {}, ValueError, "spatial_scale: expected a finite number above 0, got 0"),
        ((X, B, N, 2, float("nan")), {}, ValueError, "spatial_scale: .* got nan"),
        ((X, B, N, 2), {"sampling_ratio": 1.5}, TypeError, "sampling_ratio: expected an integer"),
        ((X, B, N, 2), {"sampling_ratio": 5000}, ValueError, "sampling_ratio: expected at most"),
        ((X, B, N, 2), {"aligned": 1}, TypeError, "aligned: expected True or False, got 1"),
        ((X, B, N, 2), {"average": 0}, ValueError, "average: expected an integer of at least 1"),
        ((X, B, N, 2), {"average": 65}, ValueError, "average: expected at most 64, got 65"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        htc_ops.roi_align(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, B, N, 2, [4]), {}, TypeError, "features: expected a list of Tensors, got"),
        (([], B, N, 2, []), {}, ValueError, "features: expected 1 to 8 levels, got 0"),
        (([X] * 9, B, N, 2, [4] * 9), {}, ValueError, "features: expected 1 to 8 levels, got 9"),
        (([X, X], B, N, 2, [4]), {}, ValueError, "strides: expected 2 numbers, one a level, got 1"),
        (([X], B, N, 2, 4), {}, TypeError, "strides: expected a list of numbers, got int"),
        (([X], B, N, 2, [0]), {}, ValueError, "strides: expected a finite number above 0, got 0"),
        (([X, X[:1]], B, N, 2, [4, 8]), {}, ValueError, r"features\[1\]: expected B and C as of"),
        (
            ([X, X.astype("float64")], B, N, 2, [4, 8]),
            {},
            TypeError,
            r"features\[1\]: expected the dtype of features\[0\], float32, got float64",
        ),
        (([X], B, N, 2, [4]), {"canonical_size": -1}, ValueError, "canonical_size: expected a fin"),
    ],
)
def test_wrong_arguments_of_multilevel_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        htc_ops.multilevel_roi_align(*arguments, **options)


TARGET_SCRIPT = """
import sys
import numpy as np, paddle, htc_ops
from htc_ops import _library
assert _library.cpu_target() == "portable"
data = np.load(sys.argv[1])
features = [paddle.to_tensor(data[f"f{level}"]) for level in range(4)]
for feature in features:
    feature.stop_gradient = False
boxes, boxes_num = paddle.to_tensor(data["boxes"]), paddle.to_tensor(data["boxes_num"])
pooled = htc_ops.multilevel_roi_align(features, boxes, boxes_num, 7, [4, 8, 16, 32])
pooled.backward(paddle.to_tensor(data["sent"]))
np.savez(sys.argv[2], pooled=pooled.numpy(), **{f"g{i}": f.grad for i, f in enumerate(features)})
"""


def test_the_portable_kernels_agree(tmp_path):
    boxes = boxes_in_picture(60, (128, 160), 4, 150)
    features = feature_pyramid((128, 160), channels=3)
    boxes_num = np.int32([len(boxes)])
    pooled, sent, received = gradient(
        lambda *features: htc_ops.multilevel_roi_align(
            list(features), tensor(boxes), tensor(boxes_num), 7, STRIDES
        ),
        [tensor(f) for f in features],
    )
    data = {f"f{level}": feature for level, feature in enumerate(features)}
    data |= {"boxes": boxes, "boxes_num": boxes_num, "sent": sent.astype("float32")}
    np.savez(tmp_path / "in.npz", **data)
    command = [sys.executable, "-c", TARGET_SCRIPT, tmp_path / "in.npz", tmp_path / "out.npz"]
    root = str(Path(htc_ops.__file__).parents[1])
    environment = os.environ | {"HTC_OPS_TARGET": "portable", "PYTHONPATH": root}
    subprocess.run(command, env=environment, check=True)
    results = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(results["pooled"], pooled, rtol=0, atol=2e-6)
    for level in range(4):
        np.testing.assert_allclose(results[f"g{level}"], received[level], rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # 4.3 GB, twice with the gradient
def test_maps_of_more_than_two_to_the_31_elements():
    x = paddle.zeros([1, 33, 8192, 8192], "bfloat16")  # 2.2e9
    x[:, 32, 8191, 8184:] = 3
    x.stop_gradient = False
    boxes = tensor(np.float32([[8184, 8191, 8192, 8192]]))
    pooled = htc_ops.roi_align(x, boxes, tensor([1], "int32"), 1)
    assert pooled.astype("float32")[0, :, 0, 0].numpy().tolist() == [0] * 32 + [3]
    (received,) = paddle.grad(pooled, [x], paddle.ones_like(pooled))
    assert float(received[0, 32, 8191, 8184:].astype("float32").sum()) == 1
    assert float(received[0, 31, 8191, 8184:].astype("float32").sum()) == 1
    assert float(received[0, 32, :8].astype("float32").abs().sum()) == 0
