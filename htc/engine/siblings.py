"""Further processes of a data-parallel run on one CPU machine, started by the first.

Paddle's eager CPU kernels use little more than one thread. Two processes with half of the batch
each use two cores, and compute what one process would that accumulates the two halves.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

from htc.config.run_schema import RuntimeConfig

RANK, WORLD = "PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM"
FIRST = "HTC_FIRST_PROCESS"  # set for those that `started` starts: the id of the one that did
_running: list[tuple[subprocess.Popen, Path]] = []  # those that `started` has started, their logs


class ProcessLost(Exception):
    """Another process of the run has ended before its time; says which, and where its log is."""


def wanted(runtime: RuntimeConfig) -> int:
    """Processes to start: runtime.processes on a CPU; on a GPU one, which is faster than several.

    Paddle itself cannot be asked: it must be imported after this.
    """
    if runtime.device == "cpu":
        return runtime.processes
    try:
        metadata.distribution("paddlepaddle-gpu")
    except metadata.PackageNotFoundError:
        return runtime.processes
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return runtime.processes if hidden or not Path("/dev/nvidiactl").exists() else 1


def launched() -> bool:
    """Whether this process is one of several already."""
    return int(os.environ.get(WORLD, "1")) > 1


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def started(count: int, module: str, arguments: list[str], logs: Path):
    """Make this process the first of `count`, for the time of the block.

    To be entered before Paddle is imported. The others run the same module with the same
    arguments; what they print goes to `logs`/process<rank>.log. They end with the block, and when
    this process is killed.

    Args:
        count: processes in all; with 1, or where a launcher has started this one, nothing is done.
    """
    if FIRST in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[FIRST]),), daemon=True).start()
    if count <= 1 or launched():
        yield
        return
    endpoints = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    shared = {
        WORLD: str(count),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
        "PADDLE_DISTRI_BACKEND": "gloo",
        "PADDLE_MASTER": endpoints[0],
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "HTC_OPS_NUM_THREADS": os.environ.get(
            "HTC_OPS_NUM_THREADS", str(_processors() // count or 1)
        ),
        "GLOG_minloglevel": os.environ.get(
            "GLOG_minloglevel", "2"
        ),  # not how they found each other
    }
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.update(shared)
    siblings = []
    logs.mkdir(parents=True, exist_ok=True)
    try:
        for rank in range(count - 1, -1, -1):
            own = {RANK: str(rank), "PADDLE_CURRENT_ENDPOINT": endpoints[rank]}
            parent = {FIRST: str(os.getpid())}
            if rank == 0:
                os.environ.update(own)
                continue
            with (logs / f"process{rank}.log").open("w") as log:
                sibling = subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    env={**os.environ, **own, **parent},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C is for the first process: it tells the others.
                    start_new_session=True,
                )
            siblings.append(sibling)
            _running.append((sibling, Path(log.name)))
        yield
        for sibling in siblings:
            with contextlib.suppress(subprocess.TimeoutExpired):
                sibling.wait(timeout=20)
    finally:
        _running.clear()
        for sibling in siblings:
            if sibling.poll() is None:
                sibling.send_signal(signal.SIGKILL)
                sibling.wait()


def check() -> None:
    """Raise ProcessLost if one of the processes that this one has started is no more."""
    for number, (sibling, log) in enumerate(_running):
        code = sibling.poll()
        if code is not None:
            rank = len(_running) - number
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            last = f": {lines[-1].strip()}" if lines else ""
            raise ProcessLost(f"process {rank} has ended (exit code {code}), see {log}{last}")


def _end_with(parent: int) -> None:
    """End this process when its parent has; waiting for it in Paddle would take minutes."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()
