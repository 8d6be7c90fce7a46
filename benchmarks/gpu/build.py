"""Builds the CUDA kernels and their C functions into one shared library, without any framework."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
HERE = Path(__file__).resolve().parent
SOURCES = [*sorted(CSRC.glob("cuda/*.cu")), HERE / "roi_align_grad_atomic.cu", HERE / "c_api.cpp"]
INCLUDES = [f"-I{CSRC / 'include'}", f"-I{CSRC}", f"-I{HERE}", "-DHTC_WITH_CUDA", "-std=c++17"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


class BuildError(Exception):
    """A compiler is missing, or did not like what it saw."""


def find_nvcc() -> str | None:
    """nvcc of $CUDA_HOME, of the PATH, or where it is installed by default."""
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    for home in [*homes, Path("/usr/local/cuda")]:
        if (home / "bin" / "nvcc").is_file():
            return str(home / "bin" / "nvcc")
    return shutil.which("nvcc")


def build(folder: Path, architecture: str = "90") -> Path:
    """Compile for one architecture ("90", "80", ...), warnings as errors; return the library."""
    nvcc = find_nvcc()
    if nvcc is None:
        raise BuildError("there is no nvcc: install the CUDA toolkit, or set CUDA_HOME")
    flags = [
        *INCLUDES,
        "-O3",
        "--fmad=false",  # as the package is built: CPU and GPU round alike
        "-lineinfo",
        f"-gencode=arch=compute_{architecture},code=[sm_{architecture},compute_{architecture}]",
        "-Werror=all-warnings",
        "-Xcompiler=" + ",".join([*WARNINGS, "-fPIC"]),
    ]
    objects = _compile_all([nvcc, *flags], SOURCES, folder)
    library = folder / "libhtc_gpu.so"
    _run([nvcc, "-shared", "-cudart=shared", *map(str, objects), "-o", str(library)])
    return library


def build_on_host(folder: Path) -> Path:
    """The same sources as C++, on the stand-in for CUDA that the tests of csrc have."""
    stand_in = CSRC / "tests" / "cuda_on_host"
    compiler = os.environ.get("CXX", "g++")
    flags = [f"-I{stand_in}", *INCLUDES, *WARNINGS, "-Wno-unknown-pragmas", "-O2", "-fPIC"]
    flags += ["-ffp-contract=off", "-fno-math-errno"]
    sources = [*SOURCES, stand_in / "blocks.cpp"]
    objects = _compile_all([compiler, *flags, "-x", "c++"], sources, folder)
    library = folder / "libhtc_on_host.so"
    _run([compiler, "-shared", *map(str, objects), "-o", str(library)])
    return library


def _compile_all(command: list[str], sources: list[Path], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    objects = [folder / f"{source.stem}.o" for source in sources]

    def compile_one(pair):
        _run([*command, "-c", str(pair[0]), "-o", str(pair[1])])

    with ThreadPoolExecutor(min(len(sources), os.cpu_count() or 1)) as pool:
        list(pool.map(compile_one, zip(sources, objects, strict=True)))
    return objects


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise BuildError(f"{command[0]} does not start: {error}") from None
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
