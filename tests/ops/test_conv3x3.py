"""conv3x3 against its definition, in any size, by any number of threads, and inside programs."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from graphs import assert_same_in_graphs
from halves import half_tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import TARGETS, results_on
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import conv2d as oracle


@pytest.fixture(autouse=True)
def on_the_cpu():
    paddle.set_device("cpu")


def arrays(pictures, channels, filters, height, width, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((pictures, channels, height, width), "float32")
    weight = random.standard_normal((filters, channels, 3, 3), "float32")
    return x, weight, random.standard_normal(filters, "float32")


def convolve(x, weight, bias=None, relu=False, add=None):
    tensors = [None if array is None else paddle.to_tensor(array) for array in (x, weight, bias)]
    add = None if add is None else paddle.to_tensor(add)
    return htc_ops.conv3x3(*tensors, add=add, relu=relu).numpy()


def convolve_halves(x, weight, *others):
    """With weights in bfloat16."""
    return htc_ops.conv3x3(paddle.to_tensor(x), half_tensor(weight), *others).numpy()


def assert_near(actual, x, weight):
    """As near to the sums as bfloat16 is by way of Winograd: 0.8 % of their magnitude on average (a
    direct sum of bfloat16 numbers: 0.2 %), with a long tail: 15 % was the worst of 1.6 million."""
    expected = summed(x, weight)
    error = np.abs(actual - expected) / expected.std()
    assert error.mean() < 0.012 and error.max() < 0.2


def summed(x, weight, bias=None, relu=False, add=None):
    """The sums themselves, not Winograd's way to them."""
    return oracle.conv2d(x, weight, bias, add=add, padding=1, relu=relu)


def assert_right(actual, expected, channels):
    """To rounding. The products are of sums weighted by up to 3.4, and are weighted by as much in
    turn, so that the error has a long tail: the worst of 25 million results was 2e-5 times the
    root of the channels for 4 to 20 of them, 4.6e-5 for 256. Results are about 3 times that root
    large: a wrong weight would be seen in the first digit.
    """
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * max(channels, 4) ** 0.5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 20), st.integers(1, 20), st.integers(1, 40),
    st.integers(1, 60), st.booleans(), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_any_size(pictures, channels, filters, height, width, relu, adds, seed):
    x, weight, bias = arrays(pictures, channels, filters, height, width, seed)
    add = arrays(pictures, filters, 1, height, width, seed + 1)[0] if adds else None
    actual = convolve(x, weight, bias, relu, add)
    assert_right(actual, summed(x, weight, bias, relu, add), channels)


@pytest.mark.parametrize("shape", [(1, 256, 256, 50, 84), (30, 64, 64, 14, 14), (2, 3, 8, 1, 300)])
def test_equals_paddle_s_own(shape):
    x, weight, bias = arrays(*shape)
    weight /= (9 * shape[1]) ** 0.5
    expected = F.conv2d(*map(paddle.to_tensor, (x, weight, bias)), padding=1).numpy()
    np.testing.assert_allclose(convolve(x, weight, bias), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("shape", [(1, 256, 64, 50, 84), (9, 33, 40, 14, 14), (2, 7, 8, 40, 41)])
def test_bfloat16(shape):
    x, weight, _ = arrays(*shape)
    assert_near(convolve_halves(x, weight), x, weight)


def test_bfloat16_on_small_maps_is_the_direct_sum():
    x, weight, bias = map(paddle.to_tensor, arrays(2, 16, 8, 8, 8))
    weight = weight.astype("bfloat16")
    expected = htc_ops.conv2d(x, weight, bias, padding=1).numpy()
    np.testing.assert_array_equal(htc_ops.conv3x3(x, weight, bias).numpy(), expected)


@pytest.mark.parametrize("shape", [(0, 4, 5, 6, 7), (2, 4, 5, 0, 7), (2, 4, 0, 6, 7)])
def test_nothing_to_do(shape):
    x, weight, bias = arrays(*shape)
    assert convolve(x, weight, bias).shape == (shape[0], shape[2], *shape[3:])


def test_without_channels_the_bias_is_left():
    x, weight, bias = arrays(1, 0, 3, 4, 5)
    expected = np.broadcast_to(bias.reshape(1, 3, 1, 1), (1, 3, 4, 5))
    np.testing.assert_array_equal(convolve(x, weight, bias), expected)


def test_pictures_do_not_mix_and_views_are_read_in_their_own_order():
    x, weight, bias = arrays(6, 8, 8, 10, 11)
    whole = convolve(x, weight, bias)
    for picture in range(6):
        alone = convolve(x[picture : picture + 1], weight, bias)
        np.testing.assert_array_equal(alone[0], whole[picture])
    turned = paddle.to_tensor(np.ascontiguousarray(x.transpose(0, 1, 3, 2))).transpose([0, 1, 3, 2])
    again = htc_ops.conv3x3(turned, paddle.to_tensor(weight), paddle.to_tensor(bias)).numpy()
    np.testing.assert_array_equal(again, whole)


def test_a_nan_stays_near():
    x, weight, _ = arrays(1, 4, 4, 40, 40)
    clean = convolve(x, weight)
    x[0, 2, 17, 18] = np.nan
    dirty = convolve(x, weight)
    changed = np.isnan(dirty)
    assert changed[:, :, 16:19, 17:20].all()
    changed[:, :, 12:24, 12:24] = False
    assert not changed.any()
    np.testing.assert_array_equal(dirty[..., 24:], clean[..., 24:])


def test_the_number_of_threads_changes_nothing():
    x, weight, bias = arrays(3, 16, 20, 37, 50)
    assert_threads_change_nothing(lambda: convolve(x, weight, bias, True))


SCRIPT = """
import paddle
from test_conv3x3 import arrays, convolve, convolve_halves
paddle.set_device("cpu")
results = [
    convolve(*arrays(2, 9, 6, 23, 41), True),
    convolve_halves(*arrays(2, 9, 6, 23, 41)[:2]),
]
"""


def test_every_instruction_set_is_right(tmp_path):
    """To rounding: only some of them multiply and add in one step."""
    expected = summed(*arrays(2, 9, 6, 23, 41), True)
    for target in TARGETS:
        actual, halves = results_on(target, SCRIPT, tmp_path)
        assert_right(actual, expected, 9)
        assert_near(halves, *arrays(2, 9, 6, 23, 41)[:2])


class Convolution(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        weight, bias = arrays(1, 8, 12, 1, 1)[1:]
        assign = paddle.nn.initializer.Assign
        self.weight = self.create_parameter(weight.shape, default_initializer=assign(weight))
        self.bias = self.create_parameter(bias.shape, default_initializer=assign(bias))

    def forward(self, x):
        x = htc_ops.conv3x3(x * 2, self.weight, self.bias, relu=True)
        return x + 1, htc_ops.conv3x3(x[:, :8], self.weight, self.bias, add=x)


def test_in_graphs(tmp_path):
    specs = [paddle.static.InputSpec([None, 8, None, None], "float32", "x")]
    examples = [[arrays(*shape)[0]] for shape in ((1, 8, 1, 9, 20), (3, 8, 1, 14, 14))]
    assert_same_in_graphs(Convolution, specs, examples, tmp_path)


X, W, B = paddle.ones([2, 4, 8, 8]), paddle.ones([5, 4, 3, 3]), paddle.ones([5])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X.numpy(), W), TypeError, r"x: expected a Tensor \[B, C, H, W\]"),
        ((X[0], W), ValueError, r"x: expected \[B, C, H, W\]"),
        ((X.astype("float64"), W), TypeError, "x: .* float32, got float64"),
        ((X.astype("bfloat16"), W), TypeError, "x: .* float32, got bfloat16"),
        ((X, W.astype("float16")), TypeError, "weight: .* float32 or bfloat16, got float16"),
        ((X, W[:, :3]), ValueError, r"weight: expected \[K, 4, 3, 3\], got \[5, 3, 3, 3\]"),
        ((X, W[:, :, :1]), ValueError, r"weight: expected \[K, 4, 3, 3\], got \[5, 4, 1, 3\]"),
        ((X, W, B[:2]), ValueError, "bias: expected 5 rows, one a filter of weight, got 2"),
        ((X, W, B.astype("float64")), TypeError, "bias: .* float32, got float64"),
        ((X, W, B, B[:3]), ValueError, "scale: expected 5 rows, one a filter of weight, got 3"),
        ((X, W, B, None, X), ValueError, r"add: expected \[2, 5, 8, 8\] as the result, got \[2, 4"),
        ((X, W, B, None, X[0]), ValueError, r"add: expected \[B, C, H, W\]"),
        ((X, W, B, None, None, 1), TypeError, "relu: expected True or False, got 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        htc_ops.conv3x3(*arguments)
