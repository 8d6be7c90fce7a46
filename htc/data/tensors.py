"""Batches of arrays to tensors of the current device; the one part of htc.data that needs Paddle."""

from __future__ import annotations

import paddle

from htc.data.transforms import Batch
from htc.model.targets import GroundTruth


def to_tensors(batch: Batch) -> tuple[paddle.Tensor, paddle.Tensor, list[GroundTruth] | None]:
    """The arguments of the model: (images, image_sizes, ground_truth or None at test)."""
    truths = None
    if batch.targets is not None:
        truths = [
            GroundTruth(
                boxes=paddle.to_tensor(target.boxes),
                labels=paddle.to_tensor(target.labels),
                masks=None if target.masks is None else paddle.to_tensor(target.masks.bitmaps()),
                crowd_boxes=paddle.to_tensor(target.crowd_boxes),
                semantic=None if target.semantic is None else paddle.to_tensor(target.semantic),
                picture_id=picture_id,
            )
            for picture_id, target in zip(batch.picture_ids, batch.targets, strict=True)
        ]
    return paddle.to_tensor(batch.images), paddle.to_tensor(batch.image_sizes), truths
