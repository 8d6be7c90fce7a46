"""The processes of a data-parallel run; all of it does nothing in a run of one."""

from __future__ import annotations

import os
import time
from typing import Any

import paddle
import paddle.distributed as dist
from paddle.base import core

from htc.engine import siblings

MEETINGS = "htc/meetings"  # in Paddle's store: how often a process has come to one
_meetings = 0  # that this process was at


def start() -> tuple[int, int]:
    """(rank, world) of this process; joins the others that paddle.distributed.launch started."""
    world = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
    if world == 1:
        return 0, 1
    dist.init_parallel_env()
    return dist.get_rank(), dist.get_world_size()


def meet(world: int) -> None:
    """Until all processes are here, however long that takes.

    It goes before every message between processes on CPUs: Gloo ends a process that has waited for
    another for 30 seconds, which a busy machine, a large picture or the AP of many pictures may take.

    Raises:
        siblings.ProcessLost: one of those that this process has started is no more.
    """
    global _meetings
    if world == 1:
        return
    _meetings += 1
    store = core.create_or_get_global_tcp_store()
    store.add(MEETINGS, 1)
    pause = 2e-4
    while store.add(MEETINGS, 0) < _meetings * world:
        siblings.check()
        time.sleep(pause)
        pause = min(1.5 * pause, 0.01)


def any_of(flag: bool, world: int) -> bool:
    """Whether the flag is set in any process. Every process must call it at the same place."""
    if world == 1:
        return flag
    meet(world)
    total = paddle.to_tensor([int(flag)], dtype="int32")
    dist.all_reduce(total)
    return bool(total.item() > 0)


@paddle.no_grad()
def average(tensors: list, world: int) -> None:
    """Replace float tensors by their mean over the processes, in one message."""
    if world == 1 or not tensors:
        return
    flat = paddle.concat([tensor.flatten() for tensor in tensors])
    meet(world)
    dist.all_reduce(flat)
    parts = paddle.split(flat.scale_(1 / world), [tensor.size for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        paddle.assign(part.reshape(tensor.shape), output=tensor)


@paddle.no_grad()
def average_gradients(parameters: list, others: list, world: int) -> None:
    """Replace the gradients of parameters, and other tensors, by their means over the processes.

    A parameter that had no part in a process's losses counts as one with gradient 0 there.
    """
    if world == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = paddle.zeros_like(parameter)
    average([*(parameter.grad for parameter in parameters), *others], world)


def gather(value: Any, world: int) -> list:
    """The value of each process, in the order of ranks, in every process."""
    if world == 1:
        return [value]
    values: list = []
    meet(world)
    dist.all_gather_object(values, value)
    return values
