"""Runs the model on the stored cases of the reference implementation and records what it computes.

The cases lie in a folder `shared/reference` beside the checkout, or under the folder that the
environment variable HTC_SHARED names; without it, the tests that need them are skipped.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import paddle
import pytest

import htc
from htc.config import Config, config_from_dict
from htc.model import HTC, GroundTruth
from htc.model.targets import choose_evenly
from htc.weights.names import MMDETECTION

SHARED = Path(os.environ.get("HTC_SHARED", Path(__file__).resolve().parents[3] / "shared"))
REFERENCE = SHARED / "reference"

needs_reference = pytest.mark.skipif(
    not (REFERENCE / "reference.py").exists(),
    reason=f"no reference tensors at {REFERENCE}; set HTC_SHARED to the folder that holds them",
)


def reference_module():
    """reference.py of the folder: load(name), weights(preset)."""
    spec = importlib.util.spec_from_file_location("htc_reference", REFERENCE / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_of(meta: dict) -> Config:
    """Our configuration for the reference's model config and budgets, as a case's meta has them."""
    if "model_cfg" not in meta:  # the float64 twin of the training case
        meta = reference_module().load("tiny_full_train_b2.npz")[1]
    stock = meta["model_cfg"]
    roi, semantic = stock["roi_head"], stock["roi_head"].get("semantic_head")
    boxes, masks = roi["bbox_head"], roi["mask_head"]
    train, test = stock["train_cfg"], stock["test_cfg"]
    fusion = roi.get("semantic_fusion", ("bbox", "mask")) if semantic else ()
    model = {
        "backbone": {
            "depth": stock["backbone"]["depth"],
            "frozen_stages": stock["backbone"]["frozen_stages"],
        },
        "fpn": {"channels": stock["neck"]["out_channels"]},
        "rpn": {
            "channels": stock["rpn_head"]["feat_channels"],
            "sample_size": train["rpn"]["sampler"]["num"],
            "train_pre_nms": train["rpn_proposal"]["nms_pre"],
            "train_post_nms": train["rpn_proposal"]["max_per_img"],
            "test_pre_nms": test["rpn"]["nms_pre"],
            "test_post_nms": test["rpn"]["max_per_img"],
        },
        "semantic": {
            "enabled": semantic is not None,
            "fusion": [{"bbox": "box"}.get(name, name) for name in fusion],
            "channels": semantic["conv_out_channels"] if semantic else 64,
        },
        "cascade": {
            "interleaved": roi["interleaved"],
            "mask_info_flow": roi["mask_info_flow"],
            "sample_size": train["rcnn"][0]["sampler"]["num"],
        },
        "box_head": {"channels": boxes[0]["fc_out_channels"]},
        "mask_head": {"channels": masks[0]["conv_out_channels"]},
        "test": {
            "score_threshold": test["rcnn"]["score_thr"],
            "max_detections": test["rcnn"]["max_per_img"],
        },
    }
    keys = {"num_classes": boxes[0]["num_classes"], "model": model}
    if semantic:
        keys["num_semantic_classes"] = semantic["num_classes"]
    return config_from_dict(keys)


def our_name(name: str) -> str:
    """The reference's name of a parameter -> ours."""
    return MMDETECTION.to_ours(name).name


def our_array(name: str, array: np.ndarray) -> np.ndarray:
    """The reference's array of that parameter -> ours: Paddle's Linear is [in, out]."""
    return array.T if MMDETECTION.to_ours(name).transpose else array


@lru_cache
def weight_file(preset: str) -> Path:
    """The reference's weights of a preset by its own names, in a file."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    path = Path(folder) / f"{preset}.npz"
    np.savez(path, **reference_module().weights(preset))
    return path


def build(meta: dict, dtype: str = "float32") -> HTC:
    """The model of a case, with the reference's weights and evenly spaced sampling."""
    model = HTC(config_of(meta), choose=choose_evenly)
    if dtype != "float32":
        model.to(dtype=dtype)
    report = htc.load_weights(model, weight_file(meta["preset"]))
    assert not report.missing and not report.mismatched
    return model


def ground_truth_of(tensors: dict) -> list[GroundTruth]:
    """The annotations of a training case."""
    pictures = []
    while f"gt{len(pictures)}_boxes" in tensors:
        prefix = f"gt{len(pictures)}_"
        semantic = tensors.get(prefix + "seg")
        pictures.append(
            GroundTruth(
                boxes=paddle.to_tensor(tensors[prefix + "boxes"]),
                labels=paddle.to_tensor(tensors[prefix + "labels"]),
                masks=paddle.to_tensor(tensors[prefix + "masks"].astype("uint8")),
                semantic=None if semantic is None else paddle.to_tensor(semantic),
                picture_id=len(pictures),
            )
        )
    return pictures


class Recorder:
    """Keeps the arguments and results of functions and layers while the model runs.

    calls["name"] is a list of (arguments, result), tensors as arrays.
    """

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.calls = {}

    def watch(self, owner, attribute: str, name: str | None = None):
        """Record the calls of a module's function or an object's method, such as forward."""
        original = getattr(owner, attribute)
        calls = self.calls.setdefault(name or attribute, [])

        def wrapper(*args, **kwargs):
            result = original(*args, **kwargs)
            calls.append((to_arrays(args), to_arrays(result)))
            return result

        self.monkeypatch.setattr(owner, attribute, wrapper)

    def results(self, name: str) -> list:
        return [result for _, result in self.calls[name]]

    def arguments(self, name: str, index: int) -> list:
        return [args[index] for args, _ in self.calls[name]]


def to_arrays(value):
    """Tensors, also inside tuples, lists and named tuples, as NumPy arrays."""
    if isinstance(value, paddle.Tensor):
        return value.numpy()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(to_arrays, value))
    if isinstance(value, (tuple, list)):
        return [to_arrays(item) for item in value]
    return value


class Comparison:
    """Compares arrays with the stored ones of a case, and remembers how far the worst was off.

    Tolerance: 1e-4 of the tensor's largest magnitude, or five times the rounding noise stored with
    it (the difference of two runs of the reference itself), whichever is larger.
    """

    def __init__(self, tensors: dict, meta: dict):
        self.tensors, self.noise = tensors, meta.get("noise_vs_alt_kernels", {})
        self.worst, self.worst_key, self.compared = 0.0, None, []

    def close(self, key: str, ours: np.ndarray, noise: float | None = None):
        """Assert that ours is the stored tensor within tolerance, where one is stored."""
        if key not in self.tensors:
            return
        stored = self.tensors[key]
        assert ours.shape == stored.shape, (key, ours.shape, stored.shape)
        self.compared.append(key)
        if not stored.size:
            return
        largest = np.abs(stored).max()
        noise = self.noise.get(key, 0.0) if noise is None else noise
        error = np.abs(ours.astype("float64") - stored).max()
        assert error <= max(1e-4 * largest, 5 * noise), (key, error, largest, noise)
        relative = error / max(largest, 1e-12)
        if relative > self.worst:
            self.worst, self.worst_key = relative, key

    def equal(self, key: str, ours: np.ndarray):
        """Assert that ours is exactly the stored tensor, where one is stored."""
        if key not in self.tensors:
            return
        self.compared.append(key)
        np.testing.assert_array_equal(ours, self.tensors[key], err_msg=key)
