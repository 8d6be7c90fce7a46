"""A run of a few seconds: a minute network on a few generated pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TINY = [
    "data.demo.train_pictures=6",
    "data.demo.val_pictures=3",
    "data.demo.size=64",
    "data.train_short_sides=[48]",
    "data.train_long_side=64",
    "data.test_short_side=48",
    "data.test_long_side=64",
    "data.batch_size=2",
    "data.workers=0",
    "model.backbone.width=4",
    "model.fpn.channels=8",
    "model.semantic.channels=8",
    "model.semantic.num_convs=1",
    "model.rpn.channels=8",
    "model.rpn.sample_size=32",
    "model.rpn.train_pre_nms=50",
    "model.rpn.train_post_nms=30",
    "model.rpn.test_pre_nms=30",
    "model.rpn.test_post_nms=10",
    "model.cascade.sample_size=8",
    "model.box_head.channels=16",
    "model.mask_head.channels=8",
    "model.mask_head.num_convs=1",
    "model.test.max_detections=5",
    "train.epochs=2",
    "train.steps=[1]",
    "train.warmup_iterations=3",
    "runtime.processes=1",
    "runtime.log_iter=1",
    "runtime.threads=1",
    "runtime.device=cpu",
    "eval.overlays=2",
]


def tiny_overrides(folder: Path, *more: str, data: Path | None = None) -> list[str]:
    """Overrides of the demo configuration; the run goes to folder/htc_demo."""
    return [*TINY, f"data.root={data or folder / 'data'}", f"runtime.output={folder}", *more]


def command(module: str, *arguments, environment: dict | None = None, **options):
    """Run `python -m module arguments` from the checkout's root and wait; output as text."""
    options = {"timeout": 300, "capture_output": True, "text": True, **options}
    env = {**os.environ, **(environment or {})}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    arguments = [str(argument) for argument in arguments]
    return subprocess.run([sys.executable, "-m", module, *arguments], env=env, **options)
