"""Which kernels a network is made of: Paddle's, or for predictions on a CPU our own."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar

from paddle import nn

from htc_ops._library import program_that_only_predicts

# Not a plain global: programs are built from copies of the modules, taken when the first is built.
_own = ContextVar("own kernels", default=False)


@contextmanager
def own_kernels(network: nn.Layer):
    """Within it, `network` is made of the operators of htc_ops, for a program that only predicts.

    On a CPU, without a gradient. Every feature map is in the plain layout throughout, so that none
    is ever converted. Grouped convolutions are not among the operators: a network that has some
    leaves these to Paddle, which runs them through oneDNN.
    """
    grouped = any(
        isinstance(layer, nn.Conv2D) and layer._groups > 1 for layer in network.sublayers()
    )
    before = _own.set(True)
    try:
        with program_that_only_predicts(through_onednn=grouped):
            yield
    finally:
        _own.reset(before)


def in_own_kernels() -> bool:
    """Whether the network that runs is to be made of the operators of htc_ops."""
    return _own.get()
