"""Polygons around the pixels of a mask."""

from __future__ import annotations

import numpy as np


def outlines(mask: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
    """The outlines of a mask [H, W], along the edges of its pixels.

    COCO's rasteriser makes the same mask of them again, pixel for pixel, where there are no holes.

    Returns:
        (outer outlines, outlines of the holes), each a polygon [x, y, x, y, ...] in pixels.
    """
    padded = np.pad(mask > 0, 1)
    inside = padded[1:-1, 1:-1]
    # Directed edges with the mask on their right: start -> [end], in (x, y) corners of pixels.
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, start, end in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: rightwards
        (padded[1:-1, 2:], (1, 0), (1, 1)),  # right: downwards
        (padded[2:, 1:-1], (1, 1), (0, 1)),  # below: leftwards
        (padded[1:-1, :-2], (0, 1), (0, 0)),  # left: upwards
    ):
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            edges.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    polygons, holes = [], []
    while edges:
        loop = _follow(edges)
        x, y = np.array(loop).T
        clockwise = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0
        (polygons if clockwise else holes).append([value for point in loop for value in point])
    return polygons, holes


def _follow(edges: dict) -> list[tuple[int, int]]:
    """One closed outline, taken out of edges; corners alone."""
    start = next(iter(edges))
    corners, point, heading = [], start, None
    while point in edges:
        ends = edges[point]
        # Where two pixels touch at a corner, turn right: they stay two outlines.
        chosen = 0
        if len(ends) > 1 and heading is not None:
            right = (point[0] - heading[1], point[1] + heading[0])
            chosen = ends.index(right) if right in ends else 0
        end = ends.pop(chosen)
        if not ends:
            del edges[point]
        step = (end[0] - point[0], end[1] - point[1])
        if step != heading:
            corners.append(point)
        point, heading = end, step
        if point == start:
            break
    return corners
