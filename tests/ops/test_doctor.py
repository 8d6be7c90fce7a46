import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

import htc_ops
from htc_ops import _installation, _library, _self_test, doctor


def test_a_sound_installation():
    """As a user calls it."""
    result = subprocess.run(
        [sys.executable, "-m", "htc_ops.doctor"],
        cwd=Path(htc_ops.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for part in (
        sys.executable,
        np.__version__,
        f"{paddle.version.full_version} (commit {paddle.version.commit[:9]})",
        str(_installation.LIBRARY_PATH),
        "C++11 ABI 1",
        _library.build_info["compiler"],
        f"threads      {htc_ops.get_num_threads()} of ",
        f"{len(_self_test.TESTS)} of {len(_self_test.TESTS)} operators right on CPU",
        "Nothing is wrong.",
    ):
        assert part in result.stdout


def test_every_operator_is_tested():
    settings = {"get_num_threads", "release_memory", "set_num_threads"}
    operators = set(htc_ops.__all__) - settings
    assert operators == set(_self_test.TESTS), "add a small case to htc_ops/_self_test.py"


def test_a_wrong_operator_is_named(monkeypatch, capsys):
    monkeypatch.setattr(htc_ops, "nms", lambda boxes, *rest: paddle.zeros([3], "int64"))
    monkeypatch.setattr(htc_ops, "encode_boxes", lambda boxes, *rest: boxes)
    monkeypatch.setattr(htc_ops, "soft_nms", lambda boxes, *rest: 1 / 0)
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    count = len(_self_test.TESTS)
    assert f"{count - 3} of {count} operators right on CPU" in printed
    assert "- nms on CPU: gives the shape [3] instead of" in printed
    assert "- encode_boxes on CPU: differs from its definition by" in printed
    assert "- soft_nms on CPU: ZeroDivisionError: division by zero. Build" in printed


def test_an_instruction_set_that_was_asked_for(monkeypatch):
    monkeypatch.setattr(_library, "cpu_target", lambda: "portable")
    monkeypatch.setattr(_library, "best_cpu_target", lambda: "avx512")
    assert ("vectors", "portable (HTC_OPS_TARGET; this processor has avx512)") in (
        doctor.examine().facts
    )


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that Paddle can use, as far as its answers go: sm_86."""
    cuda = paddle.device.cuda
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "get_device_name", lambda index: "Test GPU")
    monkeypatch.setattr(cuda, "get_device_capability", lambda index: (8, 6))
    monkeypatch.setattr(paddle, "CUDAPlace", lambda index: paddle.CPUPlace())


@pytest.mark.parametrize(
    ("architectures", "problem"),
    [
        ([], "without its CUDA half"),
        (["90"], "GPU 0 is sm_86, which the CUDA half was not built for. .*ARCH_LIST=86 pip"),
        (["75", "80"], None),
        (["86"], None),
        (["75"], None),  # from its PTX
        (["87", "90a"], "GPU 0 is sm_86"),
    ],
)
def test_the_cuda_half_and_the_gpu(gpu, monkeypatch, architectures, problem):
    info = _library.build_info | {"cuda_architectures": architectures, "cuda": "13.0"}
    monkeypatch.setattr(_installation, "read_build_info", lambda path: info)
    report = doctor.examine()
    assert ("GPU", "Test GPU (sm_86)") in report.facts
    tests = [value for name, value in report.facts if name == "self-test"]
    if problem is None:
        assert report.problems == []
        assert "on GPU" in tests[-1]
    else:
        (found,) = report.problems
        assert re.search(problem, found)
        assert len(tests) == 1


def test_without_paddle(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "paddle", None)  # import paddle: ModuleNotFoundError
    assert doctor.main() == 1
    assert "Paddle is not installed: pip install paddlepaddle" in capsys.readouterr().out


def test_another_abi(monkeypatch):
    info = _library.build_info | {"cxx11_abi": 0}
    monkeypatch.setattr(_installation, "read_build_info", lambda path: info)
    (problem,) = doctor.examine().problems
    assert "C++ ABI 0" in problem and "pip install" in problem
