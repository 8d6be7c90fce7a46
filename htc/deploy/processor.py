"""What the processor computes by itself."""

from __future__ import annotations

import os

from htc_ops import _library

BFLOAT16_TARGETS = ("avx512_bf16", "amx_bf16")


def computes_bfloat16() -> bool:
    """Whether the kernels of htc_ops run here that have the processor multiply bfloat16 numbers."""
    return _library.cpu_target() in BFLOAT16_TARGETS


def default_threads() -> int:
    """OMP_NUM_THREADS where somebody chose it; else the processors of this process, at most 8."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    # Paddle sets it to 1 on import where nothing is set: a 1 may be nobody's choice. Whoever wants
    # one thread says so by `threads`.
    if chosen.isdigit() and int(chosen) > 1:
        return int(chosen)
    return min(8, len(os.sched_getaffinity(0)))
