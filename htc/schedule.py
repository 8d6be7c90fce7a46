"""The learning rate of each step."""

from __future__ import annotations

import math

from htc.config.run_schema import TrainConfig


def base_rate(train: TrainConfig, pictures_per_step: int) -> float:
    """The full rate, scaled to the number of pictures that a step of all processes averages."""
    if train.base_batch_size == 0:
        return train.learning_rate
    return train.learning_rate * pictures_per_step / train.base_batch_size


def learning_rate(
    train: TrainConfig, step: int, steps_per_epoch: int, pictures_per_step: int
) -> float:
    """The rate of optimiser step `step` (from 0): linear warm-up times steps or a half cosine.

    A function of the step alone, so that a resumed run needs no state. As mmdetection's
    LinearLR and MultiStepLR (schedule_1x): warm-up goes by steps, the falls by whole epochs.
    """
    rate = base_rate(train, pictures_per_step)
    if train.schedule == "cosine":
        done = step / max(1, train.epochs * steps_per_epoch)
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    else:
        epoch = step // steps_per_epoch
        rate *= train.gamma ** sum(epoch >= fall for fall in train.steps)
    if step < train.warmup_iterations:
        start = train.warmup_factor
        rate *= start + (1 - start) * step / train.warmup_iterations
    return rate
