"""Keys that contradict each other."""

from __future__ import annotations

from htc.config.parsing import ConfigError
from htc.config.run_schema import Config


def check_consistency(config: Config) -> None:
    """Raises ConfigError for values that are each allowed but cannot stand together."""
    for problem in _problems(config):
        raise ConfigError(f"{config.name or 'config'}: {problem}")


def _problems(config: Config):
    model = config.model
    backbone = model.backbone
    bottleneck_only = {
        "groups": backbone.groups != 1,
        "width_per_group": backbone.width_per_group != 64,
        "deformable_stages": bool(backbone.deformable_stages),
        "stride_in_1x1": backbone.stride_in_1x1,
    }
    if backbone.depth < 50:
        for name, used in bottleneck_only.items():
            if used:
                yield (
                    f"model.backbone.{name} needs bottleneck blocks:"
                    f" model.backbone.depth of at least 50, got {backbone.depth}"
                )
    if not model.cascade.stages:
        yield "model.cascade.stages: expected at least one stage, got none"
    if not model.anchors.ratios:
        yield "model.anchors.ratios: expected at least one ratio, got none"
    if len(model.anchors.strides) != 5:
        yield (
            "model.anchors.strides: expected 5 strides, one for each of P2..P6, got"
            f" {len(model.anchors.strides)}"
        )
    if model.rpn.negative_iou > model.rpn.positive_iou:
        yield (
            f"model.rpn.negative_iou ({model.rpn.negative_iou}) is above"
            f" model.rpn.positive_iou ({model.rpn.positive_iou})"
        )
    channels = model.fpn.channels
    flows = model.mask_head.enabled and model.cascade.mask_info_flow
    if flows and len(model.cascade.stages) > 1 and model.mask_head.channels != channels:
        yield (
            "model.mask_head.channels: with model.cascade.mask_info_flow the mask features are"
            f" added to the FPN's, expected {channels} (model.fpn.channels), got"
            f" {model.mask_head.channels}"
        )
    semantic = model.semantic
    if semantic.enabled and semantic.fusion and semantic.channels != channels:
        yield (
            "model.semantic.channels: the fused feature is added to the FPN's, expected"
            f" {channels} (model.fpn.channels), got {semantic.channels}"
        )
    both_pooled = semantic.enabled and "box" in semantic.fusion
    if both_pooled and model.mask_head.roi_size != 2 * model.box_head.roi_size:
        yield (
            "model.mask_head.roi_size: the semantic feature is pooled to it and halved for the"
            f" boxes, expected {2 * model.box_head.roi_size} (twice model.box_head.roi_size),"
            f" got {model.mask_head.roi_size}"
        )
    if config.data.pad_divisor % 32:
        yield f"data.pad_divisor: expected a multiple of 32, got {config.data.pad_divisor}"
    if not config.data.train_short_sides:
        yield "data.train_short_sides: expected at least one length, got none"
    if config.data.short_side_mode == "range" and len(config.data.train_short_sides) != 2:
        yield (
            "data.train_short_sides: with data.short_side_mode range, expected the shortest and the"
            f" longest, got {len(config.data.train_short_sides)} values"
        )
    if list(config.train.steps) != sorted(set(config.train.steps)):
        yield f"train.steps: expected rising epochs, got {list(config.train.steps)}"
    if "mask" not in config.eval.metrics and config.eval.best == "mask":
        yield "eval.best: mask AP is not among eval.metrics; set eval.best to box"
    if not model.mask_head.enabled and "mask" in config.eval.metrics:
        yield "eval.metrics: mask AP needs model.mask_head.enabled; set eval.metrics to [box]"
