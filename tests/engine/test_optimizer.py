"""SGD, averaged weights, accumulation: by hand."""

import numpy as np
import paddle
import pytest

from htc.config import TrainConfig
from htc.ema import AveragedWeights
from htc.engine.optimizer import build_optimizer, optimizer_state, set_optimizer_state


class Two(paddle.nn.Layer):
    """One trained and one frozen parameter."""

    def __init__(self):
        super().__init__()
        one = paddle.nn.initializer.Constant(1.0)
        self.trained = self.create_parameter([2], default_initializer=one)
        self.frozen = self.create_parameter([2], default_initializer=one)
        self.frozen.stop_gradient = True

    def forward(self):
        return (self.trained * self.frozen).sum()


def step(model, optimizer, rate=0.1):
    optimizer.set_lr(rate)
    model().backward()
    optimizer.step()
    optimizer.clear_grad()


def test_two_steps_of_sgd_by_hand():
    model = Two()
    optimizer = build_optimizer(TrainConfig(momentum=0.9, weight_decay=0.5), model)
    step(model, optimizer)  # gradient 1 + 0.5 * 1, velocity 1.5
    np.testing.assert_allclose(model.trained.numpy(), 1 - 0.15, rtol=1e-6)
    step(model, optimizer)  # gradient 1 + 0.5 * 0.85, velocity 0.9 * 1.5 + 1.425
    np.testing.assert_allclose(model.trained.numpy(), 0.85 - 0.2775, rtol=1e-6)
    np.testing.assert_array_equal(model.frozen.numpy(), 1)


def test_clipping_is_by_the_norm_of_the_whole_gradient():
    model = Two()
    optimizer = build_optimizer(TrainConfig(momentum=0, weight_decay=0, clip_norm=0.5), model)
    step(model, optimizer, rate=1.0)
    np.testing.assert_allclose(model.trained.numpy(), 1 - 0.5 / np.sqrt(2), rtol=1e-5)


def test_two_steps_of_adamw_by_hand():
    model = Two()
    settings = TrainConfig(optimizer="adamw", weight_decay=0.5)
    optimizer = build_optimizer(settings, model)
    for expected in (1 * (1 - 0.05) - 0.1, 0.85 * (1 - 0.05) - 0.1):
        step(model, optimizer)  # decay 0.1 * 0.5; a gradient that stays 1 moves by the rate
        np.testing.assert_allclose(model.trained.numpy(), expected, rtol=1e-5)
    np.testing.assert_array_equal(model.frozen.numpy(), 1)


STATES = {
    "sgd": ["velocity_0"],
    "adamw": ["moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0"],
}


@pytest.mark.parametrize("name", STATES)
def test_the_state_returns_under_the_names_of_the_model(name):
    settings = TrainConfig(optimizer=name)
    model = Two()
    optimizer = build_optimizer(settings, model)
    step(model, optimizer)
    saved = optimizer_state(optimizer, model)
    assert list(saved) == [f"trained.{state}" for state in STATES[name]]
    other = Two()
    other.set_state_dict(model.state_dict())
    again = build_optimizer(settings, other)
    set_optimizer_state(again, other, saved)
    step(model, optimizer)
    step(other, again)
    np.testing.assert_array_equal(other.trained.numpy(), model.trained.numpy())


def test_the_state_of_another_model_or_optimiser_is_refused():
    model = Two()
    optimizer = build_optimizer(TrainConfig(), model)
    with pytest.raises(ValueError, match="expected 1 tensors, got 2; they differ in a"):
        set_optimizer_state(optimizer, model, {"a": 0, "trained.velocity_0": 0})
    with pytest.raises(ValueError, match=r"expected 1 tensors, got 2; .*trained\.moment1_0"):
        set_optimizer_state(optimizer, model, {"trained.moment1_0": 0, "trained.moment2_0": 0})


def test_averaged_weights_are_apart_from_the_trained_ones():
    model = Two()
    average = AveragedWeights(model, 0.5)
    model.trained.set_value(np.full(2, 3.0, "float32"))
    np.testing.assert_array_equal(average.values["trained"].numpy(), 1.0)
    average.update(model)  # decay min(0.5, 2 / 11)
    expected = 1 * 2 / 11 + 3 * 9 / 11
    np.testing.assert_allclose(average.values["trained"].numpy(), expected, rtol=1e-6)
    with average.applied(model):
        np.testing.assert_allclose(model.trained.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(model.trained.numpy(), 3.0)
    np.testing.assert_allclose(average.values["trained"].numpy(), expected, rtol=1e-6)
