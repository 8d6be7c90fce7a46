"""The service as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))

from small_weights import write_small_weights
from tiny_runs import ROOT


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def service(tmp_path):
    """(process, address) of the service on weights of a minute network."""
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("uvicorn", reason='the service is optional: pip install ".[serve]"')
    weights = write_small_weights(tmp_path)
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    arguments = ["-o", f"weights={weights}", "--port", str(port), "--engine", "eager"]
    process = subprocess.Popen(
        [sys.executable, "-m", "htc.serve", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, process.stderr.read()
            try:
                assert httpx.get(f"{address}/health").status_code == 200
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield process, address
    finally:
        process.kill()
        process.wait()
