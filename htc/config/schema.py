"""Every key of a configuration, with its type, default, limits and meaning.

The defaults are those of HTC R50-FPN 1x on COCO (K. Chen et al., CVPR 2019, arXiv 1901.07518, as
published with mmdetection's configs/htc), so a shipped file states only where it differs.
Sequences are tuples: a YAML list is turned into one.
"""

# ruff: noqa: RUF009  (key() returns a dataclasses.field)
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


def key(
    default: Any,
    doc: str,
    *,
    choices: tuple = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
) -> Any:
    """A field, what it means, and the values that it (in a tuple, each item) may take."""
    limits = {"choices": choices, "minimum": minimum, "maximum": maximum, "above": above}
    metadata = {"doc": doc, **limits}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class BackboneConfig:
    """ResNet or ResNeXt, stages 2-5 out."""

    depth: int = key(50, "layers of the ResNet", choices=(18, 34, 50, 101, 152))
    width: int = key(
        64, "channels of the stem; stage t has width * 2**t in its 3x3 convs", minimum=1
    )
    groups: int = key(1, "ResNeXt cardinality: 32 in 32x4d, 64 in 64x4d", minimum=1)
    width_per_group: int = key(64, "ResNeXt width: 4 in 32x4d and 64x4d", minimum=1)
    stride_in_1x1: bool = key(
        False,
        "true: a stage's stride lies in its first 1x1 conv (Caffe, Keras, PaddleDetection's variant"
        " a); false: in the 3x3 (torchvision, mmdetection's pytorch style)",
    )
    frozen_stages: int = key(
        1, "-1 trains all; 0 freezes the stem; t also stages 1..t", minimum=-1, maximum=4
    )
    deformable_stages: tuple[int, ...] = key(
        (), "stages (1..4) with deformable 3x3 convs; c3-c5 is [2, 3, 4]", minimum=1, maximum=4
    )
    norm_eval: bool = key(True, "batch norm always uses its stored statistics")


@dataclass
class FPNConfig:
    channels: int = key(256, "channels of every pyramid level", minimum=1)


@dataclass
class AnchorConfig:
    scale: float = key(8.0, "anchor side over stride, for ratio 1", above=0)
    ratios: tuple[float, ...] = key((0.5, 1.0, 2.0), "height over width, in this order", above=0)
    strides: tuple[int, ...] = key((4, 8, 16, 32, 64), "pixels between cells, P2..P6", minimum=1)


@dataclass
class RPNConfig:
    """Region proposal network: losses and proposals."""

    channels: int = key(256, "channels of the 3x3 conv", minimum=1)
    inside_only: bool = key(True, "train on anchors inside the un-padded picture alone")
    positive_iou: float = key(0.7, "an anchor at or above it is positive", minimum=0, maximum=1)
    negative_iou: float = key(0.3, "an anchor below it is negative", minimum=0, maximum=1)
    min_positive_iou: float = key(
        0.3, "lowest IoU at which a ground truth takes its best anchors", minimum=0, maximum=1
    )
    sample_size: int = key(256, "anchors sampled a picture", minimum=1)
    positive_fraction: float = key(0.5, "largest share of positives", minimum=0, maximum=1)
    ignore_iof: float = key(
        -1.0,
        "an anchor with this share of its area in one crowd region is not sampled; -1: crowd"
        " regions play no part, as in mmdetection",
    )
    smooth_l1_beta: float = key(1 / 9, "where SmoothL1 turns linear; 0 is plain L1", minimum=0)
    train_pre_nms: int = key(2000, "proposals a level before NMS, in training", minimum=1)
    train_post_nms: int = key(2000, "proposals a picture after NMS, in training", minimum=1)
    test_pre_nms: int = key(1000, "proposals a level before NMS, at test", minimum=1)
    test_post_nms: int = key(1000, "proposals a picture after NMS, at test", minimum=1)
    nms_iou: float = key(0.7, "IoU above which NMS suppresses", minimum=0, maximum=1)
    min_box_size: float = key(0.0, "proposals not larger than it (px) are dropped", minimum=0)


@dataclass
class SemanticConfig:
    """Semantic segmentation branch (section 3.3 of the paper)."""

    enabled: bool = key(True, "build the branch; it needs semantic maps in training")
    fusion: tuple[str, ...] = key(
        ("box", "mask"), "heads that get the fused semantic feature", choices=("box", "mask")
    )
    channels: int = key(256, "channels of the branch; those of the FPN when fused", minimum=1)
    num_convs: int = key(4, "3x3 convs", minimum=0)
    ignore_label: int = key(255, "label without loss; padding has it too", minimum=0, maximum=255)
    loss_weight: float = key(0.2, "weight of its loss", minimum=0)


@dataclass
class StageConfig:
    """One stage of the cascade."""

    iou_threshold: float = key(
        0.5, "a RoI at or above it is positive, else negative", minimum=0, maximum=1
    )
    delta_stds: tuple[float, float, float, float] = key(
        (0.1, 0.1, 0.2, 0.2), "box deltas (dx, dy, dw, dh) are divided by these", above=0
    )
    loss_weight: float = key(1.0, "weight of the stage's box and mask losses", minimum=0)


def _three_stages() -> tuple[StageConfig, ...]:
    return (
        StageConfig(0.5, (0.1, 0.1, 0.2, 0.2), 1.0),
        StageConfig(0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
        StageConfig(0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
    )


@dataclass
class CascadeConfig:
    """The stages and how they are wired (sections 3.1 and 3.2 of the paper)."""

    stages: tuple[StageConfig, ...] = dataclasses.field(
        default_factory=_three_stages,
        metadata={"doc": "the stages, first to last; one alone is Mask R-CNN"},
    )
    interleaved: bool = key(True, "a stage's mask head trains on the boxes that stage has refined")
    mask_info_flow: bool = key(True, "mask features of stage t - 1 flow into stage t")
    sample_size: int = key(512, "RoIs sampled a picture and stage", minimum=1)
    positive_fraction: float = key(0.25, "largest share of positives", minimum=0, maximum=1)
    match_low_quality: bool = key(
        True,
        "a RoI that is some ground truth's best (and at or above the threshold) is taken by it",
    )
    ignore_iof: float = key(-1.0, "as in rpn, for RoIs")


@dataclass
class BoxHeadConfig:
    roi_size: int = key(7, "bins of RoIAlign, each way", minimum=1)
    channels: int = key(1024, "outputs of each of the two fully connected layers", minimum=1)
    class_agnostic: bool = key(True, "one box for all classes, not one a class")
    smooth_l1_beta: float = key(1.0, "where SmoothL1 turns linear; 0 is plain L1", minimum=0)


@dataclass
class MaskHeadConfig:
    enabled: bool = key(True, "predict masks; false is a box detector")
    roi_size: int = key(14, "bins of RoIAlign, each way; the mask has twice as many", minimum=1)
    channels: int = key(
        256, "channels of the convs; those of the FPN with mask_info_flow", minimum=1
    )
    num_convs: int = key(4, "3x3 convs", minimum=1)


@dataclass
class TestConfig:
    """From scores to detections."""

    __test__ = False  # not a test, whatever pytest makes of the name

    score_threshold: float = key(0.001, "detections not above it are dropped", minimum=0, maximum=1)
    nms_iou: float = key(0.5, "IoU above which NMS suppresses, per class", minimum=0, maximum=1)
    max_detections: int = key(100, "best detections kept a picture", minimum=1)
    mask_ensemble: str = key(
        "mean",
        "mean of the stages' masks (the paper, mmdetection 2.x) or the last (mmdetection 3.x)",
        choices=("mean", "last"),
    )
    mask_threshold: float = key(0.5, "a pixel at or above it is mask", minimum=0, maximum=1)


@dataclass
class ModelConfig:
    backbone: BackboneConfig = key(BackboneConfig, "ResNet or ResNeXt")
    fpn: FPNConfig = key(FPNConfig, "feature pyramid network")
    anchors: AnchorConfig = key(AnchorConfig, "anchors of the region proposal network")
    rpn: RPNConfig = key(RPNConfig, "region proposal network")
    semantic: SemanticConfig = key(SemanticConfig, "semantic segmentation branch")
    cascade: CascadeConfig = key(CascadeConfig, "stages of the cascade")
    box_head: BoxHeadConfig = key(BoxHeadConfig, "box head of every stage")
    mask_head: MaskHeadConfig = key(MaskHeadConfig, "mask head of every stage")
    test: TestConfig = key(TestConfig, "from scores to detections")
    small_start: bool = key(
        False,
        "mask and semantic logits, and what the heads add to the pyramid's features, start near 0:"
        " for training from random weights; false: as the reference",
    )
