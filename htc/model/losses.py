"""The losses, in float32 (or float64) whatever the network's precision."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F

from htc.model.boxes import full_precision, row_count


def smooth_l1(predictions, targets, beta: float):
    """Sum of SmoothL1 (arXiv 1504.08083): quadratic below beta, linear above; beta 0 is L1."""
    difference = paddle.abs(full_precision(predictions) - targets)
    if beta == 0:
        return difference.sum()
    quadratic = 0.5 / beta * difference * difference
    return paddle.where(difference < beta, quadratic, difference - 0.5 * beta).sum()


def sigmoid_cross_entropy(logits, targets):
    """Sum of the binary cross entropy; targets 0 or 1, of the shape of logits."""
    logits = full_precision(logits)
    return F.binary_cross_entropy_with_logits(logits, targets.astype(logits.dtype), reduction="sum")


def cross_entropy(logits, labels, ignore_index: int = -100):
    """Sum of the softmax cross entropy along the last axis; label ignore_index counts as 0."""
    return F.cross_entropy(
        full_precision(logits), labels, ignore_index=ignore_index, reduction="sum"
    )


def select_class(per_class, labels):
    """per_class [R, C, ...], labels [R] int64 -> the slice of each row's own class, [R, ...]."""
    rows = paddle.arange(row_count(labels), dtype="int64")
    return paddle.gather_nd(per_class, paddle.stack([rows, labels], axis=1))


def zero_loss(*tensors):
    """0 that depends on the tensors: what a head without samples contributes.

    It keeps the head's parameters in the graph. Each gets a gradient of zeros, and data-parallel
    training, which waits for the gradient of every parameter, does not hang.
    """
    return sum(full_precision(tensor).sum() for tensor in tensors) * 0.0


def total_loss(losses: dict, picture_ids: list):
    """The sum of the losses.

    Raises:
        FloatingPointError: a loss is not finite; names the terms and the pictures.
    """
    values = paddle.stack([value.detach().reshape([]) for value in losses.values()])
    finite = paddle.isfinite(values)
    if not bool(finite.all()):
        broken = ", ".join(
            f"{name} = {float(value)}"
            for name, value in losses.items()
            if not bool(paddle.isfinite(value).all())
        )
        raise FloatingPointError(
            f"loss is not finite: {broken}; pictures of the batch: {picture_ids}. Look at their "
            "annotations, lower the learning rate, or train in float32."
        )
    return sum(losses.values())
