"""Compiles csrc/ into the one library of htc_ops, with ninja.

ninja gives what setuptools does not: both cores, exact rebuilds (headers included), and a failure
that is a failure. Paddle's own BuildExtension is not used: in the supported versions it goes on
after a failed compile, flattens file names and silences warnings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from paddle_target import PaddleTarget

LIBRARY_NAME = "libhtc_ops.so"
ARCH_VARIABLE = "HTC_CUDA_ARCH_LIST"
CUDA_VARIABLE = "HTC_OPS_CUDA"
OLDEST_ARCH = 75  # Turing
# The kernels round in the written order (see geometry.h), and no NaN trap is ever read.
CXX_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-pthread"]
NVCC_FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-Xcompiler", "-fPIC"]


class BuildError(RuntimeError):
    """The compiler's own message has been printed; this one says what to do."""


def cuda_home() -> Path | None:
    """The CUDA toolkit: $CUDA_HOME, $CUDA_PATH, nvcc on the PATH, /usr/local/cuda."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        value = os.environ.get(variable)
        if value and (Path(value) / "bin" / "nvcc").is_file():
            return Path(value)
    found = shutil.which("nvcc")
    if found:
        top = _run([found, "--dryrun", "-c", "-x", "cu", os.devnull])
        match = re.search(r"^#\$ TOP=(.+)$", top, flags=re.MULTILINE)
        if match:
            return Path(match.group(1)).resolve()
    default = Path("/usr/local/cuda")
    return default if (default / "bin" / "nvcc").is_file() else None


def cuda_architectures(home: Path) -> list[str]:
    """Return the architectures to compile for, as "75", "90a", ...: all that nvcc knows from Turing
    on, or those of $HTC_CUDA_ARCH_LIST ("80;90" or "8.0 9.0")."""
    chosen = os.environ.get(ARCH_VARIABLE, "").replace(".", "")
    if chosen.strip():
        names = re.split(r"[;,\s]+", chosen.strip())
        if bad := [name for name in names if not re.fullmatch(r"\d{2,3}[a-z]?", name)]:
            raise BuildError(
                f"{ARCH_VARIABLE}: {bad[0]!r} is not an architecture such as 8.0 or 90"
            )
        return sorted(set(names), key=_arch_key)
    known = re.findall(r"compute_(\d+)\s", _run([home / "bin" / "nvcc", "--list-gpu-arch"]) + "\n")
    return sorted({name for name in known if int(name) >= OLDEST_ARCH}, key=_arch_key)


def cuda_version(home: Path) -> str:
    """Return the toolkit's version, such as "13.0"."""
    match = re.search(r"release (\d+\.\d+)", _run([home / "bin" / "nvcc", "--version"]))
    return match.group(1) if match else "of unknown version"


def _arch_key(name: str) -> tuple[int, str]:
    return int(re.sub(r"\D", "", name)), name


def _run(command: list) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return result.stdout + result.stderr


def build_library(source_root: Path, build_dir: Path, paddle: PaddleTarget, version: str) -> Path:
    """Compile and link what changed; return the library's path in build_dir.

    Raises:
        BuildError: after the compiler's or linker's own message.
    """
    csrc = source_root / "csrc"
    cuda = _cuda_plan(paddle)
    build_dir.mkdir(parents=True, exist_ok=True)
    _write_if_changed(build_dir / "build_info.cpp", _build_info(paddle, version, cuda))
    _write_if_changed(build_dir / "build.ninja", _ninja_file(csrc, build_dir, paddle, cuda))
    command = [_ninja(), "-C", str(build_dir)]
    if os.environ.get("MAX_JOBS"):
        command += ["-j", os.environ["MAX_JOBS"]]
    if subprocess.run(command).returncode != 0:
        raise BuildError("htc_ops did not compile; the compiler's message is above.")
    return build_dir / LIBRARY_NAME


def _cuda_plan(paddle: PaddleTarget) -> tuple[Path, list[str]] | None:
    """(toolkit, architectures) when the CUDA half is to be built."""
    wish = os.environ.get(CUDA_VARIABLE, "auto")
    if wish not in ("auto", "0", "1"):
        raise BuildError(f"{CUDA_VARIABLE} must be 0, 1 or auto, not {wish!r}")
    if wish == "0" or (paddle.cuda_version is None and wish == "auto"):
        return None
    home = cuda_home()
    if paddle.cuda_version is None:
        raise BuildError(f"{CUDA_VARIABLE}=1, but {paddle.distribution} has no CUDA support")
    if home is None:
        message = (
            f"{paddle.distribution} {paddle.version} uses CUDA {paddle.cuda_version}, but no nvcc "
            "was found. Install the CUDA toolkit or set CUDA_HOME."
        )
        if wish == "1":
            raise BuildError(message)
        print(f"warning: {message} Building the CPU half only.", file=sys.stderr)
        return None
    return home, cuda_architectures(home)


def _build_info(paddle: PaddleTarget, version: str, cuda) -> str:
    """A text inside the library that htc_ops reads before it loads it."""
    info = {
        "htc_ops": version,
        "paddle": paddle.version,
        "distribution": paddle.distribution,
        "commit": paddle.commit,
        "cuda": cuda_version(cuda[0]) if cuda else None,
        "cuda_architectures": cuda[1] if cuda else [],
    }
    text = json.dumps(info).replace('"', '\\"')
    return _BUILD_INFO_SOURCE.replace("@FACTS@", text[:-1])


# The compiler adds what it knows of itself to the JSON object.
_BUILD_INFO_SOURCE = r"""#include <string>
#define TEXT_OF(macro) TEXT(macro)
#define TEXT(value) #value
#if defined(__clang__)
#define COMPILER "clang++ " __clang_version__
#else
#define COMPILER "g++ " __VERSION__
#endif
#if defined(_GLIBCXX_USE_CXX11_ABI)
#define ABI TEXT_OF(_GLIBCXX_USE_CXX11_ABI)
#else
#define ABI "null"
#endif
extern "C" __attribute__((used, visibility("default")))
const char htc_ops_build_info[] =
    "HTC_OPS_BUILD_INFO@FACTS@"
    ", \"compiler\": \"" COMPILER "\", \"cxx11_abi\": " ABI "}\n";
"""


def _ninja_file(csrc: Path, build_dir: Path, paddle: PaddleTarget, cuda) -> str:
    cxx = os.environ.get("CXX", "g++")
    own = [f"-I{csrc / 'include'}", f"-I{csrc}"]
    system = [f"-isystem {path}" for path in paddle.include_dirs]
    # Named so that another Paddle in the same place rebuilds the bindings.
    paddle_flags = ["-DPADDLE_WITH_CUSTOM_KERNEL", f"-DHTC_PADDLE_VERSION={paddle.version}", "-w"]
    link = ["-shared", "-pthread", "-Wl,--no-as-needed", "-l:libpaddle.so", "-Wl,--as-needed"]
    # At run time Paddle is loaded already; the path beside this package is for tools such as ldd.
    for directory in paddle.library_dirs:
        link += [f"-L{directory}", f"'-Wl,-rpath,$$ORIGIN/../paddle/{directory.name}'"]
    # libpaddle.so's own needs (libphi and the like) come with it at run time.
    link += ["-Wl,--allow-shlib-undefined"]
    lines = [
        "ninja_required_version = 1.5",
        "rule cxx",
        "  command = $compiler $flags -MMD -MF $out.d -c $in -o $out",
        "  depfile = $out.d",
        "  deps = gcc",
        "  description = C++ $in",
        "rule nvcc",
        "  command = $compiler $flags -MMD -MF $out.d -c $in -o $out",
        "  depfile = $out.d",
        "  deps = gcc",
        "  description = CUDA $in",
        "rule link",
        f"  command = {cxx} -o $out.part $in $flags && mv -f $out.part $out",
        "  description = link $out",
    ]
    objects = []

    def compile_file(rule: str, source: Path, target: str, compiler: object, flags: list) -> None:
        objects.append(target)
        lines.append(f"build {target}: {rule} {_escape(source)}")
        lines.append(f"  compiler = {compiler}")
        lines.append("  flags = " + " ".join(str(flag) for flag in flags))

    cuda_flags = []
    if cuda:
        home, architectures = cuda
        include = home / "include"
        cuda_flags = ["-DHTC_WITH_CUDA"]
        host_cuda = ["-DPADDLE_WITH_CUDA", f"-isystem {include}", f"-isystem {include / 'cccl'}"]
        paddle_flags += host_cuda
        nvcc = NVCC_FLAGS + cuda_flags + [*own, f"-I{include / 'cccl'}"] + _gencode(architectures)
        for source in sorted((csrc / "cuda").glob("*.cu")):
            compile_file("nvcc", source, f"{source.stem}.o", home / "bin" / "nvcc", nvcc)
        libraries = next((d for d in (home / "lib64", home / "lib") if d.is_dir()), home / "lib64")
        link += [f"-L{libraries}", "-lcudart_static", "-ldl", "-lrt"]
    extra = os.environ.get("CXXFLAGS", "").split()
    for source in sorted((csrc / "paddle").glob("*.cc")):
        flags = CXX_FLAGS + cuda_flags + own + system + paddle_flags + extra
        compile_file("cxx", source, f"{source.stem}.o", cxx, flags)
    for source in sorted((csrc / "cpu").glob("*.cpp")):
        compile_file("cxx", source, f"{source.stem}.o", cxx, CXX_FLAGS + cuda_flags + own + extra)
    compile_file("cxx", Path("build_info.cpp"), "build_info.o", cxx, CXX_FLAGS)

    lines.append(f"build {LIBRARY_NAME}: link {' '.join(objects)}")
    lines.append("  flags = " + " ".join(link + os.environ.get("LDFLAGS", "").split()))
    lines.append(f"default {LIBRARY_NAME}")
    return "\n".join(lines) + "\n"


def _gencode(architectures: list[str]) -> list[str]:
    """Code for every architecture, and PTX of the newest for those to come.

    The architectures of a generation (80 to 89) share one pass over the source, which is most of
    nvcc's time; each still gets machine code of its own.
    """
    generations: dict[str, list[str]] = {}
    for architecture in architectures:
        generations.setdefault(architecture[:-1], []).append(architecture)
    flags = [
        f"-gencode 'arch=compute_{members[0]},code=[{','.join(f'sm_{a}' for a in members)}]'"
        for members in generations.values()
    ]
    newest = architectures[-1]
    return [*flags, f"-gencode arch=compute_{newest},code=compute_{newest}"]


def _escape(path: Path) -> str:
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def _ninja() -> str:
    """The ninja of the `ninja` package (a build requirement), or the system's."""
    try:
        import ninja

        return str(Path(ninja.BIN_DIR) / "ninja")
    except ImportError:
        found = shutil.which("ninja")
        if not found:
            raise BuildError("ninja is missing: pip install ninja") from None
        return found
