"""Every shipped configuration: its parameters counted in full size, and a step of it in small."""

from __future__ import annotations

import json
import math

import numpy as np
import paddle
import pytest
from reference_cases import REFERENCE, config_of, needs_reference, our_name, reference_module
from small_models import picture, predict, tiny_model, train_step

from htc.config import list_configs, load_config
from htc.model import HTC
from htc.model.resnet import ResNet
from htc.weights.names import MMDETECTION

SIZES = [(64, 96), (50, 70)]

# Trained parameters without the classifier, as published with torchvision (timm: 32x4d).
BACKBONES = {
    (18, 1, 64): 11_689_512 - 513_000,
    (34, 1, 64): 21_797_672 - 513_000,
    (50, 1, 64): 25_557_032 - 2_049_000,
    (101, 1, 64): 44_549_160 - 2_049_000,
    (152, 1, 64): 60_192_808 - 2_049_000,
    (101, 32, 4): 44_177_704 - 2_049_000,
    (101, 64, 4): 83_455_272 - 2_049_000,
}


def full_size(name: str, **changes) -> HTC:
    """The network of a configuration in full size, its parameters not filled in."""
    config = load_config(name, overrides=[f"{key}={value}" for key, value in changes.items()])
    with paddle.LazyGuard():
        return HTC(config)


def count(layer) -> int:
    """Numbers in the parameters, batch norm's statistics left out."""
    return sum(
        math.prod(parameter.shape)
        for name, parameter in layer.named_parameters()
        if not name.endswith(("_mean", "_variance"))
    )


def reference_shapes(preset: str) -> dict[str, list[int]]:
    """The reference's shapes of a preset under our names, linear weights [in, out]."""
    shapes = {}
    for name, shape in json.loads((REFERENCE / "shapes.json").read_text())[preset]:
        translation = MMDETECTION.to_ours(name)
        shapes[translation.name] = shape[::-1] if translation.transpose else shape
    return shapes


def our_shapes(model) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("depth", "groups", "width_per_group"), BACKBONES)
def test_backbones_have_the_published_number_of_parameters(depth, groups, width_per_group):
    model = load_config("htc_r50_fpn_1x_coco").model
    config = model.backbone
    config.depth, config.groups, config.width_per_group = depth, groups, width_per_group
    with paddle.LazyGuard():
        assert count(ResNet(config)) == BACKBONES[depth, groups, width_per_group]


@needs_reference
def test_r50_has_the_reference_s_parameters():
    assert our_shapes(full_size("htc_r50_fpn_1x_coco")) == reference_shapes("r50")


@needs_reference
def test_tiny_has_the_reference_s_parameters():
    _, meta = reference_module().load("tiny_full_infer.npz")
    assert our_shapes(HTC(config_of(meta))) == reference_shapes("tiny")
    assert our_name("rpn_head.rpn_cls.bias") in reference_shapes("tiny")


@needs_reference
@pytest.mark.parametrize("name", list_configs())
def test_every_configuration_has_the_reference_s_parameters(name):
    """Heads by name and shape as the reference's R50 has them, but for the parts switched off."""
    if name in ("htc_demo", "htc_r50_fpn_coco100"):
        pytest.skip("thinner than any in the reference")
    model = full_size(name)
    config = model.config
    expected = {
        key: shape
        for key, shape in reference_shapes("r50").items()
        if not key.startswith(("backbone.", "fpn.lateral_convs"))
    }
    if not config.semantic.enabled:
        expected = {k: s for k, s in expected.items() if not k.startswith("semantic_head.")}
    if not config.cascade.mask_info_flow:
        expected = {k: s for k, s in expected.items() if ".flow." not in k}
    if name.startswith("mask_rcnn"):
        expected = {k: s for k, s in expected.items() if not k.startswith(LATER_STAGES)}
        expected["box_heads.0.deltas.weight"] = [1024, 4 * 80]
        expected["box_heads.0.deltas.bias"] = [4 * 80]
    ours = {
        key: shape
        for key, shape in our_shapes(model).items()
        if not key.startswith(("backbone.", "fpn.lateral_convs"))
    }
    assert ours == expected
    backbone = config.backbone
    published = BACKBONES[backbone.depth, backbone.groups, backbone.width_per_group]
    assert count(model.backbone) == published + offsets(backbone)
    lateral = [conv.weight.shape[1] for conv in model.fpn.lateral_convs]
    assert lateral == [256, 512, 1024, 2048]


LATER_STAGES = ("box_heads.1", "box_heads.2", "mask_heads.1", "mask_heads.2")


def offsets(backbone) -> int:
    """Parameters of the offset convolutions: 3x3, from the block's width to 2 * 9, with bias."""
    blocks = {1: 3, 2: 4, 3: 23, 4: 3}
    widths = {t: backbone.width * 2 ** (t - 1) * 4 // 64 * backbone.groups for t in blocks}
    return sum(blocks[t] * (widths[t] * 9 * 18 + 18) for t in backbone.deformable_stages)


@pytest.mark.parametrize("name", list_configs())
def test_every_configuration_trains_and_predicts(name):
    """With its own structure, in thinner layers."""
    config = load_config(name, overrides=["num_classes=3", "num_semantic_classes=5"])
    model = config.model
    model.backbone.width = 16
    model.fpn.channels = model.rpn.channels = model.semantic.channels = 8
    model.box_head.channels, model.mask_head.channels = 16, 8
    model.rpn.train_pre_nms = model.rpn.train_post_nms = 40
    model.rpn.test_pre_nms = model.rpn.test_post_nms = 40
    model.cascade.sample_size = 16
    model.test.score_threshold = 0.0
    paddle.seed(0)
    network = HTC(config)
    train_step(network, SIZES, [picture(*size, 3) for size in SIZES])
    detections = predict(network, SIZES)
    assert all(0 < count <= 100 for count in detections.boxes_num.tolist())
    pyramid = network.fpn(network.backbone(paddle.zeros([2, 3, 64, 96])))
    sides = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert [tuple(level.shape) for level in pyramid] == [(2, 8, *side) for side in sides]


SWITCHES = {
    "no semantic branch": {"semantic": {"enabled": False}},
    "semantic in boxes alone": {"semantic": {"fusion": ["box"]}},
    "semantic in masks alone": {"semantic": {"fusion": ["mask"]}},
    "semantic loss alone": {"semantic": {"fusion": []}},
    "not interleaved": {"cascade": {"interleaved": False}},
    "no mask flow": {"cascade": {"mask_info_flow": False}},
    "no masks": {"mask_head": {"enabled": False}},
    "last mask alone": {"test": {"mask_ensemble": "last"}},
    "one box a class": {"box_head": {"class_agnostic": False}},
    "plain L1": {"box_head": {"smooth_l1_beta": 0}, "rpn": {"smooth_l1_beta": 0}},
    "all anchors": {"rpn": {"inside_only": False}},
    "two stages": {"cascade": {"stages": [{"iou_threshold": 0.5}, {"iou_threshold": 0.6}]}},
    "batch statistics": {"backbone": {"norm_eval": False, "frozen_stages": -1}},
    "all frozen": {"backbone": {"frozen_stages": 4}},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_trains_and_predicts(switch):
    changes = {"test": {}} | SWITCHES[switch]
    changes["test"] = {"score_threshold": 0.0} | changes["test"]
    model = tiny_model(**changes)
    losses = train_step(model, SIZES, [picture(*size, 3) for size in SIZES])
    detections = predict(model, SIZES)
    assert detections.boxes_num.tolist() == [10, 10]
    assert ("loss_semantic" in losses) == model.config.semantic.enabled
    assert ("loss_mask_stage0" in losses) == model.config.mask_head.enabled
    assert (detections.mask_probs is None) == (not model.config.mask_head.enabled)


def test_mask_ensembles_differ():
    models = [tiny_model(test={"mask_ensemble": ensemble}) for ensemble in ("mean", "last")]
    mean, last = (predict(model, SIZES).mask_probs.numpy() for model in models)
    assert mean.shape == last.shape and len(mean) and np.abs(mean - last).max() > 1e-6


def test_stride_in_the_1x1_convolution():
    config = load_config("htc_r50_fpn_1x_coco").model.backbone
    config.width = 4
    config.width_per_group = 64
    config.stride_in_1x1 = True
    block = ResNet(config).layer2[0]
    assert list(block.conv1._stride) == [2, 2] and list(block.conv2._stride) == [1, 1]
    config.stride_in_1x1 = False
    block = ResNet(config).layer2[0]
    assert list(block.conv1._stride) == [1, 1] and list(block.conv2._stride) == [2, 2]


def test_a_small_start_says_nothing_yet():
    """Even masks and classes, and nothing fused: their losses are those of a coin and a die."""
    sizes = [(96, 96)]
    losses = {}
    for small_start in (False, True):
        model = tiny_model(small_start=small_start)
        losses[small_start] = train_step(model, sizes, [picture(96, 96, 3)])
    for stage, weight in enumerate((1, 0.5, 0.25)):
        mask = float(losses[True][f"loss_mask_stage{stage}"])
        assert mask == pytest.approx(weight * np.log(2), rel=0.02)
    # 0.2 is the weight of this loss; every pixel of the picture has a class.
    assert float(losses[True]["loss_semantic"]) == pytest.approx(0.2 * np.log(5), rel=0.02)
    assert float(losses[False]["loss_semantic"]) > 0.205 * np.log(5)
