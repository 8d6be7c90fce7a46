"""python -m htc.serve as a process: it answers, and stops when told to."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason='the service is optional: pip install ".[serve]"')
pytest.importorskip("httpx")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))

import httpx
from small_weights import picture
from tiny_runs import command


def test_it_answers_and_stops_on_a_signal(service):
    process, address = service
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "PNG")
    answer = httpx.post(f"{address}/detect?score=0", content=stream.getvalue(), timeout=60)
    assert answer.status_code == 200 and len(answer.json()["detections"]) == 5
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert process.returncode in (0, -signal.SIGTERM), process.stderr.read()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{address}/health")


def test_mistakes_are_one_line():
    done = command("htc.serve")
    assert done.returncode == 2 and "error: weights: expected trained weights" in done.stderr
    done = command("htc.serve", "-o", "weights=x.pth", "--queue", "0")
    assert done.returncode == 2 and "--queue: expected more than 0, got 0" in done.stderr
