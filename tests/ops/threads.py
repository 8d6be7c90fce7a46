"""Runs an operator on several numbers of threads."""

from contextlib import contextmanager

import numpy as np

import htc_ops


@contextmanager
def threads(count):
    """The operators use `count` threads inside, and as many as before afterwards."""
    before = htc_ops.get_num_threads()
    htc_ops.set_num_threads(count)
    try:
        yield
    finally:
        htc_ops.set_num_threads(before)


def assert_threads_change_nothing(compute):
    """Assert that `compute()` gives the same bits on 1 to 5 threads.

    Args:
        compute: takes nothing and returns an array, or a list or tuple of results like that.
    """
    with threads(1):
        alone = compute()
    for count in range(2, 6):
        with threads(count):
            _assert_same(compute(), alone)


def _assert_same(actual, expected):
    if isinstance(expected, list | tuple):
        for one, should in zip(actual, expected, strict=True):
            _assert_same(one, should)
    else:
        np.testing.assert_array_equal(actual, expected)
