"""mask_logits against its definition and Paddle's layers, and in programs."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from graphs import assert_same_in_graphs
from halves import half_tensor, rounded
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import TARGETS, results_on
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import conv2d as oracle


@pytest.fixture(autouse=True)
def on_the_cpu():
    paddle.set_device("cpu")


def arrays(rois, channels, hidden, classes, height, width, seed=0):
    random = np.random.default_rng(seed)
    shapes = [
        (rois, channels, height, width), (channels, hidden, 2, 2), (hidden,),
        (classes, hidden, 1, 1), (classes,),
    ]  # fmt: skip
    floats = [random.standard_normal(shape, "float32") for shape in shapes]
    return *floats, random.integers(0, classes, rois)


def logits(*arrays):
    return htc_ops.mask_logits(*map(paddle.to_tensor, arrays)).numpy()


def assert_right(actual, expected, channels, hidden):
    """To rounding, of sums over channels that are summed over hidden channels in turn."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * (channels * hidden) ** 0.5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 20), st.integers(1, 9), st.integers(1, 6),
    st.integers(1, 17), st.integers(1, 17), st.integers(0, 99),
)  # fmt: skip
def test_any_size(rois, channels, hidden, classes, height, width, seed):
    values = arrays(rois, channels, hidden, classes, height, width, seed)
    assert_right(logits(*values), oracle.mask_logits(*values), channels, hidden)


def test_as_paddle_s_layers():
    values = arrays(7, 64, 32, 80, 14, 14)
    features, up_weight, up_bias, weight, bias = map(paddle.to_tensor, values[:-1])
    hidden = F.relu(F.conv2d_transpose(features, up_weight, up_bias, stride=2))
    expected = F.conv2d(hidden, weight, bias).numpy()[np.arange(7), values[-1]]
    assert_right(logits(*values), expected, 64, 32)


@pytest.mark.parametrize("channels", [64, 7])
def test_bfloat16_rounds_what_is_deconvolved(channels):
    values = list(arrays(7, channels, 32, 80, 14, 14))
    tensors = [paddle.to_tensor(value) for value in values]
    tensors[1] = half_tensor(values[1])
    values[:2] = map(rounded, values[:2])
    actual = htc_ops.mask_logits(*tensors).numpy()
    assert_right(actual, oracle.mask_logits(*values), channels, 32)


@pytest.mark.parametrize("shape", [(0, 4, 5, 3, 14, 14), (2, 4, 5, 3, 0, 7)])
def test_nothing_to_do(shape):
    values = arrays(*shape)
    assert logits(*values).shape == (shape[0], 2 * shape[4], 2 * shape[5])


def test_labels_may_be_int32():
    values = arrays(3, 4, 5, 6, 7, 7)
    again = logits(*values[:-1], values[-1].astype("int32"))
    np.testing.assert_array_equal(again, logits(*values))


def test_rois_do_not_mix_and_threads_change_nothing():
    values = arrays(9, 16, 8, 5, 14, 14)
    whole = logits(*values)
    for roi in range(9):
        alone = logits(values[0][roi : roi + 1], *values[1:-1], values[-1][roi : roi + 1])
        np.testing.assert_array_equal(alone[0], whole[roi])
    assert_threads_change_nothing(lambda: logits(*values))


SCRIPT = """
import paddle
from test_mask_logits import arrays, logits
paddle.set_device("cpu")
results = [logits(*arrays(3, 20, 6, 4, 7, 5))]
"""


def test_every_instruction_set_is_right(tmp_path):
    expected = oracle.mask_logits(*arrays(3, 20, 6, 4, 7, 5))
    for target in TARGETS:
        (actual,) = results_on(target, SCRIPT, tmp_path)
        assert_right(actual, expected, 20, 6)


class Head(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        assign = paddle.nn.initializer.Assign
        self.values = paddle.nn.ParameterList(
            [
                self.create_parameter(value.shape, default_initializer=assign(value))
                for value in arrays(1, 6, 5, 4, 1, 1)[1:-1]
            ]
        )

    def forward(self, features, labels):
        result = htc_ops.mask_logits(features * 2, *self.values, labels)
        return result + 1, labels * 2


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, 6, None, None], "float32", "features"),
        paddle.static.InputSpec([None], "int64", "labels"),
    ]
    examples = []
    for rois, size in ((1, 14), (5, 7)):
        values = arrays(rois, 6, 5, 4, size, size)
        examples.append([values[0], values[-1]])
    assert_same_in_graphs(Head, specs, examples, tmp_path)


GOOD = [paddle.to_tensor(value) for value in arrays(2, 4, 5, 3, 7, 7)]


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        (0, GOOD[0].numpy(), TypeError, r"features: expected a Tensor \[B, C, H, W\]"),
        (0, GOOD[0][:, :3], ValueError, r"upsample_weight: expected \[3, D, 2, 2\]"),
        (1, GOOD[1][:, :, :1], ValueError, r"upsample_weight: expected \[4, D, 2, 2\]"),
        (2, GOOD[2][:3], ValueError, "upsample_bias: expected 5 rows"),
        (3, GOOD[3][:, :2], ValueError, r"weight: expected \[classes, 5, 1, 1\]"),
        (4, GOOD[4][:2], ValueError, "bias: expected 3 rows, one a class of weight, got 2"),
        (4, GOOD[4].astype("float64"), TypeError, "bias: .* float32, got float64"),
        (5, GOOD[5][:1], ValueError, "labels: expected 2 rows, one a RoI of features, got 1"),
        (5, GOOD[5].astype("float32"), TypeError, "labels: .* int32 or int64, got float32"),
        (5, paddle.to_tensor([0, 3]), ValueError, "labels: expected classes from 0 to 2, got 3"),
        (5, paddle.to_tensor([-1, 0]), ValueError, "labels: expected classes from 0 to 2, got -1"),
    ],
)
def test_wrong_arguments_are_named(place, value, error, message):
    arguments = [*GOOD[:place], value, *GOOD[place + 1 :]]
    with pytest.raises(error, match=message):
        htc_ops.mask_logits(*arguments)
