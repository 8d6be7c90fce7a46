"""A network small enough to train a step in a fraction of a second, and batches for it."""

from __future__ import annotations

import numpy as np
import paddle

from htc.config import config_from_dict
from htc.model import HTC, GroundTruth

TINY = {
    "num_classes": 3,
    "num_semantic_classes": 5,
    "model": {
        "backbone": {"depth": 18, "width": 8},
        "fpn": {"channels": 8},
        "rpn": {
            "channels": 8,
            "sample_size": 16,
            "train_pre_nms": 40,
            "train_post_nms": 40,
            "test_pre_nms": 40,
            "test_post_nms": 40,
        },
        "semantic": {"channels": 8},
        "cascade": {"sample_size": 16},
        "box_head": {"channels": 16},
        "mask_head": {"channels": 8},
        "test": {"max_detections": 10},
    },
}


def merge(base: dict, changes: dict) -> dict:
    """base with changes, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = merge(base.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def tiny_model(num_classes: int = 3, num_semantic_classes: int = 5, **model_changes) -> HTC:
    """The network, the same one every time; model_changes are sections of config.model."""
    paddle.seed(0)
    changes = {"num_classes": num_classes, "num_semantic_classes": num_semantic_classes}
    if not model_changes.get("mask_head", {}).get("enabled", True):
        changes["eval"] = {"metrics": ["box"], "best": "box"}
    return HTC(config_from_dict(merge(TINY, {**changes, "model": model_changes})))


def picture(height, width, num_gt, num_classes=3, num_semantic_classes=5, seed=0, **changes):
    """Random annotations of a picture of that size; changes replace what they name."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 0.7, (num_gt, 2)) * (width, height)
    sides = random.uniform(0.1, 0.3, (num_gt, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + sides], axis=1).astype("float32")
    bitmaps = np.zeros((num_gt, height, width), "uint8")
    for bitmap, (x1, y1, x2, y2) in zip(bitmaps, boxes.astype(int), strict=True):
        bitmap[y1 : y2 + 1, x1 : x2 + 1] = 1
    semantic_map = random.integers(0, min(num_semantic_classes, 255), (height, width))
    truth = {
        "boxes": paddle.to_tensor(boxes.reshape(-1, 4)),
        "labels": paddle.to_tensor(random.integers(0, num_classes, num_gt).astype("int64")),
        "masks": paddle.to_tensor(bitmaps),
        "semantic": paddle.to_tensor(semantic_map.astype("uint8")),
        "picture_id": f"picture {seed}",
    }
    return GroundTruth(**{**truth, **changes})


def batch_of(sizes, seed=0):
    """(images [B, 3, H, W] padded to a multiple of 32, image_sizes [B, 2]) of random pixels."""
    paddle.seed(seed)
    height = -(-max(height for height, _ in sizes) // 32) * 32
    width = -(-max(width for _, width in sizes) // 32) * 32
    images = paddle.randn([len(sizes), 3, 32, 32]).tile([1, 1, height // 32, width // 32])
    return images, paddle.to_tensor(sizes, dtype="float32")


def train_step(model, sizes, ground_truth) -> dict:
    """Losses of one step; checks that every parameter got a finite gradient."""
    model.train()
    model.clear_gradients()
    losses = model(*batch_of(sizes), ground_truth)
    losses["loss"].backward()
    for name, parameter in model.named_parameters():
        if parameter.stop_gradient:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, f"{name} has no gradient"
            assert bool(paddle.isfinite(parameter.grad).all()), f"{name} has no finite gradient"
    for name, value in losses.items():
        assert value.shape == [] and value.dtype == paddle.float32, name
        assert np.isfinite(float(value)), name
    parts = sum(float(value) for name, value in losses.items() if name != "loss")
    np.testing.assert_allclose(float(losses["loss"]), parts, rtol=1e-5)
    return {name: float(value) for name, value in losses.items()}


def predict(model, sizes):
    """Detections of random pictures, checked to be in order and inside the pictures."""
    model.eval()
    with paddle.no_grad():
        detections = model(*batch_of(sizes))
    counts = detections.boxes_num.tolist()
    boxes, scores = detections.boxes.numpy(), detections.scores.numpy()
    assert len(counts) == len(sizes) and sum(counts) == len(boxes) == len(scores)
    assert np.isfinite(boxes).all() and np.isfinite(scores).all()
    end = 0
    for count, (height, width) in zip(counts, sizes, strict=True):
        rows = slice(end, end + count)
        assert (np.diff(scores[rows]) <= 0).all()
        assert (boxes[rows] >= 0).all()
        assert (boxes[rows] <= [width, height, width, height]).all()
        end += count
    if detections.mask_probs is not None:
        assert detections.mask_probs.shape == [len(boxes), 28, 28]
    return detections
