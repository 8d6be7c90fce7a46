"""Outlines of masks: the mask again, pixel for pixel."""

import numpy as np
import pytest
from pycocotools.coco import COCO

from htc.outlines import outlines


def filled(polygons, height, width):
    coco = COCO()
    coco.imgs = {1: {"height": height, "width": width}}
    return coco.annToMask({"image_id": 1, "segmentation": polygons})


@pytest.mark.parametrize(
    "case", ["ring", "touching corners", "two parts", "whole picture", "noise"]
)
def test_outlines_make_the_same_mask_again(case):
    mask = np.zeros((9, 11), np.uint8)
    if case == "touching corners":
        mask[1:4, 1:4] = mask[4:7, 4:8] = 1
    elif case == "two parts":
        mask[1:3, 1:3] = mask[5:8, 6:11] = 1
    elif case == "noise":
        mask = np.random.default_rng(0).integers(0, 2, mask.shape, np.uint8)
    else:
        mask[:] = 1
    if case == "ring":
        mask[3:6, 4:7] = 0
    parts, holes = outlines(mask)
    if case != "noise":
        assert len(holes) == (case == "ring") and len(parts) == 1 + (
            case in ("touching corners", "two parts")
        )
    again = filled(parts, 9, 11).astype(int)
    if holes:
        again -= filled(holes, 9, 11)
    np.testing.assert_array_equal(again, mask)


def test_nothing_has_no_outline():
    assert outlines(np.zeros((4, 5), np.uint8)) == ([], [])
