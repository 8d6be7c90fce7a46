"""Tiles of large pictures: an object across a seam comes out once and whole."""

from itertools import pairwise

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from htc.detections import Detections
from htc.tiles import detect_in_tiles, tiles_of


def objects_of(pictures):
    """A detector without faults: each value of the red channel is an object, of class green.

    The score is in the blue channel. What a picture cuts off it cannot see.
    """
    results = []
    for picture in pictures:
        height, width = picture.shape[:2]
        found = []
        for value in sorted(set(picture[:, :, 0].ravel().tolist()) - {0}):
            mask = picture[:, :, 0] == value
            y, x = np.nonzero(mask)
            label, score = picture[y[0], x[0], 1:]
            box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            rle = rle_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
            found.append((score / 100, int(label), box, rle))
        found.sort(key=lambda item: -item[0])
        results.append(
            Detections(
                np.array([f[2] for f in found], np.float32).reshape(-1, 4),
                np.array([f[0] for f in found], np.float32),
                np.array([f[1] for f in found], np.int64),
                [f[3] for f in found],
                (height, width),
                ["a", "b", "c"],
            )
        )
    return results


def scene(*objects, height=100, width=150):
    """(picture, masks): objects are (rows, columns, class) or (bitmap, class); the last is on top."""
    picture = np.zeros((height, width, 3), np.uint8)
    for number, (*where, label) in enumerate(objects, 1):
        mask = np.zeros((height, width), bool)
        mask[where[0] if len(where) == 1 else tuple(where)] = True
        picture[mask] = number, label, 100 - number
    return picture, [picture[:, :, 0] == number for number in range(1, len(objects) + 1)]


def disc(y, x, radius, height=100, width=150, hole=0):
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows - y, columns - x)
    return (distance <= radius) & (distance >= hole)


def check(picture, masks, side=60, overlap=20):
    """The objects of the picture come out as they are, once each."""
    found = detect_in_tiles(picture, objects_of, side, overlap)
    assert len(found) == len(masks)
    assert found.size == picture.shape[:2] and found.class_names == ["a", "b", "c"]
    bitmaps = found.bitmaps()
    for row, (mask, bitmap) in enumerate(zip(masks, bitmaps, strict=True)):
        np.testing.assert_array_equal(bitmap.astype(bool), mask, err_msg=f"object {row}")
        y, x = np.nonzero(mask)
        expected = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        np.testing.assert_array_equal(found.boxes[row], expected)
    return found


@pytest.mark.parametrize(
    "objects",
    [
        [(slice(40, 60), slice(30, 70), 0)],  # across one seam, cut in one tile
        [(slice(10, 30), slice(5, 145), 1)],  # across all tiles of a row
        [(slice(5, 95), slice(20, 140), 2)],  # over the corner of all tiles
        [(slice(0, 100), slice(0, 150), 0)],  # the whole picture
        [(slice(45, 50), slice(45, 50), 0)],  # wholly where two tiles see
        [(disc(50, 75, 45), 0)],
        [(disc(50, 75, 45, hole=20), 1)],  # a ring: its hole stays open
        [],
    ],
    ids=["seam", "row", "corner", "all", "overlap", "disc", "ring", "none"],
)
def test_one_object_comes_out_once_and_whole(objects):
    check(*scene(*objects))


def test_neighbours_of_one_class_stay_two():
    check(*scene((slice(20, 40), slice(10, 140), 0), (slice(40, 60), slice(10, 140), 0)))


def test_objects_of_two_classes_stay_two():
    # In the same place: a disc on a ring.
    ring, inner = disc(50, 75, 45, hole=20), disc(50, 75, 18)
    check(*scene((ring, 0), (inner, 1)))


def test_many_small_objects_are_each_there_once():
    grid = [(disc(y, x, 4), (x // 15) % 3) for y in range(8, 95, 14) for x in range(8, 145, 14)]
    check(*scene(*grid))


def test_no_overlap_no_merging():
    # Without a strip that both see nothing can be known: the halves stay two.
    picture, _ = scene((slice(40, 50), slice(50, 90), 0), height=60, width=120)
    found = detect_in_tiles(picture, objects_of, 60, 0)
    assert sorted(found.bitmaps().sum((1, 2)).tolist()) == [10 * 10, 30 * 10]


def test_a_whole_view_is_better_than_a_union():
    """A cut view may be wrong near its edge: where some tile sees all of it, that one counts."""
    picture, (mask,) = scene((slice(30, 50), slice(42, 58), 0), height=60)

    def blurred_at_edges(pictures):
        (found,) = objects_of(pictures)
        for row, box in enumerate(found.boxes):
            if box[2] >= pictures[0].shape[1] - 2:  # cut off: a row too many
                bitmap = found.bitmaps()[row]
                bitmap[int(box[3]), int(box[0]) : int(box[2])] = 1
                found.masks[row] = rle_tools.encode(np.asfortranarray(bitmap))
        return [found]

    found = detect_in_tiles(picture, blurred_at_edges, 60, 25)
    assert len(found) == 1
    # columns 35 .. 95 see 42 .. 58 whole; columns 0 .. 60 do too, and others none
    np.testing.assert_array_equal(found.bitmaps()[0].astype(bool), mask)


def test_a_fragment_of_something_found_is_dropped():
    """A sliver that agrees with nothing in the strip, yet lies inside a better mask."""
    picture, (mask,) = scene((slice(10, 50), slice(20, 130), 0), height=60)

    def with_slivers(pictures):
        (found,) = objects_of(pictures)
        if not len(found):
            return [found]
        x1, y1, x2, _ = (int(v) for v in found.boxes[0])
        sliver = np.zeros(found.size, np.uint8)
        sliver[y1 : y1 + 6, max(x1, x2 - 10) : x2] = 1
        sliver = rle_tools.encode(np.asfortranarray(sliver))
        return [
            Detections(
                np.array([found.boxes[0], [max(x1, x2 - 10), y1, x2, y1 + 6]], np.float32),
                np.array([0.9, 0.3], np.float32),
                np.zeros(2, np.int64),
                [found.masks[0], sliver],
                found.size,
            )
        ]

    # Slivers at the end of the object itself, where nothing cuts, are detections of their own.
    found = detect_in_tiles(picture, with_slivers, 60, 20)
    np.testing.assert_array_equal(found.bitmaps()[0].astype(bool), mask)
    assert all(box[2] >= 130 - 2 for box in found.boxes[1:])


def test_boxes_alone_are_merged_too():
    picture, _ = scene((slice(30, 50), slice(10, 140), 0), height=60)

    def boxes(pictures):
        (found,) = objects_of(pictures)
        found.masks = None
        return [found]

    found = detect_in_tiles(picture, boxes, 60, 20)
    assert found.masks is None
    np.testing.assert_array_equal(found.boxes, [[10, 30, 140, 50]])


def test_a_detection_without_a_pixel_does_no_harm():
    picture, _ = scene((slice(30, 50), slice(10, 140), 0), height=60)

    def empty(pictures):
        (found,) = objects_of(pictures)
        none = rle_tools.encode(np.zeros(found.size, np.uint8, order="F"))
        found.masks = [none for _ in found.masks]
        return [found]

    found = detect_in_tiles(picture, empty, 60, 20)
    assert len(found) and not found.bitmaps().any()


@pytest.mark.parametrize("height", [1, 59, 60, 61, 100, 101, 399])
@pytest.mark.parametrize("overlap", [0, 1, 20, 59])
def test_tiles_cover_the_picture_and_overlap(height, overlap):
    tiles = tiles_of(height, 60, 60, overlap)
    assert tiles[0].top == 0 and tiles[-1].bottom == height
    assert all(tile.bottom - tile.top == min(60, height) for tile in tiles)
    for first, second in pairwise(tiles):
        assert first.bottom - second.top >= overlap and second.top > first.top


@pytest.mark.parametrize(
    ("side", "overlap", "message"),
    [
        (0, 0, "tile: expected 1 px or more, got 0"),
        (60, 60, "overlap: expected 0 to 59 px, less than the tile, got 60"),
        (60, -1, "overlap: expected 0 to 59 px, less than the tile, got -1"),
    ],
)
def test_tiles_that_cannot_be(side, overlap, message):
    with pytest.raises(ValueError, match=message):
        tiles_of(100, 100, side, overlap)
