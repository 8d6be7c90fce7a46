"""Detections of large pictures stay run lengths: memory does not grow with instances x pixels."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from htc.coco_metric import coco_ap
from htc.config import load_config
from htc.inference import detect

COUNT, HEIGHT, WIDTH = 100, 1000, 1500
BITMAPS = COUNT * HEIGHT * WIDTH // 1024  # KiB that one byte a pixel and instance would take


class Found:
    """A model that has found the same discs, all over a picture, whatever it looks at."""

    def __init__(self):
        rows, columns = np.ogrid[:28, :28]
        disc = np.hypot(rows - 13.5, columns - 13.5) < 13
        random = np.random.default_rng(0)
        start = random.uniform(0, (WIDTH / 2, HEIGHT / 2), (COUNT, 2))
        size = np.array([WIDTH / 2, HEIGHT / 2])
        boxes = np.concatenate([start, start + size], 1).astype(np.float32)
        self.found = SimpleNamespace(
            boxes=paddle.to_tensor(boxes / 4),
            scores=paddle.linspace(0.9, 0.1, COUNT),
            labels=paddle.zeros([COUNT], "int64"),
            boxes_num=paddle.to_tensor([COUNT]),
            mask_probs=paddle.to_tensor(np.repeat(disc[None], COUNT, 0).astype(np.float32)),
        )

    def __call__(self, images, sizes):
        return self.found


def reset_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of memory cannot be set back here (needs Linux's /proc)")


def memory(name: str) -> int:
    """VmRSS or VmHWM (its peak) of this process, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def test_detecting_and_evaluating_hold_no_bitmaps():
    model, config = Found(), load_config(None)
    images, sizes = np.zeros((1, 3, 32, 32), np.float32), np.array([[HEIGHT / 4, WIDTH / 4]])
    arguments = images, sizes.astype(np.float32), [(HEIGHT, WIDTH)]
    detect(model, config, *arguments)  # whatever is made once
    reset_peak()
    before = memory("VmRSS")
    results = [detect(model, config, *arguments)[0] for _ in range(3)]
    entries = [e for number, found in enumerate(results) for e in found.to_coco(number, [1])]
    truth = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(3)],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [{**e, "id": i} for i, e in enumerate(entries) if i % 20 == 0],
    }
    assert coco_ap(truth, entries, "mask").summary["AR100"] > 0.5
    grown = memory("VmHWM") - before
    assert grown < BITMAPS / 10, f"{grown} KiB"
    # The same masks as bitmaps are noticed by this measure.
    reset_peak()
    before = memory("VmRSS")
    assert results[0].bitmaps().any()
    assert memory("VmHWM") - before > BITMAPS / 2
