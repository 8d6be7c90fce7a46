"""Averaged weights: an exponential moving average beside the trained ones."""

from __future__ import annotations

import contextlib

import paddle


class AveragedWeights:
    """Averages of a model's parameters and statistics, in tensors of their own.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the random start is soon
    forgotten.

    Attributes:
        values: name in the model's state_dict to the averaged tensor.
        updates: how often `update` was called.
    """

    def __init__(self, model, decay: float):
        if not 0 < decay < 1:
            raise ValueError(f"decay: expected a number between 0 and 1, got {decay}")
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @paddle.no_grad()
    def update(self, model) -> None:
        """Move the averages towards the model's present values; call it after each step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in model.state_dict().items():
            average = self.values[name]
            average.set_value(average * decay + value.detach() * (1 - decay))

    @contextlib.contextmanager
    def applied(self, model):
        """The model with the averages in place of its own values, for the time of the block."""
        state = model.state_dict()
        # clone: a mere reference would be overwritten below, and the trained values lost.
        trained = {name: value.detach().clone() for name, value in state.items()}
        _assign(state, self.values)
        try:
            yield model
        finally:
            _assign(state, trained)


@paddle.no_grad()
def _assign(state: dict, values: dict) -> None:
    for name, tensor in state.items():
        tensor.set_value(values[name])
