"""Parameter names of PaddleDetection's ResNet and FPN, and of the HTC reproduction built on it.

Facts from github.com/laihuihui/htc: ppdet/modeling/{necks/fpn,heads/htc_head,heads/htc_mask_head,
heads/htc_semantic_head,proposal_generator/rpn_head}.py, and PaddleDetection's
ppdet/modeling/backbones/{resnet,name_adapter}.py.
"""

from __future__ import annotations

import re

from htc.weights.names import CONV, NameMap, Translation

# Their box deltas of the last stage are multiplied by (30, 30, 15, 15), so divided by 1/30, 1/15;
# mmdetection's (and our) 0.033, 0.067 differ by a hundredth.
REPRODUCTION_NOTE = (
    "trained with box delta deviations 1/30, 1/15 in the last stage: for its exact boxes set"
    " model.cascade.stages.2.delta_stds=[0.033333333, 0.033333333, 0.066666667, 0.066666667]"
)

_HEADS = NameMap(
    "ppdet heads",
    [
        ("fpn.lateral_convs.{i}", "neck.lateral_convs.{i}.conv", CONV, False),
        ("fpn.output_convs.{i}", "neck.fpn_convs.{i}.conv", CONV, False),
        ("rpn.conv", "rpn_head.rpn_feat.rpn_conv", CONV, False),
        ("rpn.objectness", "rpn_head.rpn_rois_score", CONV, False),
        ("rpn.deltas", "rpn_head.rpn_rois_delta", CONV, False),
        (
            "semantic_head.lateral_convs.{i}",
            "fused_semantic_head.lateral_convs.{i}.conv",
            CONV,
            False,
        ),
        ("semantic_head.convs.{i}", "fused_semantic_head.convs.{i}.conv", CONV, False),
        ("semantic_head.embedding", "fused_semantic_head.conv_embedding", CONV, False),
        ("semantic_head.logits", "fused_semantic_head.conv_logits", CONV, False),
        ("box_heads.{t}.fc1", "bbox_head.head.{t}.fc6", CONV, False),
        ("box_heads.{t}.fc2", "bbox_head.head.{t}.fc7", CONV, False),
        ("box_heads.{t}.class_logits", "bbox_head.bbox_score_stage{t}", CONV, False),
        ("box_heads.{t}.deltas", "bbox_head.bbox_delta_stage{t}", CONV, False),
        ("mask_heads.{t}.convs.{i}", "bbox_head.mask_head.head.{t}.convs.{i}.conv", CONV, False),
        ("mask_heads.{t}.flow", "bbox_head.mask_head.head.{t}.conv_res.conv", CONV, False),
        ("mask_heads.{t}.upsample", "bbox_head.mask_head.head.{t}.upsample", CONV, False),
        ("mask_heads.{t}.logits", "bbox_head.mask_head.head.{t}.conv_logits", CONV, False),
    ],
)

_LEAF = r"(?P<leaf>weight|bias|_mean|_variance)"
_STEM = re.compile(rf"(?:backbone\.)?conv1\.(?:res_)?conv1\.(?P<kind>conv|norm)\.{_LEAF}")
_BLOCK = re.compile(
    r"(?:backbone\.)?res(?P<stage>[2-5])\.(?:(?P<index>\d+)|res\d(?P<letter>[a-z])(?P<number>\d*))"
    rf"\.(?P<branch>branch2[abc]|short)(?:\.conv(?=\.(?:conv|norm)\.))?\.(?P<kind>conv|norm)\.{_LEAF}"
)
_FPN = re.compile(
    r"neck\.fpn_(?P<inner>inner_)?res(?P<stage>[2-5])_sum(?:_lateral)?(?:\.conv)?\.(?P<leaf>weight|bias)"
)


class PaddleDetectionNames:
    """`to_ours` as a NameMap's; there is no way back."""

    title = "PaddleDetection / the HTC reproduction on it"

    def to_ours(self, name: str) -> Translation | None:
        """Our name for theirs; None where there is none."""
        found = _HEADS.to_ours(name)
        if found is not None:
            return found
        match = _STEM.fullmatch(name)
        if match:
            layer = "conv1" if match["kind"] == "conv" else "bn1"
            return Translation(f"backbone.{layer}.{match['leaf']}")
        match = _BLOCK.fullmatch(name)
        if match:
            return Translation(f"backbone.{_block_layer(match)}.{match['leaf']}")
        match = _FPN.fullmatch(name)
        if match:
            part = "lateral_convs" if match["inner"] else "output_convs"
            return Translation(f"fpn.{part}.{int(match['stage']) - 2}.{match['leaf']}")
        return None


def _block_layer(match: re.Match) -> str:
    """Such as layer3.4.bn2 for res4.res4e.branch2b.norm (res4b4 in deep networks)."""
    if match["index"] is not None:
        index = int(match["index"])
    elif match["number"]:
        index = int(match["number"])
    else:
        index = ord(match["letter"]) - ord("a")
    if match["branch"] == "short":
        part = "downsample.0" if match["kind"] == "conv" else "downsample.1"
    else:
        number = "abc".index(match["branch"][-1]) + 1
        part = f"{'conv' if match['kind'] == 'conv' else 'bn'}{number}"
    return f"layer{int(match['stage']) - 1}.{index}.{part}"


PADDLEDETECTION = PaddleDetectionNames()
