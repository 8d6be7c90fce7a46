"""Surfaces of the demo pictures: four kinds of background ("stuff") and patterns of objects.

All return [H, W, 3] float32 in 0..1.
"""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

Random = np.random.Generator


def noise(random: Random, height: int, width: int, cell_y: float, cell_x: float) -> np.ndarray:
    """Smooth noise [height, width] in about -1..1, its bumps some cells large."""
    rows, columns = max(2, round(height / cell_y) + 2), max(2, round(width / cell_x) + 2)
    grid = Image.fromarray(random.uniform(-1, 1, (rows, columns)).astype(np.float32))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))


def clouded(random: Random, height: int, width: int, cell: float) -> np.ndarray:
    """Noise of three octaves."""
    octaves = (noise(random, height, width, cell / 2**i, cell / 2**i) / 2**i for i in range(3))
    return sum(octaves) / 1.75


def colour(random: Random, hue=(0, 1), saturation=(0.2, 0.9), value=(0.3, 0.95)) -> np.ndarray:
    """A random RGB colour."""
    hsv = random.uniform(*hue) % 1, random.uniform(*saturation), random.uniform(*value)
    return np.array(colorsys.hsv_to_rgb(*hsv), np.float32)


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Two colours, pixel by pixel, by a share [H, W] of the second."""
    return first + (second - first) * np.clip(share, 0, 1)[..., None]


def sky(random: Random, height: int, width: int) -> np.ndarray:
    high = colour(random, (0.5, 0.68) if random.random() < 0.75 else (0, 0.1), (0.2, 0.8))
    low = mix(high, np.ones(3, np.float32), np.full((1, 1), 0.6))[0, 0]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None].repeat(width, 1)
    clouds = clouded(random, height, width, height / random.uniform(2, 5))
    return mix(mix(high, low, down), np.ones(3, np.float32), clouds * 1.6 - 0.15)


def wall(random: Random, height: int, width: int) -> np.ndarray:
    """Bricks, each of its own tint."""
    brick_h, mortar = random.uniform(9, 17), random.uniform(1.2, 2.2)
    brick_w = brick_h * random.uniform(1.8, 2.8)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    row = np.floor(y / brick_h)
    x = x + (row % 2) * brick_w / 2
    column = np.floor(x / brick_w)
    tints = random.uniform(-0.22, 0.22, (int(row.max()) + 1, int(column.max()) + 1))
    base = colour(random, (-0.03, 0.12), (0.1, 0.65), (0.35, 0.8))
    surface = base * (1 + tints[row.astype(int), column.astype(int)])[..., None]
    surface = surface * (1 + 0.15 * noise(random, height, width, 2, 2))[..., None]
    joint = (y % brick_h < mortar) | (x % brick_w < mortar)
    return mix(surface, np.full(3, random.uniform(0.25, 0.8), np.float32), joint * 0.85)


def grass(random: Random, height: int, width: int) -> np.ndarray:
    """Upright blades, lusher and drier patches."""
    lush = colour(random, (0.22, 0.38), (0.4, 0.85), (0.25, 0.6))
    dry = colour(random, (0.12, 0.25), (0.4, 0.8), (0.45, 0.8))
    patches = clouded(random, height, width, height / 2)
    surface = mix(lush, dry, 0.4 + 0.6 * patches)
    blades = noise(random, height, width, 9, 1.4) + 0.6 * noise(random, height, width, 4, 1)
    return surface * (1 + 0.35 * blades)[..., None]


def water(random: Random, height: int, width: int) -> np.ndarray:
    """Flat ripples that glint."""
    deep = colour(random, (0.45, 0.66), (0.35, 0.85), (0.2, 0.6))
    light = mix(deep, np.ones(3, np.float32), np.full((1, 1), 0.5))[0, 0]
    y = np.mgrid[:height, :width][0].astype(np.float32)
    bend = 5 * noise(random, height, width, 10, 40)
    ripples = np.sin(y * random.uniform(0.5, 0.9) + bend)
    ripples = ripples + noise(random, height, width, 3, 14)
    return mix(deep, light, 0.3 + 0.35 * ripples)


STUFF = {"sky": sky, "wall": wall, "grass": grass, "water": water}


# What a kind of thing mostly wears: patterns, and the ranges of hue, saturation and value of both
# colours. The rest of a kind wear anything, so that colour alone does not tell what a thing is.
_COATS = {
    "gear": (("marbled", "rough"), (0.55, 0.7), (0.1, 0.45), (0.12, 0.4)),
    "key": (("fading", "rough"), (0.11, 0.16), (0.6, 0.95), (0.5, 1.0)),
    "mug": (("stripes", "checks", "dots"), (0.42, 0.56), (0.4, 0.95), (0.5, 1.0)),
    "fish": (("stripes", "fading", "marbled"), (-0.03, 0.09), (0.6, 1.0), (0.45, 1.0)),
    "umbrella": (("checks", "dots", "rough"), (0.76, 0.92), (0.5, 1.0), (0.4, 1.0)),
}
_PATTERNS = ("stripes", "checks", "dots", "marbled", "fading", "rough")


def typical_coat(random: Random, thing: str, height: int, width: int) -> np.ndarray:
    """The surface of an object, such as its kind mostly has."""
    patterns, *ranges = _COATS[thing]
    return _coat(random, height, width, random.choice(patterns), *ranges)


def any_coat(random: Random, height: int, width: int) -> np.ndarray:
    """The surface of an object: any pattern, in two colours of any hue."""
    return _coat(random, height, width, random.choice(_PATTERNS), (0, 1), (0.05, 0.95), (0.2, 1))


def _coat(random: Random, height: int, width: int, pattern: str, *ranges) -> np.ndarray:
    first, second = colour(random, *ranges), colour(random, *ranges)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle, period = random.uniform(0, np.pi), random.uniform(6, 16)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if pattern == "stripes":
        share = np.sin(u * 2 * np.pi / period) * 3 + 0.5
    elif pattern == "checks":
        share = np.sin(u * np.pi / period) * np.sin(v * np.pi / period) * 6 + 0.5
    elif pattern == "dots":
        share = 2.2 - 2.6 * np.hypot((u % period) / period - 0.5, (v % period) / period - 0.5) * 2.4
    elif pattern == "marbled":
        share = 0.5 + 1.2 * clouded(random, height, width, period * 1.5)
    elif pattern == "fading":
        share = (u - u.min()) / max(float(np.ptp(u)), 1)
    else:  # rough
        share = 0.12 + 0.12 * noise(random, height, width, 2, 2)
    grain = 1 + 0.06 * noise(random, height, width, 1.5, 1.5)
    return mix(first, second, share) * grain[..., None]
