"""What the processor computes by itself."""

from __future__ import annotations

import os
from pathlib import Path

# Instructions that multiply bfloat16 numbers; oneDNN has fast kernels for processors with these.
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def processor_flags(path: str | Path = "/proc/cpuinfo") -> frozenset[str]:
    """The instruction sets of the first processor, as Linux names them; empty where it is silent."""
    try:
        text = Path(path).read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def computes_bfloat16(flags: frozenset[str] | None = None) -> bool:
    """Whether the processor multiplies bfloat16 numbers itself."""
    return bool(BFLOAT16_FLAGS & (processor_flags() if flags is None else flags))


def default_threads() -> int:
    """OMP_NUM_THREADS where somebody chose it; else the processors of this process, at most 8."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    # Paddle sets it to 1 on import where nothing is set: a 1 may be nobody's choice. Whoever wants
    # one thread says so by `threads`.
    if chosen.isdigit() and int(chosen) > 1:
        return int(chosen)
    return min(8, len(os.sched_getaffinity(0)))
