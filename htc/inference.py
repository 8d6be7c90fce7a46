"""Batches to Detections, with the eager network or an exported one."""

from __future__ import annotations

import numpy as np
import paddle

import htc_ops
from htc.config.run_schema import Config
from htc.detections import Detections


@paddle.no_grad()
def detect(
    model,
    config: Config,
    images,
    image_sizes,
    original_sizes,
    score: float = 0.0,
    masks: bool = True,
) -> list[Detections]:
    """Run the model on one batch.

    Args:
        model: the network in eval mode, or an htc.deploy.ExportedNetwork.
        images, image_sizes: what the model takes, as arrays (see htc.data.Batch) or tensors.
        original_sizes: [B, 2] (height, width) of the pictures before resizing.
        score: masks are pasted for detections of at least this score alone, and others left out.
        masks: False pastes none.

    Returns:
        one Detections a picture, in pixels of the original pictures.
    """
    if isinstance(model, paddle.nn.Layer):
        images, image_sizes = paddle.to_tensor(images), paddle.to_tensor(image_sizes)
    found = model(images, image_sizes)
    counts = found.boxes_num.tolist()
    boxes, scores, labels = found.boxes.numpy(), found.scores.numpy(), found.labels.numpy()
    sizes = np.asarray(image_sizes, np.float64)
    results, end = [], 0
    for picture, count in enumerate(counts):
        # By falling score, so those that are wanted come first.
        wanted = int((scores[end : end + count] >= score).sum())
        rows = slice(end, end + wanted)
        end += count
        height, width = (int(side) for side in original_sizes[picture])
        scale = np.array([width, height, width, height]) / sizes[picture][[1, 0, 1, 0]]
        own_boxes = (boxes[rows].astype(np.float64) * scale).astype(np.float32)
        pasted = None
        if masks and found.mask_probs is not None:
            pasted = paste(found.mask_probs[rows], own_boxes, (height, width), config)
        results.append(Detections(own_boxes, scores[rows], labels[rows], pasted, (height, width)))
    return results


def paste(mask_probs, boxes: np.ndarray, size: tuple[int, int], config: Config) -> list[dict]:
    """Mask probabilities [N, 28, 28] over boxes [N, 4] of a picture to N compressed RLEs."""
    if len(boxes) == 0:
        return []
    boxes = paddle.to_tensor(boxes)
    return htc_ops.paste_masks_rle(mask_probs, boxes, size, config.model.test.mask_threshold)
