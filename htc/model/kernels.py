"""Which kernels a network is made of: Paddle's, or for predictions on a CPU our own."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar

from htc_ops._library import program_that_only_predicts

# Not a plain global: programs are built from copies of the modules, taken when the first is built.
_own = ContextVar("own kernels", default=False)


@contextmanager
def own_kernels():
    """Within it, networks are made of the operators of htc_ops, for a program that only predicts.

    On a CPU, in float32, without a gradient. Every feature map is in the plain layout throughout,
    so that none is ever converted.
    """
    before = _own.set(True)
    try:
        with program_that_only_predicts():
            yield
    finally:
        _own.reset(before)


def in_own_kernels() -> bool:
    """Whether the network that runs is to be made of the operators of htc_ops."""
    return _own.get()
