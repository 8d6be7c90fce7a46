"""What is installed here and whether it fits together. Needs neither the library nor Paddle.

Everything that can be wrong ends in one ImportError that says what to run.
"""

from __future__ import annotations

import json
import mmap
import struct
import sys
from pathlib import Path

LIBRARY_NAME = "libhtc_ops.so"
LIBRARY_PATH = Path(__file__).resolve().parent / LIBRARY_NAME
REINSTALL = "pip install --force-reinstall --no-deps ."
_MARKER = b"HTC_OPS_BUILD_INFO"


def read_build_info(path: Path = LIBRARY_PATH) -> dict:
    """Return what a library says of itself, without loading it (a wrong one could crash).

    Raises:
        ImportError: no such file, or no library of htc_ops.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = data.find(_MARKER) + len(_MARKER)
            if start >= len(_MARKER) and _is_whole(data):
                return json.loads(data[start : data.find(b"\n", start)])
    except FileNotFoundError:
        raise ImportError(_missing(path)) from None
    except (OSError, ValueError):  # a folder, an empty file, a damaged text
        pass
    raise ImportError(f"{path} is damaged or not a library of htc_ops. Build it again: {REINSTALL}")


def _is_whole(data) -> bool:
    """Whether a 64-bit ELF file is as long as it says. Loading one cut short kills the process."""
    if data[:4] != b"\x7fELF" or len(data) < 64:
        return False
    (table,) = struct.unpack_from("<Q", data, 40)  # its last part: the section headers
    entry, count = struct.unpack_from("<HH", data, 58)
    return len(data) >= table + entry * count


def _missing(path: Path) -> str:
    if other := _other_copy(path):
        return (
            f"htc_ops is not built here: {path} is missing. It hides the installed copy in "
            f"{other}. Start Python in another folder, or build here: pip install -e ."
        )
    return (
        f"htc_ops is not built: {path} is missing. From the source folder run: pip install . "
        "(or pip install -e . for development)"
    )


def _other_copy(path: Path) -> Path | None:
    """A built package elsewhere on the search path, hidden by this one."""
    for entry in sys.path:
        package = Path(entry or ".").resolve() / path.parent.name
        if package != path.parent and (package / LIBRARY_NAME).is_file():
            return package
    return None


def check_build_info(info: dict) -> None:
    """Raise ImportError when a library was built for another Paddle than the running one."""
    import paddle

    running = (paddle.version.full_version, paddle.version.commit)
    if (info["paddle"], info["commit"]) != running:
        raise ImportError(
            f"htc_ops was built for {info['distribution']} {info['paddle']} (commit "
            f"{info['commit'][:9]}), but Paddle {running[0]} (commit {running[1][:9]}) is running. "
            f"Build it again, from its source folder: {REINSTALL}"
        )


def missing_cuda(info: dict) -> str | None:
    """What to say when this machine has a GPU that Paddle can use and htc_ops cannot."""
    import paddle

    if info["cuda_architectures"] or not paddle.is_compiled_with_cuda():
        return None
    if paddle.device.cuda.device_count() == 0:
        return None
    return (
        "htc_ops was built without its CUDA half, so CUDA tensors will be refused. With nvcc on "
        f"the PATH (or CUDA_HOME set), from the source folder, run: HTC_OPS_CUDA=1 {REINSTALL}"
    )


def doctor_is_called() -> bool:
    """Whether this process is `python -m htc_ops.doctor`.

    Python imports the package before its doctor, so the package must let that one in where it lets
    nobody else in.
    """
    # While Python looks for a module to run, argv[0] is "-m".
    called = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    return sys.argv[:1] == ["-m"] and called[-1:] in (["htc_ops.doctor"], ["-mhtc_ops.doctor"])
