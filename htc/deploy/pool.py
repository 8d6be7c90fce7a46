"""Several predictors on the same weights, for calls from many threads at once."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

from htc.predictor import Predictor


class PredictorPool:
    """Lends each call a predictor of its own, and makes it wait where all are out.

    pool = PredictorPool(htc.Predictor("exported", threads=1), size=4)
    detections = pool(["a.jpg"])          # from any thread

    Throughput is best with size x threads about the number of processors.

    Args:
        predictor: the first of them; the others are its clones and share its weights.
        size: how many calls may run at once.
    """

    def __init__(self, predictor: Predictor, size: int):
        if size < 1:
            raise ValueError(f"size: expected 1 or more, got {size}")
        self.size = size
        self._free: queue.LifoQueue[Predictor] = queue.LifoQueue()
        for index in range(size):
            self._free.put(predictor.clone() if index else predictor)

    @contextmanager
    def lend(self) -> Iterator[Predictor]:
        """A predictor that nobody else has until the block ends."""
        predictor = self._free.get()
        try:
            yield predictor
        finally:
            self._free.put(predictor)

    def __call__(self, *arguments, **options):
        """As of htc.Predictor."""
        with self.lend() as predictor:
            return predictor(*arguments, **options)
