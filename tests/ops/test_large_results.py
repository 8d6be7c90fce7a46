"""Large results come from memory that is kept, and what is still in use is left alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

import htc_ops

MASKS = np.random.default_rng(0).uniform(0, 1, (40, 14, 14)).astype("float32")
BOXES = np.tile(np.float32([20.5, 10.25, 380, 290]), (40, 1))


def paste(masks=MASKS):
    """uint8 [40, 300, 400]: 4.8 MB."""
    return htc_ops.paste_masks(paddle.to_tensor(masks), paddle.to_tensor(BOXES), (300, 400))


needs_paddle_3 = pytest.mark.skipif(
    paddle.__version__.startswith("2."), reason="Paddle 2.6 takes no memory but its own"
)


@pytest.fixture(autouse=True)
def on_the_cpu():
    paddle.set_device("cpu")


@needs_paddle_3
def test_memory_of_a_freed_result_is_taken_again():
    first = paste()
    address = first.data_ptr()
    assert address % (2 << 20) == 0
    del first
    assert paste().data_ptr() == address


@pytest.mark.parametrize(
    "keep",
    [
        lambda result: result,
        lambda result: result.detach(),
        lambda result: result.reshape([40, -1]),
        lambda result: result[1:],
        lambda result: result.numpy(),
        lambda result: np.asarray(result.numpy()[3:]),
    ],
    ids=["itself", "detached", "reshaped", "rows", "numpy", "numpy rows"],
)
def test_what_is_in_use_is_not_overwritten(keep):
    kept = keep(paste())
    before = np.array(kept)
    for _ in range(4):
        paste(1 - MASKS)
    np.testing.assert_array_equal(np.array(kept), before)
    assert before.any()


def test_a_gradient_finds_its_features_after_other_calls():
    features = paddle.rand([1, 64, 160, 160])
    features.stop_gradient = False
    boxes = paddle.to_tensor(np.float32([[0, 0, 159, 159]] * 40))
    number = paddle.to_tensor([40], "int32")

    def forward():
        return htc_ops.roi_align(features, boxes, number, 28, 1.0)

    (expected,) = paddle.grad(forward().square().sum(), features)
    result = forward()  # 8 MB, kept by the square alone
    total = result.square().sum()
    del result
    for _ in range(4):
        forward()
    (actual,) = paddle.grad(total, features)
    np.testing.assert_array_equal(actual.numpy(), expected.numpy())


def run(code: str, **environment) -> str:
    folders = (Path(htc_ops.__file__).parents[1], Path(__file__).parent)
    path = os.pathsep.join(str(folder) for folder in folders)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


RELEASE = """
import htc_ops
from test_large_results import paddle, paste, resident_mb
paddle.set_device("cpu")
results = [paste() for _ in range(10)]
del results
kept = resident_mb()
htc_ops.release_memory()
print(kept - resident_mb())
"""


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@needs_paddle_3
def test_kept_memory_is_given_back_when_asked():
    assert 35 < float(run(RELEASE)) < 100  # 10 results of 4.8 MB, in pages of 2 MiB


FAULTS = """
import resource
from test_large_results import paddle, paste
paddle.set_device("cpu")
paste(), paste()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    paste()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@needs_paddle_3
def test_pages_are_cleared_once_and_not_on_every_call():
    """Nothing kept: each call writes fresh pages, a fault for each."""
    kept, fresh = int(run(FAULTS)), int(run(FAULTS, HTC_OPS_KEEP_MB="0"))
    assert kept < 20 <= fresh
