"""python -m htc.serve: answers, and every way an upload can be wrong."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason='the service is optional: pip install ".[serve]"')
pytest.importorskip("httpx")
import httpx
from fastapi.testclient import TestClient

from htc.detections import Detections
from htc.serve.application import make_application
from htc.serve.batcher import Batcher, Closed, Full
from htc.serve.uploads import Limits, Refused, decode

LIMITS = Limits(body_bytes=20_000, pixels=10_000, queue=3)


class Fake:
    """Finds one object the size of the picture and one of a low score; may be held up."""

    engine, precision, class_names, batch_size = "inference", "fp32", ["cat"], 4

    def __init__(self):
        self.go, self.sizes, self.fail = threading.Event(), [], False
        self.go.set()

    def __call__(self, pictures):
        self.go.wait(20)
        self.sizes.append(len(pictures))
        if self.fail:
            raise RuntimeError("secret path /home/me")
        return [self.found(*picture.shape[:2]) for picture in pictures]

    def found(self, height, width):
        from pycocotools import mask as rle_tools

        mask = rle_tools.encode(np.asfortranarray(np.ones((height, width), np.uint8)))
        boxes = np.array([[0, 0, width, height]] * 2, np.float32)
        scores, labels = np.array([0.9, 0.2], np.float32), np.zeros(2, np.int64)
        return Detections(boxes, scores, labels, [mask, mask], (height, width), self.class_names)


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def client(fake):
    with TestClient(make_application(fake, LIMITS), raise_server_exceptions=False) as client:
        yield client
        fake.go.set()


def file_of(height=20, width=30, kind="PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 40, 10)).save(stream, kind, **options)
    return stream.getvalue()


def png_that_says(width, height) -> bytes:
    """A PNG of a few bytes whose header announces a large picture."""

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def test_a_picture_gives_json(client):
    answer = client.post("/detect", content=file_of())
    assert answer.status_code == 200
    content = answer.json()
    assert (content["height"], content["width"]) == (20, 30)
    (entry,) = content["detections"]
    assert entry["box"] == [0, 0, 30, 20] and entry["name"] == "cat" and entry["score"] == 0.9
    from pycocotools import mask as rle_tools

    assert rle_tools.decode(entry["mask"]).sum() == 600


def test_thresholds_masks_and_formats(client):
    both = client.post("/detect?score=0.1&masks=none", content=file_of(kind="JPEG")).json()
    assert len(both["detections"]) == 2 and "mask" not in both["detections"][0]
    (entry,) = client.post("/detect?masks=polygons", content=file_of()).json()["detections"]
    assert entry["polygons"] == [[0, 0, 30, 0, 30, 20, 0, 20]] and entry["holes"] == []
    drawn = client.post("/detect?format=overlay", content=file_of(kind="WEBP"))
    assert drawn.headers["content-type"] == "image/jpeg" and drawn.headers["x-detections"] == "1"
    width, height = Image.open(io.BytesIO(drawn.content)).size  # small pictures are enlarged
    assert width == 1.5 * height >= 30


def test_a_picture_is_turned_upright(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = client.post("/detect", content=file_of(kind="JPEG", exif=exif)).json()
    assert (content["height"], content["width"]) == (30, 20)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is empty"),
        (b"hello", 400, "not a picture"),
        (b"<html>" * 100, 400, "not a picture"),
        (file_of()[:40], 400, "damaged|not a picture"),
        (file_of(kind="JPEG")[:-200], 400, "damaged|not a picture"),
        (file_of(101, 100), 413, r"\(100 x 101\) has more than 10000 pixels"),
        (png_that_says(2**31 - 1, 2**31 - 1), 413, "has more than 10000 pixels"),
        (png_that_says(60_000, 60_000), 413, "has more than 10000 pixels"),
        (png_that_says(10, 10), 400, "damaged|not a picture"),
        (b"x" * 20_001, 413, "the body has more than 20000 bytes"),
    ],
)
def test_bad_uploads(client, body, status, message):
    import re

    answer = client.post("/detect", content=body)
    assert answer.status_code == status
    assert re.search(message, answer.json()["error"])
    assert client.post("/detect", content=file_of()).status_code == 200


def test_a_body_that_does_not_say_how_long_it_is(client):
    def parts():
        for _ in range(100):
            yield b"x" * 1000

    answer = client.post("/detect", content=parts())
    assert answer.status_code == 413


@pytest.mark.parametrize("query", ["score=2", "score=high", "format=pdf", "masks=perhaps"])
def test_bad_queries(client, query):
    answer = client.post(f"/detect?{query}", content=file_of())
    assert answer.status_code == 422 and answer.json()["error"].startswith(query.split("=")[0])


def test_other_paths_and_methods(client):
    assert client.get("/detect").status_code == 405
    assert client.get("/etc/passwd").status_code == 404


def test_a_failure_tells_nothing_of_the_inside(client, fake):
    fake.fail = True
    answer = client.post("/detect", content=file_of())
    assert answer.status_code == 500 and "secret" not in answer.text
    fake.fail = False
    assert client.post("/detect", content=file_of()).status_code == 200


def test_page_health_and_metrics(client):
    client.post("/detect", content=file_of())
    client.post("/detect", content=b"hello")
    assert "Drop a picture here" in client.get("/").text
    health = client.get("/health")
    assert health.status_code == 200 and health.json()["status"] == "ok"
    text = client.get("/metrics").text
    assert 'htc_requests_total{status="200"} 1' in text
    assert 'htc_requests_total{status="400"} 1' in text
    assert "htc_detections_total 1" in text and "htc_queue_length 0" in text


def test_many_at_once_go_together_and_too_many_are_told_so(fake):
    """While one is predicted 3 wait and go together; the others are refused at once."""
    fake.go.clear()
    application = make_application(fake, LIMITS)

    async def scenario():
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            def post():
                return asyncio.create_task(client.post("/detect", content=file_of()))

            first = post()
            await asyncio.sleep(0.5)  # it is being predicted now
            others = [post() for _ in range(6)]
            done, waiting = await asyncio.wait(others, timeout=1)
            refused = [task.result() for task in done]
            assert [answer.status_code for answer in refused] == [503] * 3
            assert refused[0].headers["retry-after"] == "1"
            fake.go.set()
            answers = await asyncio.gather(first, *waiting)
            assert [answer.status_code for answer in answers] == [200] * 4

    asyncio.run(scenario())
    assert fake.sizes == [1, 3]


def test_those_who_wait_are_served_before_the_end(fake):
    fake.go.clear()
    batcher = Batcher(fake, 4, 8)
    futures = [batcher.submit(np.zeros((4, 5, 3), np.uint8)) for _ in range(3)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    time.sleep(0.1)
    with pytest.raises(Closed):
        batcher.submit(np.zeros((4, 5, 3), np.uint8))
    fake.go.set()
    closing.join(10)
    assert all(future.result(1).size == (4, 5) for future in futures)


def test_a_batcher_that_never_ends_lets_go_of_its_callers(fake):
    fake.go.clear()
    batcher = Batcher(fake, 1, 2)
    futures = [batcher.submit(np.zeros((4, 5, 3), np.uint8))]
    time.sleep(0.3)
    futures += [batcher.submit(np.zeros((4, 5, 3), np.uint8)) for _ in range(2)]
    with pytest.raises(Full):
        batcher.submit(np.zeros((4, 5, 3), np.uint8))
    batcher.close(timeout=0.1)
    for future in futures[1:]:
        with pytest.raises(Closed):
            future.result(1)
    fake.go.set()


def test_grey_and_palette_pictures_become_rgb():
    stream = io.BytesIO()
    Image.new("P", (5, 4), 3).save(stream, "GIF")
    assert decode(stream.getvalue(), LIMITS).shape == (4, 5, 3)
    with pytest.raises(Refused):
        decode(b"GIF89a", LIMITS)
