"""What a user should know about a file beyond names and shapes."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from htc.weights.names import PADDLE_RESNET, RESNET
from htc.weights.paddle_names import PADDLEDETECTION, REPRODUCTION_NOTE
from htc.weights.reading import WeightFile
from htc.weights.report import WeightReport
from htc.weights.translating import Translated

# SHA-256 of the float32 stem (conv1.weight) of ImageNet models whose stages stride in the first 1x1
# convolution, which neither names nor shapes show.
STRIDE_IN_1X1_STEMS = {
    "63132d4ebd1e202e14ec8a1f50541069d05629cb34312e95a6888be492b65b14": "the Keras ResNet-50",
}


def origin_notes(
    model, file: WeightFile, translated: Translated, values: dict[str, np.ndarray]
) -> list[str]:
    """Notes on stride style, colour order, box coding and values that are not finite."""
    notes = []
    stem = values.get("backbone.conv1.weight")
    if stem is not None:
        notes += _stride_notes(model, translated, stem)
    config_text = file.metadata.get("cfg", "") or file.metadata.get("config", "")
    if re.search(r"(bgr_to_rgb|to_rgb)\s*=\s*False", config_text):
        notes.append(
            "trained on BGR pictures (its config says so): pictures here are RGB, and data.mean and"
            " data.std must be the file's; its predictions will be poor as they are"
        )
    if re.search(r"style\s*=\s*['\"]caffe['\"]", config_text) and stride_in_1x1(model) is False:
        notes.append(
            "its config has the stride in the first 1x1 convolution (caffe style): set"
            " model.backbone.stride_in_1x1=true"
        )
    if translated.source == PADDLEDETECTION.title and "box_heads.2.deltas.weight" in values:
        notes.append(REPRODUCTION_NOTE)
    broken = [name for name, array in values.items() if not np.isfinite(array).all()]
    if broken:
        notes.append(f"values that are not finite in {len(broken)} tensors, such as {broken[0]}")
    return notes


def _stride_notes(model, translated: Translated, stem: np.ndarray) -> list[str]:
    here = stride_in_1x1(model)
    digest = hashlib.sha256(np.ascontiguousarray(stem, np.float32).tobytes()).hexdigest()
    known = STRIDE_IN_1X1_STEMS.get(digest)
    if known and here is not True:
        return [
            f"these are the weights of {known}, whose stages stride in the first 1x1 convolution,"
            " the model's do not: set model.backbone.stride_in_1x1=true, or it will not work"
        ]
    if known:
        return [f"these are the weights of {known}, stride in the first 1x1 convolution: as here"]
    if translated.source in (RESNET.title, PADDLE_RESNET.title) and here is True:
        return [
            "ResNets of torchvision, timm and paddle.vision stride in the 3x3 convolution, this"
            " model in the first 1x1: set model.backbone.stride_in_1x1=false unless you know better"
        ]
    return []


def stride_in_1x1(model) -> bool | None:
    """Where a model's bottlenecks have their stride; None where it has no bottlenecks."""
    try:
        block = model.backbone.layer2[0]
        if not hasattr(block, "conv3"):
            return None
        return list(block.conv1._stride) == [2, 2]
    except (AttributeError, TypeError, IndexError, KeyError):
        return None


def shape_notes(report: WeightReport) -> list[str]:
    """One line for another number of classes, one for a backbone alone."""
    notes = []
    instance = [m for m in report.mismatched if re.match(r"box_heads\.\d+\.class_logits", m.name)]
    semantic = [m for m in report.mismatched if m.name == "semantic_head.logits.bias"]
    if instance:
        theirs, ours = instance[0].file_shape[-1] - 1, instance[0].model_shape[-1] - 1
        if theirs != ours:
            notes.append(
                f"{theirs} classes in the file, {ours} here: layers that depend on the number keep"
                " their fresh values and must be trained"
            )
    if semantic:
        notes.append(
            f"{semantic[0].file_shape[0]} semantic classes in the file,"
            f" {semantic[0].model_shape[0]} here: the semantic logits keep their fresh values"
        )
    if report.loaded and all(name.startswith("backbone.") for name in report.loaded):
        notes.append("the backbone alone was loaded: the rest must be trained")
    return notes
