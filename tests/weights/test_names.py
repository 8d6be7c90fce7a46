"""Names of other projects: every parameter of the reference has exactly one of ours."""

import json

import numpy as np
import pytest

from htc.weights import WeightError
from htc.weights.names import MMDETECTION, MMDETECTION_ONE_STAGE, OURS
from htc.weights.paddle_names import PADDLEDETECTION
from htc.weights.tensors import lazy
from htc.weights.translating import to_mmdetection, translate


@pytest.fixture(params=["tiny", "tinyb", "r50"])
def shapes(request, shared):
    """{reference name: shape} of a preset."""
    presets = json.loads((shared / "reference" / "shapes.json").read_text())
    return {name: tuple(shape) for name, shape in presets[request.param]}


def test_reference_names_map_one_to_one(shapes):
    ours = {name: MMDETECTION.to_ours(name) for name in shapes}
    assert all(ours.values())
    assert len({translation.name for translation in ours.values()}) == len(shapes)
    for name, translation in ours.items():
        assert OURS.to_ours(translation.name).name == translation.name
        back = MMDETECTION.from_ours(translation.name)
        assert (back.name, back.transpose) == (name, translation.transpose)
        linear = ".bbox_head." in name and name.endswith(".weight")
        assert translation.transpose == linear


def test_agreed_names():
    pairs = {
        "backbone.bn1.running_var": "backbone.bn1._variance",
        "backbone.layer3.5.bn2.running_mean": "backbone.layer3.5.bn2._mean",
        "backbone.layer1.0.downsample.1.bias": "backbone.layer1.0.downsample.1.bias",
        "backbone.layer4.2.conv2.conv_offset.weight": "backbone.layer4.2.conv2.offset.weight",
        "neck.lateral_convs.2.conv.weight": "fpn.lateral_convs.2.weight",
        "neck.fpn_convs.0.conv.bias": "fpn.output_convs.0.bias",
        "rpn_head.rpn_conv.weight": "rpn.conv.weight",
        "rpn_head.rpn_cls.bias": "rpn.objectness.bias",
        "rpn_head.rpn_reg.bias": "rpn.deltas.bias",
        "roi_head.semantic_head.lateral_convs.4.conv.bias": "semantic_head.lateral_convs.4.bias",
        "roi_head.semantic_head.convs.3.conv.bias": "semantic_head.convs.3.bias",
        "roi_head.semantic_head.conv_embedding.conv.bias": "semantic_head.embedding.bias",
        "roi_head.semantic_head.conv_logits.weight": "semantic_head.logits.weight",
        "roi_head.bbox_head.2.shared_fcs.0.weight": "box_heads.2.fc1.weight",
        "roi_head.bbox_head.2.shared_fcs.1.bias": "box_heads.2.fc2.bias",
        "roi_head.bbox_head.0.fc_cls.weight": "box_heads.0.class_logits.weight",
        "roi_head.bbox_head.1.fc_reg.weight": "box_heads.1.deltas.weight",
        "roi_head.mask_head.1.convs.3.conv.weight": "mask_heads.1.convs.3.weight",
        "roi_head.mask_head.1.conv_res.conv.weight": "mask_heads.1.flow.weight",
        "roi_head.mask_head.0.upsample.weight": "mask_heads.0.upsample.weight",
        "roi_head.mask_head.0.conv_logits.bias": "mask_heads.0.logits.bias",
    }
    for theirs, ours in pairs.items():
        assert MMDETECTION.to_ours(theirs).name == ours


def test_mask_rcnn_has_no_stage_numbers_in_mmdetection():
    pairs = {
        "roi_head.bbox_head.shared_fcs.0.weight": "box_heads.0.fc1.weight",
        "roi_head.bbox_head.fc_reg.bias": "box_heads.0.deltas.bias",
        "roi_head.mask_head.convs.2.conv.weight": "mask_heads.0.convs.2.weight",
        "roi_head.mask_head.conv_logits.bias": "mask_heads.0.logits.bias",
    }
    for theirs, ours in pairs.items():
        assert MMDETECTION_ONE_STAGE.to_ours(theirs).name == ours
        assert MMDETECTION_ONE_STAGE.from_ours(ours).name == theirs
    translated = translate({theirs: lazy(np.zeros((2, 3), "float32")) for theirs in pairs})
    assert translated.source == "mmdetection, one stage"
    assert set(translated.tensors) == set(pairs.values())


def test_names_of_the_paddle_reproduction():
    pairs = {
        "backbone.conv1.conv1.conv.weight": "backbone.conv1.weight",
        "backbone.conv1.conv1.norm._mean": "backbone.bn1._mean",
        "backbone.res2.0.branch2a.conv.weight": "backbone.layer1.0.conv1.weight",
        "backbone.res2.res2a.branch2a.conv.weight": "backbone.layer1.0.conv1.weight",
        "backbone.res3.res3d.branch2b.norm._variance": "backbone.layer2.3.bn2._variance",
        "backbone.res4.res4b22.branch2c.norm.bias": "backbone.layer3.22.bn3.bias",
        "backbone.res4.res4b.branch2c.norm.bias": "backbone.layer3.1.bn3.bias",
        "backbone.res5.res5a.short.conv.weight": "backbone.layer4.0.downsample.0.weight",
        "backbone.res5.res5a.short.norm.weight": "backbone.layer4.0.downsample.1.weight",
        "backbone.res5.res5a.short.conv.norm._mean": "backbone.layer4.0.downsample.1._mean",
        "res5.res5c.branch2c.conv.weight": "backbone.layer4.2.conv3.weight",
        "neck.lateral_convs.0.conv.weight": "fpn.lateral_convs.0.weight",
        "neck.fpn_convs.3.conv.bias": "fpn.output_convs.3.bias",
        "neck.fpn_inner_res2_sum_lateral.weight": "fpn.lateral_convs.0.weight",
        "neck.fpn_inner_res2_sum.conv.weight": "fpn.lateral_convs.0.weight",
        "neck.fpn_inner_res5_sum.bias": "fpn.lateral_convs.3.bias",
        "neck.fpn_res4_sum.weight": "fpn.output_convs.2.weight",
        "rpn_head.rpn_feat.rpn_conv.weight": "rpn.conv.weight",
        "rpn_head.rpn_rois_score.weight": "rpn.objectness.weight",
        "rpn_head.rpn_rois_delta.bias": "rpn.deltas.bias",
        "fused_semantic_head.lateral_convs.4.conv.bias": "semantic_head.lateral_convs.4.bias",
        "fused_semantic_head.convs.0.conv.weight": "semantic_head.convs.0.weight",
        "fused_semantic_head.conv_embedding.weight": "semantic_head.embedding.weight",
        "fused_semantic_head.conv_logits.bias": "semantic_head.logits.bias",
        "bbox_head.head.2.fc6.weight": "box_heads.2.fc1.weight",
        "bbox_head.head.0.fc7.bias": "box_heads.0.fc2.bias",
        "bbox_head.bbox_score_stage1.weight": "box_heads.1.class_logits.weight",
        "bbox_head.bbox_delta_stage1.weight": "box_heads.1.deltas.weight",
        "bbox_head.mask_head.head.1.convs.2.conv.weight": "mask_heads.1.convs.2.weight",
        "bbox_head.mask_head.head.1.conv_res.conv.bias": "mask_heads.1.flow.bias",
        "bbox_head.mask_head.head.0.upsample.weight": "mask_heads.0.upsample.weight",
        "bbox_head.mask_head.head.0.conv_logits.bias": "mask_heads.0.logits.bias",
    }
    for theirs, ours in pairs.items():
        translation = PADDLEDETECTION.to_ours(theirs)
        assert translation is not None, theirs
        assert (translation.name, translation.transpose) == (ours, False)
    for other in (
        "backbone.res6.res6a.branch2a.conv.weight",
        "conv1.weight",
        "bbox_head.head.fc6.x",
    ):
        assert PADDLEDETECTION.to_ours(other) is None


def as_reproduction(name):
    """Our name as the older Paddle reproduction has it."""
    rules = [
        ("backbone.conv1.", "backbone.conv1.conv1.conv."),
        ("backbone.bn1.", "backbone.conv1.conv1.norm."),
        ("fpn.lateral_convs.", "neck.lateral_convs."),
        ("fpn.output_convs.", "neck.fpn_convs."),
        ("rpn.conv", "rpn_head.rpn_feat.rpn_conv"),
        ("rpn.objectness", "rpn_head.rpn_rois_score"),
        ("rpn.deltas", "rpn_head.rpn_rois_delta"),
    ]
    for ours, theirs in rules:
        if name.startswith(ours):
            tail = name.removeprefix(ours)
            return theirs + (tail.replace(".", ".conv.", 1) if "neck" in theirs else tail)
    parts = name.split(".")
    if parts[0] == "backbone":
        stage, letter = int(parts[1][5:]) + 1, chr(ord("a") + int(parts[2]))
        if parts[3] == "downsample":
            part = "short." + ("conv" if parts[4] == "0" else "norm")
        else:
            kind = "conv" if parts[3].startswith("conv") else "norm"
            part = f"branch2{'abc'[int(parts[3][-1]) - 1]}.{kind}"
        return f"backbone.res{stage}.res{stage}{letter}.{part}.{parts[-1]}"
    if parts[0] == "semantic_head":
        inner = {"embedding": "conv_embedding", "logits": "conv_logits"}.get(parts[1])
        inner = inner or f"{parts[1]}.{parts[2]}.conv"
        return f"fused_semantic_head.{inner}.{parts[-1]}"
    if parts[0] == "box_heads":
        layer = {
            "fc1": f"head.{parts[1]}.fc6",
            "fc2": f"head.{parts[1]}.fc7",
            "class_logits": f"bbox_score_stage{parts[1]}",
            "deltas": f"bbox_delta_stage{parts[1]}",
        }[parts[2]]
        return f"bbox_head.{layer}.{parts[-1]}"
    inner = {"flow": "conv_res.conv", "logits": "conv_logits", "upsample": "upsample"}.get(parts[2])
    inner = inner or f"convs.{parts[3]}.conv"
    return f"bbox_head.mask_head.head.{parts[1]}.{inner}.{parts[-1]}"


def test_whole_reproduction_maps_one_to_one(shapes):
    ours = [MMDETECTION.to_ours(name).name for name in shapes]
    theirs = {as_reproduction(name): lazy(np.zeros(1, "float32")) for name in ours}
    assert len(theirs) == len(ours)
    translated = translate(theirs)
    assert translated.source == PADDLEDETECTION.title
    assert set(translated.tensors) == set(ours)
    assert translated.unknown == []


def test_there_and_back_is_the_identity(shapes):
    random = np.random.RandomState(0)
    original = {name: random.rand(*(min(n, 9) for n in shape)) for name, shape in shapes.items()}
    translated = translate({name: lazy(array) for name, array in original.items()})
    ours = {name: tensor.read() for name, tensor in translated.tensors.items()}
    back = to_mmdetection(ours)
    assert set(back) == set(original)
    for name, array in original.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.c_contiguous


def test_torchvision_and_timm():
    names = ["conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "fc.weight", "fc.bias"]
    names += ["layer1.0.downsample.1.num_batches_tracked", "extra.weight"]
    translated = translate({name: lazy(np.zeros(1, "float32")) for name in names})
    assert set(translated.tensors) == {
        "backbone.conv1.weight",
        "backbone.bn1._mean",
        "backbone.layer1.0.conv1.weight",
    }
    assert sorted(translated.ignored) == sorted([*names[3:6]])
    assert translated.unknown == ["extra.weight"]


def test_resnet_of_paddle_vision():
    names = ["conv1.weight", "bn1._mean", "layer4.2.bn3._variance", "fc.weight"]
    translated = translate({name: lazy(np.zeros(1, "float32")) for name in names})
    assert translated.source == "paddle.vision ResNet"
    assert set(translated.tensors) == {f"backbone.{name}" for name in names[:3]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x.y", "z"], r"names of no known project \(such as x\.y, z\)"),
        (["bbox_head.0.fc_cls.weight"], "mmdetection 1.x"),
        (["fc.weight"], "names of no known project"),
    ],
)
def test_unknown_names(names, message):
    with pytest.raises(WeightError, match=message):
        translate({name: lazy(np.zeros(1, "float32")) for name in names})


def test_two_tensors_with_one_name():
    names = ["backbone.res2.0.branch2a.conv.weight", "backbone.res2.res2a.branch2a.conv.weight"]
    with pytest.raises(WeightError, match=r"two tensors are backbone\.layer1\.0\.conv1\.weight"):
        translate({name: lazy(np.zeros(1, "float32")) for name in names})
