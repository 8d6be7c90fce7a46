"""Which pictures go into which batch: the same for the same seed, whatever loads them."""

from __future__ import annotations

import numpy as np

_ORDER = 0x0D  # keeps the shuffle's random numbers apart from those of the augmentation


def training_order(
    sizes: np.ndarray,
    batch_size: int,
    epoch: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    accumulate: int = 1,
    by_aspect: bool = True,
) -> list[list[int]]:
    """Batches of indices of one epoch, of one process.

    The pictures of an epoch are shuffled and cut into steps of `batch_size * world * accumulate`; a
    step's batches are dealt out to the processes in turn, so that one process that accumulates n
    batches trains on the pictures of n processes. The last step is filled up from the front of the
    shuffle. The number of batches is the same in every epoch and process.

    Args:
        sizes: [N, 2], (height, width) of the pictures.
        by_aspect: a step has wide pictures or tall ones (width <= height) alone, save for the last
            ones, which hold what is left of both: less padding.
    """
    _check_rank(rank, world)
    shuffled = np.random.default_rng((seed, epoch, _ORDER)).permutation(len(sizes))
    step_size = batch_size * world * accumulate
    wide = sizes[:, 1] > sizes[:, 0]
    waiting: dict[bool, list[int]] = {False: [], True: []}
    steps = []
    for index in shuffled.tolist():
        group = waiting[bool(wide[index]) and by_aspect]
        group.append(index)
        if len(group) == step_size:
            steps.append(group.copy())
            group.clear()
    rest = waiting[False] + waiting[True]
    while rest:
        step, rest = rest[:step_size], rest[step_size:]
        fill = np.resize(shuffled, step_size - len(step)).tolist()
        steps.append(step + fill)
    batches = []
    for step in steps:
        for turn in range(accumulate):
            start = (turn * world + rank) * batch_size
            batches.append(step[start : start + batch_size])
    return batches


def test_order(count: int, batch_size: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Batches of indices of one process; every picture is in one batch of one process."""
    _check_rank(rank, world)
    own = list(range(rank, count, world))
    return [own[start : start + batch_size] for start in range(0, len(own), batch_size)]


test_order.__test__ = False  # not a test, whatever pytest makes of the name


def _check_rank(rank: int, world: int) -> None:
    if world < 1 or not 0 <= rank < world:
        raise ValueError(f"rank: expected 0..world - 1 with world >= 1, got {rank} of {world}")
