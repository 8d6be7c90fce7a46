"""What is set before Paddle is imported."""

import os

import pytest

from htc.config import RuntimeConfig
from htc.engine.setup import prepare_kernels, prepare_threads

AMD = "vendor_id : AuthenticAMD\nflags : fpu sse2 avx avx2 fma\n"


@pytest.fixture
def environment(monkeypatch):
    """os.environ without what is set here; whatever a test sets is taken back."""
    for name in (
        "MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS", "HTC_OPS_NUM_THREADS", "PADDLE_TRAINERS_NUM"
    ):  # fmt: skip
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (AMD, "5"),
        (AMD.replace("AuthenticAMD", "GenuineIntel"), None),
        (AMD.replace("avx2", ""), None),
        (None, None),
    ],
    ids=["AMD", "Intel", "without AVX2", "not Linux"],
)
def test_avx2_kernels_are_named_on_amd_processors_alone(tmp_path, environment, facts, expected):
    if facts is not None:
        (tmp_path / "cpuinfo").write_text(facts)
    prepare_kernels(tmp_path / "cpuinfo")
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == expected


def test_what_the_user_has_set_is_left_alone(tmp_path, environment):
    (tmp_path / "cpuinfo").write_text(AMD)
    environment.setenv("MKL_DEBUG_CPU_TYPE", "4")
    prepare_kernels(tmp_path / "cpuinfo")
    assert os.environ["MKL_DEBUG_CPU_TYPE"] == "4"
    environment.setenv("OMP_NUM_THREADS", "3")
    prepare_threads(RuntimeConfig())
    assert os.environ["OMP_NUM_THREADS"] == "3"
    prepare_threads(RuntimeConfig(threads=1))
    assert os.environ["OMP_NUM_THREADS"] == os.environ["HTC_OPS_NUM_THREADS"] == "1"


def test_threads_are_those_of_the_machine_unless_a_launcher_started_this(environment):
    environment.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    prepare_threads(RuntimeConfig())
    assert os.environ.pop("OMP_NUM_THREADS") == "8"
    environment.setenv("PADDLE_TRAINERS_NUM", "2")
    prepare_threads(RuntimeConfig())
    assert "OMP_NUM_THREADS" not in os.environ
