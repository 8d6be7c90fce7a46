"""Mixed precision: where there is none, and the state of the loss scale."""

import json
import logging
import types

import paddle
import pytest

from htc.config import TrainConfig
from htc.engine.precision import Precision

HALF = TrainConfig(amp=True, amp_dtype="float16")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The scale of a GPU run, which Paddle refuses to a CPU, though its kernels are there."""
    place = types.SimpleNamespace(is_gpu_place=lambda: True)
    tracer = types.SimpleNamespace(_expected_place=place)
    monkeypatch.setattr("paddle.amp.grad_scaler._dygraph_tracer", lambda: tracer)
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")


def test_on_a_cpu_a_line_says_that_there_is_none(monkeypatch, caplog):
    monkeypatch.setattr(paddle, "get_device", lambda: "cpu")
    monkeypatch.setattr(logging.getLogger("htc"), "propagate", True)
    precision = Precision(HALF)
    assert precision.dtype is None and precision.scaler is None and precision.state() == {}
    assert "train.amp: Paddle has no mixed precision on a CPU" in caplog.text
    assert Precision(TrainConfig()).dtype is None and len(caplog.records) == 1


@pytest.mark.parametrize(
    ("wanted", "dtype", "scaled"),
    [("auto", "float16", True), ("float16", "float16", True), ("bfloat16", "bfloat16", False)],
)
def test_float16_has_a_scale_and_bfloat16_needs_none(as_on_a_gpu, wanted, dtype, scaled):
    precision = Precision(TrainConfig(amp=True, amp_dtype=wanted))
    assert precision.dtype == dtype and (precision.scaler is not None) is scaled


def steps(precision, model, optimizer, factors):
    """One step a factor of the loss; returns the scale after each."""
    scales = []
    for factor in factors:
        with precision.autocast():
            loss = model(paddle.ones([1, 2])).sum() * factor
        precision.backward(loss)
        precision.step(optimizer)
        optimizer.clear_grad()
        scales.append(precision.state()["scale"])
    return scales


def test_the_scale_goes_on_where_it_was_saved(as_on_a_gpu):
    def fresh():
        model = paddle.nn.Linear(2, 2)
        return Precision(HALF), model, paddle.optimizer.SGD(0.0, parameters=model.parameters())

    whole, first, second = fresh(), fresh(), fresh()
    overflow = float("inf")
    factors = [1.0, overflow, 1.0, overflow, overflow, 1.0]
    expected = steps(*whole, factors)
    assert len({tuple(scale) for scale in expected}) > 1  # it has moved
    steps(*first, factors[:3])
    state = json.loads(json.dumps(first[0].state()))  # as a checkpoint keeps it
    second[0].load(state)
    assert second[0].state() == first[0].state()
    assert steps(*second, factors[3:]) == expected[3:]
    assert second[0].state() == whole[0].state()


def test_an_overflow_leaves_the_weights_alone(as_on_a_gpu):
    precision, model = Precision(HALF), paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.SGD(1.0, parameters=model.parameters())
    before = model.weight.numpy()
    steps(precision, model, optimizer, [float("inf")])
    assert (model.weight.numpy() == before).all()
    steps(precision, model, optimizer, [1.0])
    assert (model.weight.numpy() != before).any()
