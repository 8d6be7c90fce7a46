"""The processes of a data-parallel run; all of it does nothing in a run of one."""

from __future__ import annotations

import os
from typing import Any

import paddle
import paddle.distributed as dist


def start() -> tuple[int, int]:
    """(rank, world) of this process; joins the others that paddle.distributed.launch started."""
    world = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
    if world == 1:
        return 0, 1
    dist.init_parallel_env()
    return dist.get_rank(), dist.get_world_size()


def any_of(flag: bool, world: int) -> bool:
    """Whether the flag is set in any process. Every process must call it at the same place."""
    if world == 1:
        return flag
    total = paddle.to_tensor([int(flag)], dtype="int32")
    dist.all_reduce(total)
    return bool(total.item() > 0)


@paddle.no_grad()
def average(tensors: list, world: int) -> None:
    """Replace float tensors by their mean over the processes, in one message."""
    if world == 1 or not tensors:
        return
    flat = paddle.concat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    parts = paddle.split(flat / world, [tensor.size for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.set_value(part.reshape(tensor.shape))


def gather(value: Any, world: int) -> list:
    """The value of each process, in the order of ranks, in every process."""
    if world == 1:
        return [value]
    values: list = []
    dist.all_gather_object(values, value)
    return values


def wait(world: int) -> None:
    """Until all processes are here."""
    if world > 1:
        any_of(False, world)
