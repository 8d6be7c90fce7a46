"""Requests that come together go through the network together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np


class Full(Exception):
    """As many pictures wait as may."""


class Closed(Exception):
    """The batcher takes no more pictures."""


class Batcher:
    """One thread that predicts; callers hand in pictures and wait for a Future.

    A picture that comes while the network is busy waits; all that wait then, up to batch_size, go
    together. Nobody waits for company.

    Args:
        predict: pictures to one result each.
        batch_size: pictures at a time, at most.
        capacity: pictures that may wait.
    """

    def __init__(self, predict: Callable[[list[np.ndarray]], list], batch_size: int, capacity: int):
        self._predict, self._batch_size = predict, batch_size
        self._waiting: queue.Queue = queue.Queue(capacity)
        self._closing = threading.Event()
        self.batches = 0
        self._thread = threading.Thread(target=self._work, name="predictions", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Pictures that wait."""
        return self._waiting.qsize()

    def submit(self, picture: np.ndarray) -> Future:
        """The result of a picture, in the future.

        Raises:
            Full: too many wait. Closed: after `close`.
        """
        if self._closing.is_set():
            raise Closed
        future: Future = Future()
        try:
            self._waiting.put_nowait((picture, future))
        except queue.Full:
            raise Full from None
        return future

    def close(self, timeout: float = 30.0) -> None:
        """Take no more pictures; finish those that wait, and fail what is left after the timeout."""
        self._closing.set()
        self._thread.join(timeout)
        while not self._waiting.empty():
            _, future = self._waiting.get_nowait()
            future.set_exception(Closed())

    def _work(self) -> None:
        while True:
            try:
                batch = [self._waiting.get(timeout=0.05)]
            except queue.Empty:
                if self._closing.is_set():
                    return
                continue
            while len(batch) < self._batch_size:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            self._run([item for item in batch if item[1].set_running_or_notify_cancel()])

    def _run(self, batch: list) -> None:
        if not batch:
            return
        self.batches += 1
        try:
            results = self._predict([picture for picture, _ in batch])
        except Exception as error:  # the callers', not this thread's
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
