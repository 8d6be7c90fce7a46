"""The service as an ASGI application.

POST /detect    the bytes of a picture -> json or an overlay
GET  /          a page to try it
GET  /health    200 while it takes pictures, 503 while it stops
GET  /metrics   for Prometheus
"""

from __future__ import annotations

import asyncio
import io
import time
from contextlib import asynccontextmanager
from typing import Literal

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from PIL import Image
from pycocotools import mask as rle_tools

from htc.detections import Detections
from htc.outlines import outlines
from htc.predictor import Predictor
from htc.serve.batcher import Batcher, Closed, Full
from htc.serve.metrics import Metrics
from htc.serve.page import PAGE
from htc.serve.uploads import Limits, Refused, decode
from htc.visualize import draw


def make_application(predictor: Predictor, limits: Limits | None = None) -> FastAPI:
    """The application around a predictor; pictures go together up to predictor.batch_size."""
    limits = limits or Limits()
    batcher = Batcher(predictor, predictor.batch_size, limits.queue)
    metrics = Metrics()
    stopping = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_):
        yield
        stopping.set()
        await asyncio.to_thread(batcher.close)

    application = FastAPI(title="Hybrid Task Cascade", lifespan=lifespan)

    @application.post("/detect")
    async def detect(
        request: Request,
        format: Literal["json", "overlay"] = "json",
        masks: Literal["rle", "polygons", "none"] = "rle",
        score: float = Query(0.5, ge=0, le=1),
    ):
        began = time.perf_counter()
        body = await read_body(request, limits.body_bytes)
        picture = await asyncio.to_thread(decode, body, limits)
        try:
            found = await asyncio.wrap_future(batcher.submit(picture))
        except Full:
            raise Refused(503, "too many pictures are waiting; try again later") from None
        except Closed:
            raise Refused(503, "the service is stopping") from None
        found = found.above(score)
        if format == "overlay":
            response = await asyncio.to_thread(overlay, picture, found)
        else:
            response = JSONResponse(await asyncio.to_thread(as_json, found, masks))
        metrics.answered(200, time.perf_counter() - began, len(found))
        return response

    @application.exception_handler(Refused)
    async def refused(_, error: Refused):
        metrics.answered(error.status)
        headers = {"retry-after": "1"} if error.status == 503 else {}
        if error.status == 413:
            headers["connection"] = "close"  # the rest of the body is not read
        return JSONResponse({"error": error.message}, error.status, headers)

    @application.exception_handler(RequestValidationError)
    async def invalid(_, error: RequestValidationError):
        metrics.answered(422)
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    @application.exception_handler(Exception)
    async def failed(_, error: Exception):
        metrics.answered(500)  # the traceback goes to the log
        return JSONResponse({"error": "the picture could not be processed"}, 500)

    @application.get("/", response_class=HTMLResponse)
    async def page():
        return PAGE

    @application.get("/health")
    async def health():
        facts = {
            "status": "stopping" if stopping.is_set() else "ok",
            "engine": predictor.engine,
            "precision": predictor.precision,
            "classes": predictor.class_names,
        }
        return JSONResponse(facts, 503 if stopping.is_set() else 200)

    @application.get("/metrics", response_class=PlainTextResponse)
    async def counts():
        return metrics.text(len(batcher), batcher.batches)

    return application


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request, read no further than it may be long.

    Raises:
        Refused: 413 where it is longer; 400 where its length is no number.
    """
    message = f"the body has more than {most} bytes"
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit():
        raise Refused(400, "content-length is not a number")
    if int(announced) > most:
        raise Refused(413, message)
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise Refused(413, message)
        parts.append(part)
    return b"".join(parts)


def as_json(found: Detections, masks: str) -> dict:
    """Detections as plain values. masks: "rle", COCO's compressed code; "polygons", the outlines of
    the parts and of their holes, [x, y, x, y, ...] in pixels; "none"."""
    entries = []
    for row in range(len(found)):
        label = int(found.labels[row])
        entry = {
            "box": [round(float(side), 2) for side in found.boxes[row]],
            "score": round(float(found.scores[row]), 5),
            "label": label,
            "name": found.class_names[label] if found.class_names else None,
        }
        if masks == "rle" and found.masks is not None:
            counts = found.masks[row]["counts"]
            entry["mask"] = {
                "size": list(found.size),
                "counts": counts.decode() if isinstance(counts, bytes) else counts,
            }
        elif masks == "polygons" and found.masks is not None:
            entry["polygons"], entry["holes"] = outlines(rle_tools.decode(found.masks[row]))
        entries.append(entry)
    return {"height": found.size[0], "width": found.size[1], "detections": entries}


def overlay(picture: np.ndarray, found: Detections) -> Response:
    """The picture with its detections drawn, as a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(draw(picture, found)).save(stream, "JPEG", quality=92)
    return Response(stream.getvalue(), media_type="image/jpeg",
                    headers={"x-detections": str(len(found))})  # fmt: skip
