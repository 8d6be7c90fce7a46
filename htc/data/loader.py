"""Batches in order, made in advance by loading processes."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator

from htc.config.run_schema import Config
from htc.data.dataset import CocoDataset
from htc.data.errors import DatasetError
from htc.data.order import test_order, training_order
from htc.data.shared_file import SharedFile
from htc.data.transforms import Batch, BatchMaker
from htc.data.worker import Worker

SLOTS = 2  # batches a process works ahead


class Loader:
    """Batches of each epoch; `loader.epoch(e, start=k)` goes on from batch k of epoch e.

    Order and content depend on the seed alone, not on the number of processes. The processes live until
    `close` (or the end of a `with` block, or of the program).

    Args:
        make: (epoch, indices) to a Batch.
        order: epoch to the list of its batches' indices.
        workers: loading processes; 0 loads in this one.
    """

    def __init__(self, make: BatchMaker, order: Callable[[int], list[list[int]]], workers: int = 0):
        if workers < 0:
            raise ValueError(f"workers: expected 0 or more, got {workers}")
        self.make = make
        self.order = order
        self.num_workers = workers
        self._pool = _Pool()
        self._close = weakref.finalize(self, self._pool.close)
        self._running = False

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.order(0))

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on.

        Raises:
            DatasetError: a picture that cannot be used; names file and picture.
            RuntimeError: a loading process died, or another epoch is still being read.
        """
        batches = self.order(epoch)
        if not 0 <= start <= len(batches):
            raise ValueError(f"start: expected 0..{len(batches)}, got {start}")
        if self.num_workers == 0:
            return (self.make(epoch, indices) for indices in batches[start:])
        if self._running:
            raise RuntimeError("an epoch of this loader is being read: finish or close it first")
        return self._from_workers(epoch, batches[start:])

    def _from_workers(self, epoch: int, batches: list[list[int]]) -> Iterator[Batch]:
        self._running = True
        workers = self._pool.start(self.num_workers, self.make)
        # Batch k is made by worker k modulo their number, so answers come in order by themselves.
        pending: deque[Worker] = deque()
        try:
            ahead = len(workers) * SLOTS
            for number, indices in enumerate(batches[:ahead]):
                self._ask(pending, workers, number, epoch, indices)
            for number in range(len(batches)):
                batch = pending.popleft().answer()
                if number + ahead < len(batches):
                    self._ask(pending, workers, number + ahead, epoch, batches[number + ahead])
                yield batch
        except RuntimeError:
            pending.clear()
            self._pool.close()  # a process is gone: the next epoch starts new ones
            raise
        finally:
            for worker in pending:
                worker.skip()
            self._running = False

    @staticmethod
    def _ask(pending, workers, number: int, epoch: int, indices: list[int]) -> None:
        worker = workers[number % len(workers)]
        worker.ask(number // len(workers) % SLOTS, epoch, indices)
        pending.append(worker)

    def close(self) -> None:
        """End the loading processes."""
        self._pool.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _Pool:
    """The processes, apart from the Loader so that they can outlive it by a moment."""

    def __init__(self):
        self.workers: list[Worker] = []
        self.maker: SharedFile | None = None

    def start(self, count: int, make: BatchMaker) -> list[Worker]:
        if not self.workers:
            self.maker = SharedFile()
            message = self.maker.write(make)
            for number in range(count):
                self.workers.append(Worker(number, self.maker, message, SLOTS))
        return self.workers

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.workers.clear()
        if self.maker is not None:
            self.maker.close()
            self.maker = None


def semantic_source(config: Config, dataset: CocoDataset) -> tuple[str | None, str | None]:
    """What the semantic branch is trained on, and a line for the log if that is not the maps.

    Returns:
        ("maps" | "instances" | None, notice). None: train with model.semantic.enabled=false.

    Raises:
        DatasetError: maps are to be made from instances, but num_semantic_classes has no room.
    """
    if not config.model.semantic.enabled:
        return None, None
    if dataset.has_semantic:
        return "maps", None
    if not config.data.semantic_from_instances:
        return None, (
            f"no semantic maps ({dataset.semantic_notice}): the semantic branch is switched off;"
            " data.semantic_from_instances=true makes maps from the instance masks"
        )
    needed = dataset.num_classes + 1
    if not dataset.has_masks:
        raise DatasetError("data.semantic_from_instances: needs model.mask_head.enabled=true")
    if not needed <= config.num_semantic_classes:
        raise DatasetError(
            f"num_semantic_classes: maps made from instances have {needed} classes (background is"
            f" the last), the configuration has {config.num_semantic_classes}; set -o"
            f" num_semantic_classes={needed}"
        )
    return "instances", f"semantic maps are made from the instance masks ({needed} classes)"


def train_loader(
    config: Config,
    dataset: CocoDataset,
    rank: int = 0,
    world: int = 1,
    semantic: str | None = None,
) -> Loader:
    """Shuffled, augmented batches with targets; `semantic` as semantic_source gives it."""
    data, seed = config.data, config.runtime.seed
    make = BatchMaker(dataset, data, semantic, True, seed)

    def order(epoch: int) -> list[list[int]]:
        return training_order(
            dataset.sizes,
            data.batch_size,
            epoch,
            seed,
            rank,
            world,
            config.train.accumulate,
            data.group_by_aspect,
        )

    return Loader(make, order, data.workers)


def test_loader(config: Config, dataset: CocoDataset, rank: int = 0, world: int = 1) -> Loader:
    """Batches for evaluation: each picture once over all processes, in the order of the file."""
    data = config.data
    make = BatchMaker(dataset, data, None, False, 0)
    batches = test_order(len(dataset), data.test_batch_size, rank, world)
    return Loader(make, lambda epoch: batches, data.workers)


test_loader.__test__ = False  # not a test, whatever pytest makes of the name
