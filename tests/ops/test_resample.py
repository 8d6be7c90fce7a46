"""max_pool_half and resize_like against their definitions, and in programs."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import assert_same_on_every_target

import htc_ops
from htc_ops.reference import resample as oracle


@pytest.fixture(autouse=True)
def on_the_cpu():
    paddle.set_device("cpu")


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, "float32")


def pool(x):
    return htc_ops.max_pool_half(paddle.to_tensor(x)).numpy()


def resize(x, like, **options):
    return htc_ops.resize_like(paddle.to_tensor(x), paddle.to_tensor(like), **options).numpy()


sizes = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), sizes, st.integers(1, 70), st.integers(0, 99))
def test_pooling_any_size(b, c, height, width, seed):
    x = array(b, c, height, width, seed=seed)
    np.testing.assert_array_equal(pool(x), oracle.max_pool_half(x))


def test_pooling_as_paddle_s():
    x = array(2, 5, 37, 50)
    expected = F.max_pool2d(paddle.to_tensor(x), 3, stride=2, padding=1).numpy()
    np.testing.assert_array_equal(pool(x), expected)


def test_pooling_infinity():
    x = np.full((1, 1, 5, 33), -np.inf, "float32")
    np.testing.assert_array_equal(pool(x), x[:, :, :3, :17])
    x[0, 0, 2, 20] = np.inf
    np.testing.assert_array_equal(np.argwhere(pool(x) == np.inf), [[0, 0, 1, 10]])


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, sizes, sizes, st.booleans(), st.booleans(), st.integers(0, 99))
def test_resizing_any_size(height, width, new_height, new_width, relu, add, seed):
    x, like = array(2, 3, height, width, seed=seed), array(2, 3, new_height, new_width)
    expected = oracle.resize_like(x, like, relu, add)
    np.testing.assert_allclose(resize(x, like, relu=relu, add=add), expected, rtol=0, atol=2e-6)


def test_resizing_as_paddle_s():
    x, like = array(2, 3, 25, 42), array(2, 3, 100, 168)
    expected = F.interpolate(
        paddle.to_tensor(x), like.shape[2:], mode="bilinear", align_corners=True
    ).numpy()
    # Paddle's places are in float32: at pixel 40 they are known to 4e-6 of a pixel.
    np.testing.assert_allclose(resize(x, like), expected, rtol=0, atol=4e-5)


def test_resizing_to_its_own_size_changes_nothing():
    x = array(1, 4, 13, 21)
    np.testing.assert_array_equal(resize(x, x), x)


def test_only_the_size_of_the_other_map_counts_without_adding():
    x = array(2, 3, 5, 6)
    np.testing.assert_array_equal(
        resize(x, array(1, 8, 9, 9)), resize(x, np.full((4, 1, 9, 9), np.nan, "float32"))
    )


def test_nothing_to_do():
    assert pool(array(0, 3, 5, 5)).shape == (0, 3, 3, 3)
    assert pool(array(2, 3, 0, 5)).shape == (2, 3, 0, 3)
    assert resize(array(2, 3, 4, 4), array(2, 3, 0, 5)).shape == (2, 3, 0, 5)


SCRIPT = """
import paddle
from test_resample import array, pool, resize
paddle.set_device("cpu")
results = [pool(array(2, 3, 19, 45)), resize(array(2, 3, 7, 9), array(2, 3, 20, 31), add=True)]
"""


def test_the_same_bits_on_every_instruction_set(tmp_path):
    assert_same_on_every_target(SCRIPT, tmp_path)


class Both(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.factor = self.create_parameter(
            [1], default_initializer=paddle.nn.initializer.Constant(2.0)
        )

    def forward(self, x):
        x = x * self.factor
        small = htc_ops.max_pool_half(x)
        return small, htc_ops.resize_like(small, x, relu=True, add=True) + 1


def test_in_graphs(tmp_path):
    specs = [paddle.static.InputSpec([None, 4, None, None], "float32", "x")]
    examples = [[array(1, 4, 9, 20)], [array(3, 4, 14, 15)]]
    assert_same_in_graphs(Both, specs, examples, tmp_path)


X = paddle.ones([2, 4, 8, 8])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: htc_ops.max_pool_half(X[0]), ValueError, r"x: expected \[B, C, H, W\]"),
        (lambda: htc_ops.max_pool_half(X.astype("int32")), TypeError, "x: .* float32, got int32"),
        (lambda: htc_ops.resize_like(X, X.numpy()), TypeError, "like: expected a Tensor"),
        (lambda: htc_ops.resize_like(X, X, relu=1), TypeError, "relu: expected True or False"),
        (lambda: htc_ops.resize_like(X[:, :, :0], X), ValueError, "x: expected pixels"),
        (
            lambda: htc_ops.resize_like(X, X[:1], add=True),
            ValueError,
            r"like: expected \[2, 4\] pictures and channels",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
