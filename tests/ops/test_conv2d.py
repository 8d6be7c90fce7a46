"""conv2d against its definition: any kernel and stride, what follows the sum, and in programs."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from graphs import assert_same_in_graphs
from halves import half_tensor, rounded
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from targets import TARGETS, results_on
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import conv2d as oracle


@pytest.fixture(autouse=True)
def on_the_cpu():
    paddle.set_device("cpu")


def arrays(x_shape, filters, kernel, seed=0):
    """x, weight, bias and scale."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(x_shape, "float32")
    weight = random.standard_normal((filters, x_shape[1], *kernel), "float32")
    return x, weight, *(random.standard_normal(filters, "float32") for _ in range(2))


def added(x, weight, stride, padding, times, seed=0):
    """A map to add, of the result's size or half of it."""
    out = [
        (size + 2 * padding - length) // stride + 1
        for size, length in zip(x.shape[2:], weight.shape[2:], strict=True)
    ]
    shape = (len(x), len(weight), *(size // times for size in out))
    return np.random.default_rng(seed).standard_normal(shape, "float32"), out


def convolve(*arrays, halves=(), **options):
    """halves: places of the arrays that are given in bfloat16."""
    tensors = [None if array is None else paddle.to_tensor(array) for array in arrays]
    for place in halves:
        tensors[place] = half_tensor(arrays[place])
    return htc_ops.conv2d(*tensors, **options).numpy()


def assert_right(actual, expected, weight):
    """To rounding: 6e-8 of each product, of which as many are summed as a filter has weights."""
    tolerance = 2e-6 * max(np.prod(weight.shape[1:]), 1) ** 0.5
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=tolerance)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 20), st.integers(1, 11), st.integers(1, 30),
    st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3),
    st.integers(0, 3), st.sampled_from([False, True, "before_add"]),
    st.sampled_from([None, 1, 2]), st.integers(0, 99),
)  # fmt: skip
def test_any_size(b, c, k, height, width, rows, columns, stride, padding, relu, times, seed):
    assume(height + 2 * padding >= rows and width + 2 * padding >= columns)
    x, weight, bias, scale = arrays((b, c, height, width), k, (rows, columns), seed)
    add = None
    if times is not None:
        add, out = added(x, weight, stride, padding, times, seed)
        assume(out[0] % times == 0 and out[1] % times == 0)
    options = {"stride": stride, "padding": padding, "relu": relu}
    expected = oracle.conv2d(x, weight, bias, scale, add, **options)
    assert_right(convolve(x, weight, bias, scale, add, **options), expected, weight)


@pytest.mark.parametrize("halves", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize(
    ("x_shape", "filters", "kernel", "stride", "padding", "times"),
    [
        ((1, 300, 20, 36), 70, (1, 1), 1, 0, 1),  # more terms than are summed in one go
        ((1, 600, 9, 7), 5, (1, 1), 1, 0, 1),
        ((40, 33, 14, 14), 20, (1, 1), 1, 0, 1),  # groups that reach into the next picture
        ((2, 12, 100, 168), 9, (1, 1), 1, 0, 2),
        ((1, 3, 90, 131), 64, (7, 7), 2, 3, None),
        ((2, 64, 31, 44), 10, (3, 3), 2, 1, None),
    ],
)
def test_sizes_of_networks(x_shape, filters, kernel, stride, padding, times, halves):
    x, weight, bias, scale = arrays(x_shape, filters, kernel)
    add = None if times is None else added(x, weight, stride, padding, times)[0]
    options = {"stride": stride, "padding": padding, "relu": True}
    actual = convolve(x, weight, bias, scale, add, halves=halves, **options)
    if halves:  # one in bfloat16 has both multiplied in it
        x, weight = rounded(x), rounded(weight)
    assert_right(actual, oracle.conv2d(x, weight, bias, scale, add, **options), weight)


def test_bfloat16_rounds_to_nearest_and_keeps_what_is_not_finite():
    values = np.float32([1 + 2**-8, 1 + 3 * 2**-8, 3e38, np.inf, np.nan, -np.nan])
    actual = convolve(values.reshape(1, 1, 1, -1), np.ones((1, 1, 1, 1), "float32"), halves=[1])
    expected = np.float32([1, 1 + 2**-6, rounded(values[2:3])[0], np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(actual.ravel(), expected)


def test_as_paddle_s_convolution_and_batch_norm():
    paddle.seed(0)
    x = paddle.randn([2, 24, 33, 40])
    conv, norm = paddle.nn.Conv2D(24, 16, 3, 2, 1, bias_attr=False), paddle.nn.BatchNorm2D(16)
    norm._mean.set_value(paddle.randn([16]))
    norm._variance.set_value(paddle.rand([16]) + 0.5)
    norm.eval()
    expected = F.relu(norm(conv(x))).numpy()
    scale = norm.weight / paddle.sqrt(norm._variance + norm._epsilon)
    bias = norm.bias - norm._mean * scale
    actual = htc_ops.conv2d(x, conv.weight, bias, scale, stride=2, padding=1, relu=True)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=2e-5)
    assert actual.stop_gradient


def test_relu_comes_before_or_after_the_addition():
    x, weight = np.float32([[[[-3]], [[2]]]]), np.ones((1, 2, 1, 1), "float32")
    add = np.float32([[[[-5]]]])
    assert convolve(x, weight, None, None, add) == -6
    assert convolve(x, weight, None, None, add, relu=True) == 0
    assert convolve(x, weight, None, None, add, relu="before_add") == -5


@pytest.mark.parametrize("shape", [(0, 4, 6, 7), (2, 4, 0, 7), (2, 4, 6, 0)])
def test_nothing_to_do(shape):
    x, weight, bias, scale = arrays(shape, 5, (1, 1))
    assert convolve(x, weight, bias, scale).shape == (shape[0], 5, *shape[2:])


def test_without_channels_the_bias_is_left():
    x, weight, bias, scale = arrays((1, 0, 4, 5), 3, (1, 1))
    expected = np.broadcast_to(bias.reshape(1, 3, 1, 1), (1, 3, 4, 5))
    np.testing.assert_array_equal(convolve(x, weight, bias, scale), expected)


def test_a_nan_reaches_only_what_sees_it():
    x, weight, _, _ = arrays((1, 4, 20, 50), 6, (3, 3))
    clean = convolve(x, weight, padding=1)
    x[0, 2, 7, 18] = np.nan
    dirty = convolve(x, weight, padding=1)
    sees = np.zeros_like(dirty, bool)
    sees[:, :, 6:9, 17:20] = True
    np.testing.assert_array_equal(np.isnan(dirty), sees)
    np.testing.assert_array_equal(dirty[~sees], clean[~sees])


def test_views_are_read_in_their_own_order():
    x, weight, bias, scale = arrays((2, 8, 10, 11), 8, (1, 1))
    turned = paddle.to_tensor(np.ascontiguousarray(x.transpose(0, 1, 3, 2))).transpose([0, 1, 3, 2])
    tensors = map(paddle.to_tensor, (weight, bias, scale))
    np.testing.assert_array_equal(
        htc_ops.conv2d(turned, *tensors).numpy(), convolve(x, weight, bias, scale)
    )


def test_the_number_of_threads_changes_nothing():
    x, weight, bias, scale = arrays((3, 300, 21, 25), 21, (1, 1))
    add, _ = added(x, weight, 1, 0, 1)
    assert_threads_change_nothing(lambda: convolve(x, weight, bias, scale, add, relu=True))


SCRIPT = """
import paddle
from test_conv2d import arrays, convolve
paddle.set_device("cpu")
results = [
    convolve(*arrays((2, 9, 23, 41), 6, (3, 3)), stride=2, padding=1, relu=True),
    convolve(*arrays((2, 300, 9, 11), 7, (1, 1))),
    convolve(*arrays((2, 301, 9, 11), 7, (1, 1)), halves=[1]),
]
"""


def test_every_instruction_set_is_right(tmp_path):
    """To rounding: only some of them multiply and add in one step."""
    first, second = arrays((2, 9, 23, 41), 6, (3, 3)), arrays((2, 300, 9, 11), 7, (1, 1))
    for target in TARGETS:
        strided, deep, halves = results_on(target, SCRIPT, tmp_path)
        expected = oracle.conv2d(*first, stride=2, padding=1, relu=True)
        assert_right(strided, expected, first[1])
        assert_right(deep, oracle.conv2d(*second), second[1])
        x, weight, bias, scale = arrays((2, 301, 9, 11), 7, (1, 1))
        expected = oracle.conv2d(rounded(x), rounded(weight), bias, scale)
        assert_right(halves, expected, weight)


class Convolution(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        _, *values = arrays((1, 8, 1, 1), 12, (3, 3))
        assign = paddle.nn.initializer.Assign
        for name, value in zip(("weight", "bias", "scale"), values, strict=True):
            setattr(
                self, name, self.create_parameter(value.shape, default_initializer=assign(value))
            )
        numbers = arrays((1, 12, 1, 1), 5, (1, 1))[1]
        self.halves = self.create_parameter(
            numbers.shape, dtype="bfloat16", default_initializer=assign(numbers)
        )

    def forward(self, x):
        add = paddle.concat([x, x[:, :4]], axis=1) * 2
        x = htc_ops.conv2d(x * 2, self.weight, self.bias, self.scale, add, padding=1, relu=True)
        halves = htc_ops.conv2d(x, self.halves)
        return x + 1, htc_ops.conv2d(x, paddle.ones([3, 12, 1, 1]), stride=2), halves


def test_in_graphs(tmp_path):
    specs = [paddle.static.InputSpec([None, 8, None, None], "float32", "x")]
    examples = [[arrays(shape, 1, (1, 1))[0]] for shape in ((1, 8, 9, 20), (3, 8, 14, 14))]
    assert_same_in_graphs(Convolution, specs, examples, tmp_path)


X, W, B = paddle.ones([2, 4, 8, 8]), paddle.ones([5, 4, 3, 3]), paddle.ones([5])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X.numpy(), W), {}, TypeError, r"x: expected a Tensor \[B, C, H, W\]"),
        ((X[0], W), {}, ValueError, r"x: expected \[B, C, H, W\]"),
        ((X.astype("float64"), W), {}, TypeError, "x: .* float32 or bfloat16, got float64"),
        ((X, W.astype("float16")), {}, TypeError, "weight: .* float32 or bfloat16, got float16"),
        ((X, W[:, :3]), {}, ValueError, r"weight: expected \[K, 4, h, w\], got \[5, 3, 3, 3\]"),
        ((X, W, B[:2]), {}, ValueError, "bias: expected 5 rows, one a filter of weight, got 2"),
        ((X, W, B, B[:2]), {}, ValueError, "scale: expected 5 rows, one a filter of weight, got 2"),
        ((X, W), {"relu": 1}, TypeError, "relu: expected True, False or 'before_add', got 1"),
        ((X, W), {"stride": 0}, ValueError, "stride: expected an integer of at least 1, got 0"),
        ((X, W), {"padding": -1}, ValueError, "padding: expected an integer of at least 0, got -1"),
        ((X, W), {"add": X}, ValueError, r"add: expected \[2, 5, 6, 6\] .* got \[2, 4, 8, 8\]"),
        ((X[:, :, :1], W), {}, ValueError, "x: expected a height of at least 3, .* got 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        htc_ops.conv2d(*arguments, **options)
