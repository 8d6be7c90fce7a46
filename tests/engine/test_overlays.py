"""Overlays: what is drawn where, in which colour, never squeezed."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from htc.data import Record
from htc.detections import Detections
from htc.engine.overlays import GAP, ground_truth, matched_colours, side_by_side
from htc.visualize import colour, draw, enlargement

NAMES = ["cat", "dog"]


def rle(mask):
    return rle_tools.encode(np.asfortranarray(mask, np.uint8))


def detections(boxes, labels, size=(40, 60), masks=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.array(labels, np.int64)
    scores = np.linspace(0.9, 0.6, len(labels), dtype=np.float32)
    return Detections(boxes, scores, labels, masks, size, NAMES)


def record(boxes, labels, segmentations, crowd=()):
    empty = np.zeros((0, 4), np.float32)
    crowd_boxes = np.array([[0, 0, 60, 40]] * len(crowd), np.float32) if crowd else empty
    return Record(
        1, Path("1.jpg"), 40, 60,
        np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), segmentations,
        crowd_boxes, np.zeros(len(crowd), np.int64), list(crowd), None,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(40, 60), (200, 130), (384, 10), (600, 800)])
def test_both_sides_are_enlarged_alike(size):
    scale = enlargement(*size)
    drawn = draw(np.zeros((*size, 3), np.uint8), detections([], [], size))
    assert drawn.shape == (size[0] * scale, size[1] * scale, 3)
    assert max(drawn.shape) >= 384 and (scale == 1 or max(size) * (scale - 1) < 384)


def test_a_mask_is_tinted_outlined_and_nothing_else_is_touched():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    picture = np.full((40, 60, 3), 80, np.uint8)
    found = detections([[20, 10, 50, 30]], [1], masks=[rle(mask)])
    drawn = draw(picture, found, scale=1, captions=[""])
    np.testing.assert_array_equal(drawn[~mask & (np.arange(40)[:, None] >= 10)], 80)
    expected = (0.55 * 80 + 0.45 * np.array(colour(0))).astype(np.uint8)
    np.testing.assert_array_equal(drawn[20, 35], expected)
    np.testing.assert_array_equal(drawn[29, 35], colour(0))


def test_the_best_is_drawn_on_top():
    everywhere = np.ones((40, 60), bool)
    found = detections([[0, 0, 60, 40]] * 2, [0, 1], masks=[rle(everywhere)] * 2)
    drawn = draw(np.zeros((40, 60, 3), np.uint8), found, scale=1, captions=["", ""])
    np.testing.assert_array_equal(drawn[39, 30], colour(0))


def test_detections_without_masks_names_or_anything_can_be_drawn():
    picture = np.zeros((40, 60, 3), np.uint8)
    unnamed = detections([[5, 5, 20, 20], [3, 3, 3, 3]], [0, 7])
    unnamed.class_names = None
    assert draw(picture, unnamed).any()
    assert not draw(picture, detections([], [])).any()


def test_ground_truth_of_every_kind_of_segmentation():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:30] = True
    polygon = [np.array([10.0, 10, 30, 10, 30, 20, 10, 20])]
    truth = ground_truth(record([[10, 10, 30, 20]] * 2, [0, 1], [polygon, rle(mask)]), NAMES)
    np.testing.assert_array_equal(truth.bitmaps(), [mask, mask])
    crowded = ground_truth(record([[10, 10, 30, 20]], [1], [polygon], crowd=[rle(mask)]), NAMES)
    assert len(crowded) == 2 and crowded.labels.tolist() == [1, 0]
    assert ground_truth(record([[1, 1, 5, 5]], [0], [None]), NAMES).masks is None
    assert len(ground_truth(record([], [], []), NAMES)) == 0


def test_an_object_has_one_colour_on_both_sides():
    truth = detections([[0, 0, 20, 20], [30, 0, 50, 20]], [0, 0])
    found = detections(
        [[31, 0, 50, 20], [30, 1, 50, 20], [0, 0, 20, 19], [0, 0, 20, 20], [0, 30, 9, 39]],
        [0, 0, 0, 1, 0],
    )
    # The second of an object, the wrong class and the one that is nowhere have their own.
    assert matched_colours(truth, found) == [1, 3, 0, 5, 6]
    assert matched_colours(detections([], []), found) == [0, 1, 2, 3, 4]
    assert matched_colours(truth, detections([], [])) == []


def test_ground_truth_stands_left_of_predictions():
    picture = np.zeros((40, 60, 3), np.uint8)
    left_alone = side_by_side(
        picture, record([[10, 10, 30, 20]], [0], [None]), detections([], []), NAMES
    )
    scale = enlargement(40, 60)
    assert left_alone.shape == (40 * scale, 2 * 60 * scale + GAP, 3)
    assert left_alone[:, : 60 * scale].any() and not left_alone[:, 60 * scale + GAP :].any()
    assert (left_alone[:, 60 * scale : 60 * scale + GAP] == 255).all()
