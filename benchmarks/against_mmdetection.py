"""HTC R50 on one picture: htc and mmdetection in turns, on the same weights, their answers compared.

    python benchmarks/against_mmdetection.py --mmdetection /path/to/its/python picture.jpg

The other Python needs torch, mmcv with its operators, and mmdet 3.3 (on a CPU: mmcv 2.1.0 compiled
from source with MMCV_WITH_OPS=1). Both read the same weights, random unless --backbone gives
ImageNet ones, and get the picture as an array at the network's own size; what is timed is from the
array to boxes, scores and masks of the picture's size. Each has a process of its own, and they take
turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIDES = (800, 1333)  # of the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--mmdetection", metavar="PYTHON", help="that can import mmdet")
    parser.add_argument("--backbone", type=Path, help="ImageNet weights, strides in the first 1x1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=("fp32", "bf16"), default=["fp32"], nargs="+",
                        help="of htc: one or both")  # fmt: skip
    parser.add_argument("--no-semantic", action="store_true", help="without the semantic branch")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=2, metavar=("WHICH", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_picture(options.picture, folder)
        subprocess.run(worker(sys.executable, "weights", folder, options), check=True)
        result = in_turns(folder, options)
    print(json.dumps(result, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))


def worker(python: str, which: str, folder: str, options) -> list[str]:
    command = [python, __file__, str(options.picture), "--worker", which, folder]
    command += ["--threads", str(options.threads)]
    if options.backbone is not None:
        command += ["--backbone", str(options.backbone)]
    return command + ["--no-semantic"] * options.no_semantic


def save_picture(path: Path, folder: str) -> None:
    from PIL import Image

    picture = Image.open(path).convert("RGB").resize(SIDES[::-1])
    np.save(f"{folder}/picture.npy", np.asarray(picture))


def in_turns(folder: str, options) -> dict:
    """Times and answers of both, a prediction of one and then of the other."""
    pythons = {precision: sys.executable for precision in options.precision}
    pythons["mmdetection"] = options.mmdetection
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    processes = {
        name: subprocess.Popen(
            worker(python, name, folder, options),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name, python in pythons.items()
        if python
    }
    times = {name: [] for name in processes}
    for _ in range(options.rounds + 1):  # the first warms up
        for name, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            times[name].append(float(answer(name, process)))
    peaks = {}
    for name, process in processes.items():
        process.stdin.write("end\n")
        process.stdin.flush()
        peaks[name] = int(answer(name, process))
        process.wait()
    result = {
        name: {"seconds": seconds[1:], "median": statistics.median(seconds[1:]),
               "fastest": min(seconds[1:]), "peak_mb": peaks[name]}
        for name, seconds in times.items()
    }  # fmt: skip
    for name in options.precision * ("mmdetection" in processes):
        result[name]["ratio of medians"] = result["mmdetection"]["median"] / result[name]["median"]
        result[name]["agreement"] = agreement(folder, name)
    return result


def answer(name: str, process) -> str:
    """The next line that is one: libraries print too."""
    for line in process.stdout:
        if line.startswith("answer "):
            return line.split()[1]
    raise SystemExit(f"the process of {name} ended; run its --worker by hand to see why")


def agreement(folder: str, precision: str) -> dict:
    """How far the detections of both lie apart, matched by label and box."""
    ours, theirs = (np.load(f"{folder}/{name}.npz") for name in (precision, "mmdetection"))
    apart = np.abs(ours["boxes"][:, None] - theirs["boxes"][None]).max(-1)
    apart[ours["labels"][:, None] != theirs["labels"][None]] = np.inf
    like = apart.argmin(1)
    near = apart[np.arange(len(like)), like] < 0.5
    masks, others = ours["masks"][near], theirs["masks"][like[near]]
    union = (masks | others).sum((1, 2))
    ious = (masks & others).sum((1, 2)) / np.maximum(union, 1)
    scores = np.abs(ours["scores"][near] - theirs["scores"][like[near]])
    return {
        "detections": [len(ours["boxes"]), len(theirs["boxes"])],
        "matched": int(near.sum()),
        "largest box difference, px": float(apart[near, like[near]].max(initial=0)),
        "largest score difference": float(scores.max(initial=0)),
        "smallest mask IoU": float(ious.min(initial=1)),
    }


def work(which: str, folder: str, options) -> None:
    """The process of one side: a prediction a line of input."""
    import resource
    import time

    if which == "weights":
        return save_weights(folder, options)
    if which == "mmdetection":
        predict = mmdetection_predict(folder, options)
    else:
        predict = htc_predict(folder, options, which)
    picture = np.load(f"{folder}/picture.npy")
    for line in sys.stdin:
        if line.strip() != "go":
            break
        began = time.perf_counter()
        found = predict(picture)
        print(f"answer {time.perf_counter() - began}", flush=True)
    boxes, scores, labels, masks = found()
    np.savez(f"{folder}/{which}.npz", boxes=boxes, scores=scores, labels=labels, masks=masks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6
    print(f"answer {peak}", flush=True)


def configuration(options):
    import htc

    name = "htc_without_semantic_r50_fpn_1x_coco" if options.no_semantic else "htc_r50_fpn_1x_coco"
    caffe = ["model.backbone.stride_in_1x1=true"] if options.backbone is not None else []
    # The last stage's masks alone: what mmdetection 3 gives.
    return htc.load_config(name, [*caffe, "model.test.mask_ensemble=last"])


def save_weights(folder: str, options) -> None:
    import paddle

    import htc
    from htc.checkpoint import save_weights

    paddle.set_device("cpu")
    paddle.seed(0)
    model = htc.build_model(configuration(options))
    if options.backbone is not None:
        htc.load_weights(model, options.backbone)
    save_weights(f"{folder}/htc.safetensors", model)
    convert = [sys.executable, "-m", "htc.convert", "--names", "mmdetection"]
    subprocess.run([*convert, f"{folder}/htc.safetensors", f"{folder}/mm.npz"], check=True)


def htc_predict(folder: str, options, precision: str):
    import htc

    predictor = htc.Predictor(
        f"{folder}/htc.safetensors",
        configuration(options),
        device="cpu",
        precision=precision,
        engine="inference",
        threads=options.threads,
    )

    def predict(picture):
        (found,) = predictor(picture)

        def arrays():
            from pycocotools import mask

            return (
                found.boxes,
                found.scores,
                found.labels,
                mask.decode(found.masks).transpose(2, 0, 1).astype(bool),
            )

        return arrays

    return predict


def mmdetection_predict(folder: str, options):
    import mmdet
    import torch
    from mmdet.apis import inference_detector
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    register_all_modules()
    torch.set_num_threads(options.threads)
    name = "htc-without-semantic_r50_fpn_1x_coco" if options.no_semantic else "htc_r50_fpn_1x_coco"
    config = Config.fromfile(Path(mmdet.__file__).parent / f".mim/configs/htc/{name}.py")
    config.model.backbone.init_cfg = None
    if options.backbone is not None:
        config.model.backbone.style = "caffe"
    model = MODELS.build(config.model)
    state = {key: torch.from_numpy(value) for key, value in np.load(f"{folder}/mm.npz").items()
             if value.dtype.kind == "f"}  # fmt: skip
    missing = set(model.state_dict()) - set(state)
    if any("num_batches_tracked" not in key for key in missing):
        raise SystemExit(f"weights that mmdetection misses: {sorted(missing)}")
    model.load_state_dict(state, strict=False)
    model.eval()
    model.cfg = config

    def predict(picture):
        found = inference_detector(model, picture[:, :, ::-1]).pred_instances  # BGR there

        def arrays():
            return (found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy(),
                    found.masks.numpy().astype(bool))  # fmt: skip

        return arrays

    return predict


if __name__ == "__main__":
    main()
