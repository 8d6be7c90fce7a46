"""An export answers as the eager network on real pictures: boxes, scores, masks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle_tools
from small_weights import write_small_weights

import htc
from htc.data.pictures import read_picture

SHARED = Path(os.environ.get("HTC_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PICTURES = SHARED / "data/coco100/val2017"

pytestmark = pytest.mark.skipif(
    not PICTURES.is_dir(), reason=f"no pictures at {PICTURES}; set HTC_SHARED to the folder"
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(exported, eager) predictors of a small network with 50 detections a picture."""
    weights = write_small_weights(
        tmp_path_factory.mktemp("weights"),
        "model.backbone.width=16",
        "model.fpn.channels=32",
        "model.semantic.channels=32",
        "model.mask_head.channels=32",
        "model.rpn.test_pre_nms=200",
        "model.rpn.test_post_nms=100",
        "model.test.max_detections=50",
        "data.test_short_side=192",
        "data.test_long_side=320",
    )
    engines = ("inference", "eager")
    return [htc.Predictor(weights, device="cpu", engine=engine) for engine in engines]


def assert_same_detections(ours, theirs):
    """Each detection has its like in the other's: box to 1e-2 px, score to 1e-4, mask IoU 0.999.

    At the end of the list rounding may let another one in: the last score is left out.
    """
    assert len(ours) == len(theirs) > 10
    last = max(ours.scores[-1], theirs.scores[-1]) + 1e-4
    unmatched = set(range(len(theirs)))
    for row in range(len(ours)):
        if ours.scores[row] <= last:
            break
        like = [
            other
            for other in unmatched
            if ours.labels[row] == theirs.labels[other]
            and abs(ours.scores[row] - theirs.scores[other]) < 1e-4
            and np.abs(ours.boxes[row] - theirs.boxes[other]).max() < 1e-2
        ]
        assert like, f"detection {row}: {ours.boxes[row]} {ours.scores[row]}"
        ious = rle_tools.iou([ours.masks[row]], [theirs.masks[i] for i in like], [0] * len(like))
        # A mask of few pixels has no IoU between 0.99 and 1: one pixel may fall either way.
        area = rle_tools.area([ours.masks[row]])[0]
        assert ious.max(initial=0) >= 0.999 - 1.5 / max(area, 1) or area == 0
        unmatched.discard(like[int(ious.argmax())])


def check(pair, files):
    for path in files:
        picture = read_picture(path)
        (ours,), (theirs,) = (predictor(picture) for predictor in pair)
        assert_same_detections(ours, theirs)


def test_some_pictures(pair):
    check(pair, sorted(PICTURES.iterdir())[:8])


@pytest.mark.slow
def test_all_pictures(pair):
    check(pair, sorted(PICTURES.iterdir()))
