"""The script of the GPU benchmarks, as far as a machine without a GPU can tell."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu"
sys.path.insert(0, str(FOLDER))
import build  # noqa: E402

sys.path.remove(str(FOLDER))


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""},
    )


def test_without_a_gpu_it_claims_nothing():
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "There is no GPU that PyTorch can use: nothing was checked or timed.\n"
    )


@pytest.mark.slow  # compiles every kernel
@pytest.mark.skipif(build.find_nvcc() is None, reason="there is no nvcc")
def test_everything_but_a_launch(tmp_path):
    result = run("--build-only", "--build-folder", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "functions and 10 structs are as expected" in result.stdout


@pytest.mark.slow  # compiles every kernel
def test_the_small_checks_on_the_processor(tmp_path):
    pytest.importorskip("torchvision")
    result = run("--on-host", "--build-folder", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("right") == 8
