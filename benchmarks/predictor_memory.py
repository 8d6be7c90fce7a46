"""Peak memory of predictions on large pictures, over that of the model at its own size.

    python benchmarks/predictor_memory.py                       # HTC R50
    python benchmarks/predictor_memory.py --predictions 1000    # and whether it grows (minutes)

Weights are random and the score threshold is 0, so that every picture has as many detections as
asked for. Each line is a process of its own: peaks cannot be taken back.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

MEGA = 10**6
# name -> (height, width of the picture, detections, masks)
WORK = {
    "12 megapixels, 100 detections": (3000, 4000, 100, True),
    "100 megapixels, 1,000 detections": (10000, 10000, 1000, True),
    "100 megapixels, 1,000 boxes alone": (10000, 10000, 1000, False),
}


def export(config_name: str, folder: str, *overrides: str) -> str:
    """Write an export of random weights; a process of its own, for its memory stays behind."""
    code = f"""
import paddle, htc
from htc.config import load_config
from htc.deploy.writing import write_export
config = load_config({config_name!r}, {["model.test.score_threshold=0.0", *overrides]})
paddle.set_device("cpu")
paddle.seed(0)
model = htc.build_model(config)
model.eval()
write_export({folder!r}, model, config, None, check=False)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    return folder


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGA


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGA


def blocks(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(
        0, 256, (-(-height // 100), -(-width // 100), 3), np.uint8
    )
    return np.ascontiguousarray(small.repeat(100, 0).repeat(100, 1)[:height, :width])


def one(folder: str, name: str) -> dict:
    """Peaks of a picture as large as the network's own input, then of the large one."""
    import htc

    height, width, _, masks = WORK[name]
    predictor = htc.Predictor(folder, device="cpu")
    data = predictor.config.data
    # The size that the large picture is resized to, so that the network does the same work.
    scale = min(data.test_short_side / min(height, width), data.test_long_side / max(height, width))
    own = blocks(round(height * scale), round(width * scale))
    for _ in range(2):
        predictor(own, masks=masks)
    before = peak_mb()
    large = blocks(height, width)
    (found,) = predictor(large, masks=masks)
    after = peak_mb()
    return {
        "work": name,
        "detections": len(found),
        "own_peak_mb": round(before),
        "peak_mb": round(after),
        "picture_mb": round(large.nbytes / MEGA),
        "added_mb": round(after - before),
    }


def growth(folder: str, predictions: int) -> dict:
    """Resident memory on the way, pictures of 40 sizes, the network's short side 256, 100 proposals."""
    import htc

    predictor = htc.Predictor(folder, device="cpu")
    random = np.random.default_rng(0)
    pictures = [blocks(*random.integers(100, 300, 2), seed) for seed in range(40)]
    marks = {}
    for number in range(1, predictions + 1):
        predictor(pictures[random.integers(len(pictures))])
        if number in (predictions // 10, predictions // 2, predictions):
            marks[number] = round(resident_mb())
    return {"work": f"{predictions} predictions", "resident_mb": marks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--config", default="htc_r50_fpn_1x_coco")
    parser.add_argument(
        "--predictions", type=int, default=0, help="also look for growth over these"
    )
    parser.add_argument("--part", nargs=2, metavar=("FOLDER", "WORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        folder, name = options.part
        result = growth(folder, int(name)) if name.isdigit() else one(folder, name)
        print(json.dumps(result), flush=True)
        return
    with tempfile.TemporaryDirectory() as root:
        folders = {
            count: export(options.config, f"{root}/{count}", f"model.test.max_detections={count}")
            for count in sorted({work[2] for work in WORK.values()})
        }
        parts = [(folders[work[2]], name) for name, work in WORK.items()]
        if options.predictions:
            small = [
                f"data.test_{side}_side={size}" for side, size in (("short", 256), ("long", 427))
            ]
            fewer = ["model.rpn.test_post_nms=100", "model.test.max_detections=20"]
            folder = export(options.config, f"{root}/small", *small, *fewer)
            parts.append((folder, str(options.predictions)))
        for part in parts:
            subprocess.run([sys.executable, __file__, "--part", *part], check=True)


if __name__ == "__main__":
    main()
