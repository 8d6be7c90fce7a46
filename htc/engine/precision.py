"""Mixed precision: what runs in half precision, and the scale of the loss."""

from __future__ import annotations

import contextlib
import logging

import paddle

from htc.config.run_schema import TrainConfig

logger = logging.getLogger("htc")


class Precision:
    """float32, or Paddle's automatic mixed precision (level O1) when train.amp is set.

    bfloat16 has float32's range and needs no scaling of the loss; float16 gets a dynamic scale.
    On a CPU Paddle leaves everything in float32 whatever it is asked for; a line says so.
    """

    def __init__(self, train: TrainConfig):
        self.dtype = None
        if train.amp and paddle.get_device() == "cpu":
            logger.warning("train.amp: Paddle has no mixed precision on a CPU; training in float32")
        elif train.amp:
            self.dtype = "float16" if train.amp_dtype == "auto" else train.amp_dtype
        self.scaler = None
        if self.dtype == "float16":
            self.scaler = paddle.amp.GradScaler()
            self._flatten_scale()

    def autocast(self):
        """The context of the forward pass."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return paddle.amp.auto_cast(dtype=self.dtype, level="O1")

    def backward(self, loss) -> None:
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def step(self, optimizer) -> None:
        """One optimiser step; with a scale, skipped where a gradient overflowed."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def state(self) -> dict:
        """Of the scale, as plain numbers."""
        if self.scaler is None:
            return {}
        return {name: _plain(value) for name, value in self.scaler.state_dict().items()}

    def load(self, state: dict) -> None:
        if self.scaler is not None and state:
            values = {
                name: paddle.to_tensor(value[0], dtype="float32").reshape([1]).numpy()
                if isinstance(value, list)
                else value
                for name, value in state.items()
            }
            self.scaler.load_state_dict(values)
            self._flatten_scale()

    def _flatten_scale(self) -> None:
        """Make the scale 0-D: at an overflow Paddle turns it into a float, which NumPy from 2.4 on
        refuses to do with Paddle's own shape [1]."""
        self.scaler._scale = self.scaler._scale.reshape([])


def _plain(value):
    return value.reshape([-1]).tolist() if hasattr(value, "reshape") else value
