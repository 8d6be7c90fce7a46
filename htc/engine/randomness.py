"""Random numbers of training that depend on the seed and the place in the run alone."""

from __future__ import annotations

import random

import numpy as np
import paddle


def seed_all(*place: int) -> None:
    """Seed Paddle, NumPy and Python by a tuple of whole numbers.

    Called at every step with (seed, step, part of the step). A resumed run so draws what the
    uninterrupted one drew without any generator's state in the checkpoint, and a process that
    accumulates n batches draws what n processes draw.
    """
    paddle_seed, numpy_seed, python_seed = np.random.SeedSequence(place).generate_state(3).tolist()
    paddle.seed(paddle_seed)
    np.random.seed(numpy_seed)
    random.seed(python_seed)
