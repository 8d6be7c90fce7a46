"""Says what is installed, whether it works, and how to mend what does not.

    python -m htc_ops.doctor

It runs where `import htc_ops` fails too. The exit code is 1 when something is wrong.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path

from htc_ops import _installation

REINSTALL = _installation.REINSTALL


@dataclass
class Report:
    """What was found: facts to print, and problems with the commands that mend them."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fact(self, name: str, value: str) -> None:
        self.facts.append((name, value))

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def __str__(self) -> str:
        lines = [f"{name:<12} {value}" for name, value in self.facts]
        if not self.problems:
            return "\n".join([*lines, "", "Nothing is wrong."])
        lines += ["", "Wrong:" if len(self.problems) == 1 else f"{len(self.problems)} are wrong:"]
        return "\n".join(lines + [f"- {text}" for text in self.problems])


def examine() -> Report:
    """Look at everything that the operators need, in the order in which it is needed."""
    report = Report()
    report.fact("Python", f"{platform.python_version()}, {sys.executable}")
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        report.problem("Python 3.10 to 3.12 are supported: make an environment with one of them.")
    numpy_works = _examine_numpy(report)
    paddle_works = _examine_paddle(report) if numpy_works else False
    info = _examine_library(report)
    if info and paddle_works:
        _examine_operators(report, info)
    return report


def _examine_numpy(report: Report) -> bool:
    try:
        import numpy
    except Exception as error:
        report.problem(f"NumPy does not import ({_brief(error)}): pip install numpy")
        return False
    report.fact("NumPy", f"{numpy.__version__}, {Path(numpy.__file__).parent}")
    return True


def _examine_paddle(report: Report) -> bool:
    try:
        import paddle
    except ModuleNotFoundError as error:
        if error.name == "paddle":
            report.problem("Paddle is not installed: pip install paddlepaddle==3.3.1")
        else:
            report.problem(f"Paddle needs {error.name}: pip install {error.name}")
        return False
    except Exception as error:
        report.problem(
            f"Paddle does not import ({_brief(error)}). Paddle 2.6 needs numpy<2; else reinstall "
            "it: pip install --force-reinstall paddlepaddle"
        )
        return False
    version = paddle.version
    cuda = f"CUDA {version.cuda()}" if paddle.is_compiled_with_cuda() else "CPU only"
    report.fact(
        "Paddle",
        f"{version.full_version} (commit {version.commit[:9]}), {cuda}, "
        f"{Path(paddle.__file__).parent}",
    )
    if paddle.is_compiled_with_cuda():
        report.fact("GPU", "; ".join(_gpus(paddle)) or "none that Paddle can use")
    return True


def _gpus(paddle) -> list[str]:
    names = []
    for index in range(paddle.device.cuda.device_count()):
        name = paddle.device.cuda.get_device_name(index)
        names.append(f"{name} (sm_{_capability(paddle, index)})")
    return names


def _capability(paddle, index: int) -> int:
    major, minor = paddle.device.cuda.get_device_capability(index)
    return 10 * major + minor


def _examine_library(report: Report) -> dict | None:
    path = _installation.LIBRARY_PATH
    try:
        info = _installation.read_build_info(path)
    except ImportError as error:
        report.problem(str(error))
        return None
    report.fact("htc_ops", f"{info['htc_ops']}, {path} ({path.stat().st_size / 1e6:.1f} MB)")
    report.fact(
        "built for", f"{info['distribution']} {info['paddle']} (commit {info['commit'][:9]})"
    )
    abi = info.get("cxx11_abi")
    report.fact("built by", f"{info.get('compiler', 'unknown')}, C++11 ABI {abi}")
    if abi != 1:
        report.problem(
            f"the library has the C++ ABI {abi}, Paddle has 1. Build it again: "
            f"CXXFLAGS=-D_GLIBCXX_USE_CXX11_ABI=1 {REINSTALL}"
        )
    architectures = info["cuda_architectures"]
    if architectures:
        names = " ".join(f"sm_{name}" for name in architectures)
        report.fact("CUDA half", f"nvcc {info.get('cuda')}: {names}, PTX of the last")
    else:
        report.fact("CUDA half", "not built")
    return info


def _examine_operators(report: Report, info: dict) -> None:
    import paddle

    try:
        from htc_ops import _library
    except ImportError as error:
        report.problem(str(error))
        return
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    report.fact("threads", f"{_library.get_num_threads()} of {allowed} processors")
    target, best = _library.cpu_target(), _library.best_cpu_target()
    limit = "" if target == best else f" (HTC_OPS_TARGET; this processor has {best})"
    report.fact("vectors", target + limit)

    _self_test(report, "CPU", paddle.CPUPlace())
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0:
        problem = _installation.missing_cuda(info) or _wrong_architecture(paddle, info)
        if problem:
            report.problem(problem)
        else:
            _self_test(report, "GPU", paddle.CUDAPlace(0))


def _wrong_architecture(paddle, info: dict) -> str | None:
    """What to say when no machine code and no PTX in the library suits a GPU."""
    built = [int("".join(c for c in name if c.isdigit())) for name in info["cuda_architectures"]]
    for index in range(paddle.device.cuda.device_count()):
        wanted = _capability(paddle, index)
        same_major = any(wanted // 10 == arch // 10 and arch <= wanted for arch in built)
        if not same_major and max(built) > wanted:
            return (
                f"GPU {index} is sm_{wanted}, which the CUDA half was not built for. Build it "
                f"again: HTC_CUDA_ARCH_LIST={wanted} {REINSTALL}"
            )
    return None


def _self_test(report: Report, device: str, place) -> None:
    from htc_ops import _self_test

    faults = {name: fault for name, fault in _self_test.run(place).items() if fault}
    count = len(_self_test.TESTS)
    report.fact("self-test", f"{count - len(faults)} of {count} operators right on {device}")
    for name, fault in faults.items():
        report.problem(f"{name} on {device}: {fault}. Build the library again: {REINSTALL}")


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


def main() -> int:
    report = examine()
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
