"""Runs a test's script once for an instruction set, in a process of its own."""

import os
import subprocess
import sys

import numpy as np

from htc_ops import _library

TARGETS = sorted({"portable", _library.cpu_target()})


def results_on(target, script, tmp_path):
    """The arrays that `script` puts in its list `results`, with the CPU kernels of `target`."""
    file = tmp_path / f"{target}.npz"
    ending = "\nimport sys, numpy, htc_ops._library as library\n"
    ending += "numpy.savez(sys.argv[1], *results)\nprint(library.cpu_target())\n"
    paths = [os.path.dirname(os.path.abspath(__file__)), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", script + ending, str(file)],
        env=dict(
            os.environ, HTC_OPS_TARGET=target, PYTHONPATH=os.pathsep.join(filter(None, paths))
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == target
    with np.load(file) as loaded:
        return [loaded[name] for name in loaded.files]


def assert_same_on_every_target(script, tmp_path):
    """Assert that `results` of the script are the same bits on every instruction set at hand."""
    first, *others = (results_on(target, script, tmp_path) for target in TARGETS)
    assert first
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)
