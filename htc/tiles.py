"""Large pictures in overlapping tiles: objects cut by a seam come out once and whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as rle_tools

from htc.detections import Detections

SAME_OBJECT = 0.5  # IoU of two masks, where both tiles see, from which they are one object
FRAGMENT = 0.8  # share of a cut-off mask inside a better one of its class, from which it is dropped
EDGE = 2.0  # px: a box this near to its tile's inner edge may go on beyond


@dataclass(frozen=True)
class Tile:
    """A part of a picture: rows top .. bottom - 1 and columns left .. right - 1."""

    top: int
    left: int
    bottom: int
    right: int

    def crop(self, picture: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(picture[self.top : self.bottom, self.left : self.right])

    def overlap(self, other: Tile) -> Tile | None:
        """What both see, or None."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Tile(top, left, bottom, right) if top < bottom and left < right else None


def tiles_of(height: int, width: int, side: int, overlap: int) -> list[Tile]:
    """Tiles of one size that cover a picture, neighbours sharing at least `overlap` px.

    Raises:
        ValueError: overlap not in 0 .. side - 1, or a side below 1.
    """
    if side < 1:
        raise ValueError(f"tile: expected 1 px or more, got {side}")
    if not 0 <= overlap < side:
        raise ValueError(f"overlap: expected 0 to {side - 1} px, less than the tile, got {overlap}")
    tops, lefts = _starts(height, side, overlap), _starts(width, side, overlap)
    return [
        Tile(top, left, min(top + side, height), min(left + side, width))
        for top in tops
        for left in lefts
    ]


def detect_in_tiles(
    picture: np.ndarray,
    detect: Callable[[list[np.ndarray]], list[Detections]],
    side: int,
    overlap: int,
    nms_iou: float = 0.5,
    batch_size: int = 1,
) -> Detections:
    """Detections of a large picture, found tile by tile and merged.

    Two detections of one class in two tiles are one object if their masks agree where both tiles
    see. Of one object, a view that no inner edge cuts is taken as it is; if all are cut, the masks
    are united. What an edge has cut off and a better detection covers is dropped; then boxes go
    through class-wise non-maximum suppression once more.

    Args:
        picture: [H, W, 3] uint8 RGB.
        detect: pictures to one Detections each.
        side, overlap: of the tiles, px of the picture. Objects up to `overlap` px are seen whole by
            some tile.
        nms_iou: box IoU above which the weaker of one class is dropped.
    """
    size = picture.shape[:2]
    tiles = tiles_of(*size, side, overlap)
    views: list[_View] = []
    masks, names = True, None
    for start in range(0, len(tiles), batch_size):
        batch = tiles[start : start + batch_size]
        results = detect([tile.crop(picture) for tile in batch])
        for number, (tile, found) in enumerate(zip(batch, results, strict=True), start):
            masks, names = masks and found.masks is not None, found.class_names
            views += [_view(found, row, number, tile, size) for row in range(len(found))]
    objects = [_united(group) for group in _groups(views)]
    objects.sort(key=lambda item: -item.score)
    return _to_detections(_without_repeats(objects, nms_iou), masks, size, names)


@dataclass
class _View:
    """A detection as one tile saw it, or several united; in pixels of the picture.

    shape: [h, w] bool, the mask (or the filled box) inside its own bounds, at (y, x).
    cut: whether the object may go on beyond an inner edge of the tile.
    """

    number: int
    tile: Tile
    box: np.ndarray
    score: float
    label: int
    shape: np.ndarray
    y: int
    x: int
    cut: bool

    def within(self, tile: Tile) -> np.ndarray:
        """The part of the shape inside a tile, [height, width] bool of the tile."""
        part = np.zeros((tile.bottom - tile.top, tile.right - tile.left), bool)
        both = self.bounds.overlap(tile)
        if both is not None:
            rows = slice(both.top - self.y, both.bottom - self.y)
            columns = slice(both.left - self.x, both.right - self.x)
            part[
                both.top - tile.top : both.bottom - tile.top,
                both.left - tile.left : both.right - tile.left,
            ] = self.shape[rows, columns]
        return part

    @property
    def bounds(self) -> Tile:
        return Tile(self.y, self.x, self.y + self.shape.shape[0], self.x + self.shape.shape[1])


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Where tiles begin along one side: evenly, the first at 0 and the last at the end."""
    if length <= side:
        return [0]
    count = math.ceil((length - overlap) / (side - overlap))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _view(found: Detections, row: int, number: int, tile: Tile, size: tuple[int, int]) -> _View:
    box = found.boxes[row] + np.array([tile.left, tile.top] * 2, np.float32)
    if found.masks is None:
        x1, y1 = np.floor(found.boxes[row][:2]).astype(int)
        x2, y2 = np.maximum(np.ceil(found.boxes[row][2:]).astype(int), (x1 + 1, y1 + 1))
        shape, y, x = np.ones((y2 - y1, x2 - x1), bool), y1, x1
    else:
        bitmap = rle_tools.decode(found.masks[row]).astype(bool)
        rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
        if rows.size:
            y, x = int(rows[0]), int(columns[0])
            shape = bitmap[y : rows[-1] + 1, x : columns[-1] + 1].copy()
        else:
            y, x, shape = 0, 0, np.zeros((0, 0), bool)
    height, width = size
    cut = (
        (tile.left > 0 and box[0] <= tile.left + EDGE)
        or (tile.top > 0 and box[1] <= tile.top + EDGE)
        or (tile.right < width and box[2] >= tile.right - EDGE)
        or (tile.bottom < height and box[3] >= tile.bottom - EDGE)
    )
    y, x = int(y) + tile.top, int(x) + tile.left
    score, label = float(found.scores[row]), int(found.labels[row])
    return _View(number, tile, box, score, label, shape, y, x, bool(cut))


def _agreement(first: _View, second: _View) -> float:
    """IoU of two masks where both tiles see."""
    both = first.tile.overlap(second.tile)
    if both is None or first.bounds.overlap(second.bounds) is None:
        return 0.0
    one, other = first.within(both), second.within(both)
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 0.0


def _groups(views: list[_View]) -> list[list[_View]]:
    """Views of one object together: best agreement first, at most one view of each tile.

    At most one, or a wrong detection that covers two neighbours would make them one.
    """
    by_label: dict[int, list[int]] = {}
    for index, view in enumerate(views):
        by_label.setdefault(view.label, []).append(index)
    pairs = []
    for members in by_label.values():
        for place, i in enumerate(members):
            for j in members[place + 1 :]:
                if views[i].number != views[j].number:
                    agreement = _agreement(views[i], views[j])
                    if agreement >= SAME_OBJECT:
                        # Scores break ties: doubtful detections come after the sure ones.
                        pairs.append((agreement, views[i].score + views[j].score, i, j))
    group = {index: [index] for index in range(len(views))}
    for _, _, i, j in sorted(pairs, key=lambda pair: (-pair[0], -pair[1])):
        ours, theirs = group[i], group[j]
        if ours is theirs:
            continue
        if {views[k].number for k in ours} & {views[k].number for k in theirs}:
            continue
        ours += theirs
        for k in theirs:
            group[k] = ours
    distinct = {id(members): members for members in group.values()}
    return [[views[k] for k in members] for members in distinct.values()]


def _united(group: list[_View]) -> _View:
    """One view of an object that several tiles saw."""
    best = max(group, key=lambda view: view.score)
    whole = [view for view in group if not view.cut]
    if whole:
        chosen = max(whole, key=lambda view: view.score)
        chosen.score = best.score
        return chosen
    if len(group) == 1:
        return best
    # The least bounds of all that are not empty.
    bounds = [view.bounds for view in group if view.shape.size] or [best.bounds]
    top, left = min(b.top for b in bounds), min(b.left for b in bounds)
    all_of_it = Tile(top, left, max(b.bottom for b in bounds), max(b.right for b in bounds))
    shape = np.zeros((all_of_it.bottom - top, all_of_it.right - left), bool)
    for view in group:
        shape |= view.within(all_of_it)
    boxes = np.stack([view.box for view in group])
    box = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
    return _View(best.number, best.tile, box, best.score, best.label, shape, top, left, True)


def _without_repeats(objects: list[_View], nms_iou: float) -> list[_View]:
    """Objects by falling score, without what a better one of the class already says."""
    kept: list[_View] = []
    for item in objects:
        rivals = [other for other in kept if other.label == item.label]
        if any(_box_iou(item.box, other.box) > nms_iou for other in rivals):
            continue
        area = np.count_nonzero(item.shape)
        if item.cut and area:
            covered = (
                np.count_nonzero(other.within(item.bounds) & item.shape) / area for other in rivals
            )
            if any(share >= FRAGMENT for share in covered):
                continue
        kept.append(item)
    return kept


def _box_iou(first: np.ndarray, second: np.ndarray) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    inside = float(np.prod(np.maximum(high - low, 0)))
    areas = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return inside / max(areas - inside, 1e-6)


def _to_detections(objects: list[_View], masks: bool, size: tuple[int, int], names) -> Detections:
    return Detections(
        np.array([item.box for item in objects], np.float32).reshape(-1, 4),
        np.array([item.score for item in objects], np.float32),
        np.array([item.label for item in objects], np.int64),
        [_rle(item, size) for item in objects] if masks else None,
        size,
        names,
    )


def _rle(item: _View, size: tuple[int, int]) -> dict:
    """The compressed RLE of a shape in the whole picture, without making that picture's bitmap."""
    height, width = size
    padded = np.pad(item.shape.T.astype(np.int8), ((0, 0), (1, 1)))  # columns become rows
    change = np.diff(padded, axis=1)
    # RLEs go down the columns: pixel (y, x) is number x * height + y.
    column, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    offset = (column + item.x) * height + item.y
    edges = np.stack([offset + start, offset + end], axis=1).ravel()
    # A run to the foot of a column goes on at the head of the next.
    joined = np.flatnonzero(edges[1:-1:2] == edges[2::2])
    edges = np.delete(edges, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    counts = np.diff(np.concatenate([[0], edges, [height * width]])).astype(np.int64).tolist()
    return rle_tools.frPyObjects({"size": [height, width], "counts": counts}, height, width)
