"""Checks and times the CUDA kernels on a GPU, with PyTorch and torchvision and without Paddle.

    python benchmarks/gpu/run.py                     # build, check, time; prints a table
    python benchmarks/gpu/run.py --json FILE         # and writes the figures
    python benchmarks/gpu/run.py --check [--small]   # the checks alone
    python benchmarks/gpu/run.py --sanitize          # the small checks under compute-sanitizer
    python benchmarks/gpu/run.py --build-only        # build, load, compare structs: needs no GPU
    python benchmarks/gpu/run.py --on-host           # the small checks, kernels on the processor

Needs nvcc (or, with --on-host, a C++ compiler), NumPy and, but for --build-only, PyTorch and
torchvision. Without a GPU it says so and does nothing. The exit code is 1 when a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from build import ROOT, BuildError, build, build_on_host  # noqa: E402
from library import CALLS, STRUCTS, Library  # noqa: E402

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def main() -> int:
    arguments = _parse()
    on_host = arguments.on_host
    has_gpu = not (on_host or arguments.build_only) and _has_gpu()
    if not (on_host or arguments.build_only or has_gpu):
        print("There is no GPU that PyTorch can use: nothing was checked or timed.")
        return 0
    folder = arguments.build_folder / ("host" if on_host else "gpu")
    try:
        started = time.time()
        if arguments.library:
            path = arguments.library
        else:
            path = build_on_host(folder) if on_host else build(folder, _architecture(arguments))
            print(f"built {path} in {time.time() - started:.0f} s", flush=True)
        library = Library(path)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    library.check()
    print(f"{len(CALLS)} functions and {len(STRUCTS)} structs are as expected", flush=True)
    if arguments.build_only:
        return 0
    if arguments.sanitize:
        return _sanitize(path)

    from checks import Checks
    from operators import Operators

    operators = Operators(library, "cpu" if on_host else "cuda")
    full = has_gpu and not arguments.small
    faults = _run_checks(Checks(operators, full), arguments.only)
    results = []
    if has_gpu and not arguments.check:
        results = _time_all(operators, arguments)
    if arguments.json:
        report = {"device": _device(has_gpu), "faults": faults, "measurements": results}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if faults else 0


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="no timings")
    parser.add_argument("--small", action="store_true", help="checks at small sizes alone")
    parser.add_argument("--sanitize", action="store_true", help="--check --small, four times")
    parser.add_argument("--build-only", action="store_true", help="everything but a launch")
    parser.add_argument("--on-host", action="store_true", help="run the kernels on the processor")
    parser.add_argument("--only", default="", metavar="PART", help="names that hold this")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--arch", help='compile for this one, such as "90"; default: the GPU\'s')
    parser.add_argument("--build-folder", type=Path, default=ROOT / "build" / "benchmarks-gpu")
    parser.add_argument("--library", type=Path, help="one that was built before")
    return parser.parse_args()


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def _architecture(arguments) -> str:
    if arguments.arch:
        return arguments.arch
    if arguments.build_only:
        return "90"
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}"


def _device(has_gpu: bool) -> dict:
    import torch
    import torchvision

    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    return {
        "name": torch.cuda.get_device_name() if has_gpu else "none: kernels on the processor",
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "commit": commit,
    }


def _run_checks(checks, only: str) -> list[str]:
    faults = []
    for name, check in checks.all():
        if only not in name:
            continue
        started = time.time()
        try:
            check()
            print(f"right    {name} ({time.time() - started:.1f} s)", flush=True)
        except Exception as error:  # the other operators are looked at too
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            faults.append(f"{name}: {type(error).__name__}: {error}")
            print(f"WRONG    {faults[-1]}", flush=True)
    return faults


def _time_all(operators, arguments) -> list[dict]:
    import torch
    from measurements import all_measurements
    from timing import copies_past_cache, copy_bandwidth, median_ms

    rate = copy_bandwidth()
    print(f"\n{_device(True)}\na copy within the card: {rate:.0f} GB/s\n")
    print("| work | ms | GB/s | of a copy | 10^9 pairs/s | peer, ms | ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    results = []
    for each in all_measurements(operators):
        if arguments.only not in each.name:
            continue
        copies = copies_past_cache(each.inputs)
        ours, theirs = (_try(median_ms, run, copies) for run in (each.run, each.peer))
        del copies
        torch.cuda.empty_cache()
        row = {"name": each.name, "ms": ours, "peer_ms": theirs, "copy_gb_s": rate}
        if ours:
            row["gb_s"] = each.bytes / ours / 1e6
            row["share_of_copy"] = row["gb_s"] / rate
            row["gpairs_s"] = each.pairs / ours / 1e6 or None
            row["ratio"] = theirs and theirs / ours
        results.append(row)
        columns = ["ms", "gb_s", "share_of_copy", "gpairs_s", "peer_ms", "ratio"]
        cells = [f"{row[c]:.3g}" if row.get(c) else "-" for c in columns]
        print(f"| {each.name} | {' | '.join(cells)} |", flush=True)
    return results


def _try(measure, function, copies) -> float | None:
    """None where there is no peer, or it does not take these inputs (bfloat16, memory)."""
    if function is None:
        return None
    try:
        return measure(function, copies)
    except (RuntimeError, NotImplementedError) as error:
        print(f"  ({str(error).splitlines()[0][:150]})", flush=True)
        return None


def _sanitize(path: Path) -> int:
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(sanitizer).is_file():
        print("There is no compute-sanitizer here: nothing was checked.")
        return 0
    # PyTorch's own pool would hide a step beyond one tensor into the next.
    environment = dict(os.environ, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    found = []
    for tool in TOOLS:
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9"]
        command += [sys.executable, str(HERE / "run.py"), "--check", "--small"]
        print(f"\n== {tool}", flush=True)
        code = subprocess.run([*command, "--library", str(path)], env=environment).returncode
        if code:
            found.append(tool)
        print(f"== {tool}: {'clean' if code == 0 else f'exit code {code}'}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
