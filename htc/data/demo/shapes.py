"""Outlines of the demo objects: five kinds of thing, no two alike, with holes and thin parts.

A shape is a list of parts, drawn in order, in a frame where the object is about 1 wide and centred
on 0: ("add", points) is part of it, ("cut", points) a hole, ("mark", points) a dark detail on it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Part = tuple[str, np.ndarray]
Random = np.random.Generator


def circle(x: float, y: float, rx: float, ry: float | None = None, count: int = 40) -> np.ndarray:
    """An ellipse as [count, 2] points."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + rx * np.cos(angles), y + (ry or rx) * np.sin(angles)], 1)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _band(points: np.ndarray, width: float) -> np.ndarray:
    """A line of some width along points."""
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * width / 2
    return np.concatenate([points + across, (points - across)[::-1]])


def gear(random: Random) -> list[Part]:
    """Teeth around a disc with a hole, or with windows between spokes."""
    teeth, root = random.integers(5, 9), random.uniform(0.35, 0.41)
    steps = np.arange(teeth * 4)
    radius = np.where(steps % 4 < 2, 0.5, root)
    angles = 2 * np.pi * (steps + np.where(steps % 2, -0.12, 0.12)) / (teeth * 4)
    parts = [("add", np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1))]
    if random.random() < 0.6:
        return [*parts, ("cut", circle(0, 0, random.uniform(0.15, 0.23)))]
    spokes = random.integers(3, 5)
    inner, outer = 0.13, root - 0.09
    for spoke in range(spokes):
        start, end = 2 * np.pi * (spoke + 0.19) / spokes, 2 * np.pi * (spoke + 0.81) / spokes
        angles = np.linspace(start, end, 12)
        arc = np.stack([np.cos(angles), np.sin(angles)], 1)
        parts.append(("cut", np.concatenate([outer * arc, inner * arc[::-1]])))
    return [*parts, ("mark", circle(0, 0, 0.05))]


def key(random: Random) -> list[Part]:
    """A ring, a thin shaft, and a bit of two or three teeth."""
    bow, thick = random.uniform(0.23, 0.28), random.uniform(0.16, 0.2)
    parts = [("add", circle(-0.5 + bow, 0, bow, bow * random.uniform(0.9, 1.3)))]
    parts.append(("add", rectangle(-0.15, -thick / 2, 0.5, thick / 2)))
    parts.append(("cut", circle(-0.5 + bow, 0, bow * random.uniform(0.45, 0.58))))
    count = random.integers(2, 4)
    for tooth in range(count):
        x = 0.48 - tooth * 0.15
        parts.append(("add", rectangle(x - 0.1, 0, x, thick / 2 + random.uniform(0.06, 0.15))))
    return parts


def mug(random: Random) -> list[Part]:
    """A tapered cup with a handle to look through."""
    top, bottom = random.uniform(0.28, 0.33), random.uniform(0.2, 0.3)
    side = -1 if random.random() < 0.5 else 1
    handle = circle(side * 0.27, 0.03, 0.22, random.uniform(0.2, 0.26))
    inner = circle(side * 0.28, 0.03, 0.135, random.uniform(0.12, 0.16))
    body = np.array([(-top, -0.38), (top, -0.38), (bottom, 0.4), (-bottom, 0.4)])
    parts = [("add", handle), ("cut", inner), ("add", body)]
    parts += [("add", circle(0, 0.4, bottom, 0.07)), ("add", circle(0, -0.38, top, 0.09))]
    return [*parts, ("mark", circle(0, -0.38, top * 0.84, 0.06))]


def fish(random: Random) -> list[Part]:
    """A body of two arcs, a forked tail, fins, an eye and a gill."""
    height = random.uniform(0.19, 0.27)
    along = np.linspace(0, 1, 24)
    x = -0.5 + 0.72 * along
    upper = height * np.sin(np.pi * along ** random.uniform(0.7, 0.9))
    body = np.concatenate([np.stack([x, -upper], 1), np.stack([x, upper * 0.9], 1)[::-1]])
    fork = random.uniform(0.2, 0.28)
    tail = np.array([(0.12, 0), (0.5, -fork), (0.38, 0), (0.5, fork)])
    fin = np.array([(-0.2, -height * 0.7), (-0.02, -height - 0.17), (0.1, -height * 0.5)])
    belly = np.array([(-0.18, height * 0.6), (-0.04, height + 0.1), (0.03, height * 0.5)])
    gill = np.linspace(-1, 1, 9)
    gill = np.stack([-0.26 + 0.05 * (1 - gill**2), gill * height * 0.6], 1)
    parts = [("add", part) for part in (tail, fin, belly, body)]
    return [*parts, ("mark", circle(-0.37, -height * 0.25, 0.035)), ("mark", _band(gill, 0.022))]


def umbrella(random: Random) -> list[Part]:
    """A scalloped canopy on a thin stick that ends in a hook."""
    ribs = random.integers(3, 6)
    angles = np.linspace(np.pi, 2 * np.pi, 30)
    dome = np.stack([0.5 * np.cos(angles), 0.02 + 0.48 * np.sin(angles)], 1)
    along = np.linspace(0, 1, ribs * 8 + 1)
    edge = np.stack([0.5 - along, 0.02 - 0.09 * np.abs(np.sin(np.pi * along * ribs))], 1)
    thick, side = random.uniform(0.09, 0.12), -1 if random.random() < 0.5 else 1
    turn = np.linspace(0, np.pi, 12)
    hook = np.stack([side * (0.1 - 0.1 * np.cos(turn)), 0.4 + 0.1 * np.sin(turn)], 1)
    stick = np.concatenate([[(0, -0.5), (0, -0.2), (0, 0.1)], hook])
    parts = [("add", _band(stick, thick)), ("add", np.concatenate([dome, edge]))]
    for rib in range(1, ribs):
        x = 0.5 - rib / ribs
        line = np.stack([np.linspace(0, x, 8), -0.46 + 0.48 * np.linspace(0, 1, 8) ** 1.5], 1)
        parts.append(("mark", _band(line, 0.014)))
    return parts


SHAPES: dict[str, Callable[[Random], list[Part]]] = {
    "gear": gear,
    "key": key,
    "mug": mug,
    "fish": fish,
    "umbrella": umbrella,
}
# Degrees that each may be turned either way: what has a top in life mostly keeps it here.
TILT = {"gear": 180, "key": 180, "mug": 25, "fish": 35, "umbrella": 40}
