"""Load on a running service: python -m htc.serve ... in one terminal, this in another.

    python benchmarks/load_service.py http://127.0.0.1:8000 --clients 8 --requests 200 pictures/*.jpg

Prints how many answers of each status came, and their times. Every tenth upload is bad on purpose:
half a picture, which the service must refuse with 400.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import time
from pathlib import Path

import httpx
import numpy as np


async def load(address: str, bodies: list[bytes], clients: int, requests: int) -> dict:
    """Send requests from so many clients at once; returns status -> the seconds of each answer."""
    times = collections.defaultdict(list)
    left = iter(range(requests))

    async def client(http: httpx.AsyncClient):
        for number in left:
            body = bodies[number % len(bodies)]
            if number % 10 == 9:
                body = body[: len(body) // 2]
            began = time.perf_counter()
            answer = await http.post("/detect?score=0.3", content=body)
            times[answer.status_code].append(time.perf_counter() - began)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return dict(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bodies = [path.read_bytes() for path in arguments.pictures]
    began = time.perf_counter()
    times = asyncio.run(load(arguments.address, bodies, arguments.clients, arguments.requests))
    seconds = time.perf_counter() - began
    result = {"clients": arguments.clients, "requests": arguments.requests, "seconds": seconds}
    result["answers"] = {
        status: {
            "count": len(values),
            "median_s": float(np.median(values)),
            "p95_s": float(np.percentile(values, 95)),
        }
        for status, values in sorted(times.items())
    }
    print(f"{arguments.requests} requests of {arguments.clients} clients in {seconds:.1f} s")
    for status, answer in result["answers"].items():
        print(f"  {status}: {answer['count']} answers, median {answer['median_s']:.3f} s,"
              f" 95 % within {answer['p95_s']:.3f} s")  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
