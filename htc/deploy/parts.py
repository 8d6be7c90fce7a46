"""The network cut into parts, each a program of its own, to see where the time goes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F

from htc.deploy.network import inference_settings
from htc.deploy.writing import for_programs
from htc.model.boxes import RoIs
from htc.model.cascade import Features
from htc.model.postprocess import select_detections


class Part(paddle.nn.Layer):
    """A function of tensors that uses a network, as a Layer: lists of tensors in and out."""

    def __init__(self, model, function: Callable):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, tensors):
        return self.function(self.model, *tensors)


def backbone(model, images):
    return model.backbone(images)


def fpn(model, *stages):
    return model.fpn(list(stages))


def rpn(model, image_sizes, *pyramid):
    rois = model.rpn.proposals(model.rpn(list(pyramid)), image_sizes, False)
    return [rois.boxes, rois.boxes_num]


def semantic(model, *pyramid):
    return [model.semantic_head(list(pyramid)).embedding]


def box_stage(t: int) -> Callable:
    def stage(model, image_sizes, boxes, boxes_num, *maps):
        rois = RoIs(boxes, boxes_num)
        logits, deltas = model.box_heads[t](model.box_features(_features(model, maps), rois))
        return [logits, model.decode(t, rois, deltas, image_sizes)]

    return stage


def selection(model, boxes, boxes_num, *stage_logits):
    probs = F.softmax(sum(stage_logits) / len(stage_logits), axis=1)
    found = select_detections(boxes, probs, boxes_num, model.config.test)
    return [found.boxes, found.boxes_num, found.classes]


def masks(model, boxes, boxes_num, classes, *maps):
    features = model.mask_features(_features(model, maps), RoIs(boxes, boxes_num))
    return [model.mask_probs(features, classes)]


def _features(model, maps) -> Features:
    """Of P2 to P5, and the semantic feature where the network has one."""
    has_semantic = model.semantic_head is not None
    return Features(list(maps[:4]), maps[4] if has_semantic else None)


class Program:
    """A part in Paddle Inference. Call `feed`, then `run` as often as wanted, then `results`."""

    def __init__(
        self, model, function: Callable, example: list[np.ndarray], threads: int, precision: str
    ):
        names = [f"input{index}" for index in range(len(example))]
        specs = [
            paddle.static.InputSpec(_open_shape(value), str(value.dtype), name)
            for name, value in zip(names, example, strict=True)
        ]
        part = Part(model, function)
        part.eval()
        with tempfile.TemporaryDirectory() as folder:
            with for_programs(model, precision):
                paddle.jit.save(part, f"{folder}/part", input_spec=[specs])
            (program,) = (
                path for path in Path(folder).iterdir() if path.suffix in (".json", ".pdmodel")
            )
            self._program = paddle.inference.create_predictor(inference_settings(program, threads))
        for name, value in zip(names, example, strict=True):
            self._program.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(value))

    def run(self) -> None:
        self._program.run()

    def results(self) -> list[np.ndarray]:
        return [
            self._program.get_output_handle(name).copy_to_cpu()
            for name in self._program.get_output_names()
        ]


def _open_shape(value: np.ndarray) -> list:
    """Feature maps keep their channels; everything else may change."""
    if value.ndim == 4:
        return [None, value.shape[1], None, None]
    return [None, *value.shape[1:]]
