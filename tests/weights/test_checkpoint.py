"""Files are written whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from htc.checkpoint import atomic_path, save_weights
from htc.weights import WeightError, read_weights, write_weights

ROOT = Path(__file__).resolve().parents[2]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "x.bin"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [item.name for item in path.parent.iterdir()] == ["x.bin"]


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, {"w": np.ones(3, "float32")})
    program = (
        "import os, signal\n"
        "from htc.checkpoint import atomic_path\n"
        f"with atomic_path({str(path)!r}) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    np.testing.assert_array_equal(read_weights(path)[0]["w"], np.ones(3))


def test_synced_before_it_is_renamed(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(os, "fsync", lambda _descriptor: steps.append("sync"))
    rename = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("rename"), rename(a, b)))
    with atomic_path(tmp_path / "x") as temporary:
        temporary.write_bytes(b"1")
    assert steps == ["sync", "rename", "sync"]


def test_our_files_say_what_they_are(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, {"rpn.conv.bias": np.ones(2, "float32")}, {"epoch": "3"})
    _, metadata = read_weights(path)
    assert metadata == {"format": "htc", "version": "1", "epoch": "3"}


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(WeightError, match="cannot be written"):
        write_weights(tmp_path / "x.npz", {"w": np.ones(2)})
    assert [item.name for item in tmp_path.iterdir()] == ["x.npz"]
