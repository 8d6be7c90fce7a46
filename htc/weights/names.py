"""Parameter names of other projects, and ours.

Ours are torchvision's for the backbone, plain words for the rest, Paddle's for the leaves of batch
norm (`_mean`, `_variance`); linear weights are [in, out] as in Paddle, theirs [out, in] in PyTorch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CONV = {"weight": "weight", "bias": "bias"}
NORM = {**CONV, "_mean": "running_mean", "_variance": "running_var"}
PADDLE_NORM = {leaf: leaf for leaf in NORM}


@dataclass(frozen=True)
class Translation:
    """One tensor's name in the other world, and whether its two axes swap on the way."""

    name: str
    transpose: bool = False


class NameMap:
    """Rows of (our layer, their layer, leaves {ours: theirs}, linear weights swap), both ways.

    A letter in braces, such as `{i}`, is a number, the same on both sides.
    """

    def __init__(self, title: str, rows: list[tuple[str, str, dict[str, str], bool]]):
        self.title = title
        self._to_ours = []
        self._from_ours = []
        for ours, theirs, leaves, swaps in rows:
            for our_leaf, their_leaf in leaves.items():
                swap = swaps and our_leaf == "weight"
                mine, other = f"{ours}.{our_leaf}", f"{theirs}.{their_leaf}"
                self._to_ours.append((_pattern(other), mine, swap))
                self._from_ours.append((_pattern(mine), other, swap))

    def to_ours(self, name: str) -> Translation | None:
        """Our name for theirs; None where there is none."""
        return _first(self._to_ours, name)

    def from_ours(self, name: str) -> Translation | None:
        """Their name for ours; None where there is none."""
        return _first(self._from_ours, name)


def _pattern(template: str) -> re.Pattern:
    return re.compile(re.sub(r"\\\{([a-z])\\\}", r"(?P<\1>\\d+)", re.escape(template)))


def _first(rules, name: str) -> Translation | None:
    for pattern, template, swap in rules:
        match = pattern.fullmatch(name)
        if match:
            return Translation(template.format(**match.groupdict()), swap)
    return None


# Backbone layers are the same words in torchvision, timm, mmdetection and here.
def _backbone(prefix: str, norm: dict[str, str] = NORM) -> list:
    block = f"{prefix}layer{{s}}.{{b}}"
    return [
        ("backbone.conv1", f"{prefix}conv1", CONV, False),
        ("backbone.bn1", f"{prefix}bn1", norm, False),
        ("backbone.layer{s}.{b}.conv{c}", f"{block}.conv{{c}}", CONV, False),
        ("backbone.layer{s}.{b}.bn{c}", f"{block}.bn{{c}}", norm, False),
        ("backbone.layer{s}.{b}.downsample.0", f"{block}.downsample.0", CONV, False),
        ("backbone.layer{s}.{b}.downsample.1", f"{block}.downsample.1", norm, False),
        ("backbone.layer{s}.{b}.conv{c}.offset", f"{block}.conv{{c}}.conv_offset", CONV, False),
    ]


def _mmdetection(stage: str) -> list:
    """Rows for heads called `<head><stage>` there: ".{t}" in a cascade, "" in Mask R-CNN."""
    ours = "{t}" if stage else "0"
    box, mask = f"roi_head.bbox_head{stage}", f"roi_head.mask_head{stage}"
    semantic = "roi_head.semantic_head"
    return [
        *_backbone("backbone."),
        ("fpn.lateral_convs.{i}", "neck.lateral_convs.{i}.conv", CONV, False),
        ("fpn.output_convs.{i}", "neck.fpn_convs.{i}.conv", CONV, False),
        ("rpn.conv", "rpn_head.rpn_conv", CONV, False),
        ("rpn.objectness", "rpn_head.rpn_cls", CONV, False),
        ("rpn.deltas", "rpn_head.rpn_reg", CONV, False),
        ("semantic_head.lateral_convs.{i}", f"{semantic}.lateral_convs.{{i}}.conv", CONV, False),
        ("semantic_head.convs.{i}", f"{semantic}.convs.{{i}}.conv", CONV, False),
        ("semantic_head.embedding", f"{semantic}.conv_embedding.conv", CONV, False),
        ("semantic_head.logits", f"{semantic}.conv_logits", CONV, False),
        (f"box_heads.{ours}.fc1", f"{box}.shared_fcs.0", CONV, True),
        (f"box_heads.{ours}.fc2", f"{box}.shared_fcs.1", CONV, True),
        (f"box_heads.{ours}.class_logits", f"{box}.fc_cls", CONV, True),
        (f"box_heads.{ours}.deltas", f"{box}.fc_reg", CONV, True),
        (f"mask_heads.{ours}.convs.{{i}}", f"{mask}.convs.{{i}}.conv", CONV, False),
        (f"mask_heads.{ours}.flow", f"{mask}.conv_res.conv", CONV, False),
        (f"mask_heads.{ours}.upsample", f"{mask}.upsample", CONV, False),
        (f"mask_heads.{ours}.logits", f"{mask}.conv_logits", CONV, False),
    ]


MMDETECTION = NameMap("mmdetection", _mmdetection(".{t}"))
MMDETECTION_ONE_STAGE = NameMap("mmdetection, one stage", _mmdetection(""))
RESNET = NameMap("torchvision/timm ResNet", _backbone(""))
PADDLE_RESNET = NameMap("paddle.vision ResNet", _backbone("", PADDLE_NORM))
OURS = NameMap(
    "htc",
    [
        (ours, ours, PADDLE_NORM if leaves is NORM else CONV, False)
        for ours, _, leaves, _ in _mmdetection(".{t}")
    ],
)
