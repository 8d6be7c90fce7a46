"""Weights of a minute network that finds something in any picture, written as training writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

from tiny_runs import tiny_overrides

import htc
from htc.checkpoint import save_weights
from htc.config import load_config, to_yaml

CLASSES = list("abcde")


def write_small_weights(folder: Path, *overrides: str) -> Path:
    """A weight file that holds its configuration and class names."""
    config = load_config(None, tiny_overrides(folder, *overrides))
    paddle.seed(3)
    model = htc.build_model(config)
    # Fresh logits are all alike: spread them, so that there is something to detect.
    for head in model.box_heads:
        head.class_logits.weight.set_value(head.class_logits.weight * 30)
    path = folder / "best.safetensors"
    save_weights(path, model, {"config": to_yaml(config), "classes": "\n".join(CLASSES)})
    return path


def picture(height=40, width=60, seed=0) -> np.ndarray:
    """[H, W, 3] uint8 of coloured blocks."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(4, 0).repeat(4, 1)[:height, :width])
