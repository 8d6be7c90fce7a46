"""Whose names a file has, and its tensors under ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from htc.weights.names import (
    MMDETECTION,
    MMDETECTION_ONE_STAGE,
    OURS,
    PADDLE_RESNET,
    RESNET,
    Translation,
)
from htc.weights.paddle_names import PADDLEDETECTION
from htc.weights.tensors import LazyTensor, WeightError

SOURCES = (OURS, MMDETECTION, MMDETECTION_ONE_STAGE, PADDLEDETECTION, RESNET, PADDLE_RESNET)

# Beside the weights in honest files, of no use here: counters of batch norm, the classifier of an
# ImageNet model, mmcv's copies of averaged weights, constants of the data pipeline.
_IGNORED = re.compile(
    r".*\.num_batches_tracked"
    r"|(backbone\.)?(fc|classifier|head|head\.fc|last_linear)\.(weight|bias)"
    r"|ema_.*|data_preprocessor\..*"
)
_MMDETECTION_1 = re.compile(r"(bbox_head|mask_head)(\.\d+)?\.(fc_cls|shared_fcs|convs)\b.*")


@dataclass
class Translated:
    """A file's tensors under our names."""

    source: str
    tensors: dict[str, LazyTensor] = field(default_factory=dict)
    file_names: dict[str, str] = field(default_factory=dict)  # ours -> the file's
    unknown: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def translate(tensors: dict[str, LazyTensor]) -> Translated:
    """Finds the project whose names fit most of the tensors, and renames them.

    Raises:
        WeightError: no names are known, or two tensors would get the same name.
    """
    relevant = [name for name in tensors if not _IGNORED.fullmatch(name)]
    if any(_MMDETECTION_1.fullmatch(name) for name in relevant):
        raise WeightError(
            "has the names of mmdetection 1.x, whose class order and boxes differ: convert it with"
            " mmdetection's tools/model_converters/upgrade_model_version.py first"
        )
    found = {source: _match(source, relevant) for source in SOURCES}
    source = max(SOURCES, key=lambda candidate: len(found[candidate]))
    if not found[source]:
        shown = ", ".join(relevant[:4]) or "none"
        raise WeightError(
            f"has names of no known project (such as {shown}); known are those of mmdetection 2.x"
            " and 3.x, torchvision, timm, paddle.vision, PaddleDetection and this package"
        )
    result = Translated(source.title)
    for name, tensor in tensors.items():
        translation = found[source].get(name)
        if translation is None:
            (result.ignored if _IGNORED.fullmatch(name) else result.unknown).append(name)
        elif translation.name in result.tensors:
            raise WeightError(f"two tensors are {translation.name}: one of them is {name!r}")
        else:
            result.tensors[translation.name] = swapped(tensor) if translation.transpose else tensor
            result.file_names[translation.name] = name
    return result


def _match(source, names: Iterable[str]) -> dict[str, Translation]:
    pairs = ((name, source.to_ours(name)) for name in names)
    return {name: translation for name, translation in pairs if translation is not None}


def swapped(tensor: LazyTensor) -> LazyTensor:
    """The weight of a linear layer with its two axes swapped."""
    if len(tensor.shape) != 2:
        return tensor  # reported as a shape mismatch
    return LazyTensor(
        tensor.shape[::-1], tensor.dtype, lambda: np.ascontiguousarray(tensor.read().T)
    )


def to_mmdetection(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under our names -> the same under mmdetection's, linear weights as PyTorch has them.

    A model with one stage gets the names of Mask R-CNN there.

    Raises:
        WeightError: a name is not one of ours.
    """
    several = any(re.match(r"(box|mask)_heads\.[1-9]", name) for name in arrays)
    names = MMDETECTION if several else MMDETECTION_ONE_STAGE
    renamed = {}
    for name, array in arrays.items():
        translation = names.from_ours(name)
        if translation is None:
            raise WeightError(f"{name!r} has no name in mmdetection")
        renamed[translation.name] = (
            np.ascontiguousarray(array.T) if translation.transpose else array
        )
    return renamed
