"""One demo picture: stuff behind, objects before it that hide each other in part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from htc.data.demo.shapes import SHAPES
from htc.data.demo.sprite import draw_sprite
from htc.data.demo.textures import STUFF, any_coat, clouded, noise, typical_coat

THINGS = tuple(SHAPES)
STUFF_NAMES = tuple(STUFF)

MIN_VISIBLE = 0.5  # share of an object that others and the border leave to be seen
MIN_PIXELS = 90
CROWD_SHARE = 0.1  # of the pictures have a crowd
TYPICAL = 0.9  # of the objects wear what their kind mostly wears,
CAMOUFLAGE = 0.03  # and these the surface of some stuff

Random = np.random.Generator


@dataclass
class Thing:
    """An object of a scene: label, what is seen of it [H, W] bool, and its pixels unhidden."""

    label: int
    visible: np.ndarray
    pixels: int
    crowd: bool = False


@dataclass
class Scene:
    """picture [H, W, 3] uint8; things; semantic [H, W] uint8: things first, then stuff."""

    picture: np.ndarray
    things: list[Thing]
    semantic: np.ndarray


def draw_scene(random: Random, height: int, width: int) -> Scene:
    """A scene; the same for the same state of `random`."""
    canvas, semantic = _background(random, height, width)
    canvas = _fade(random, canvas)
    things: list[Thing] = []
    if random.random() < CROWD_SHARE:
        things.append(_crowd(random, canvas))
    for _ in range(random.integers(1, 4)):
        _place(random, canvas, things)
    for thing in things:
        semantic[thing.visible] = thing.label
    return Scene(_photograph(random, canvas), things, semantic)


def _background(random: Random, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two or three kinds of stuff, one below the other, and sometimes a patch of a fourth."""
    names = [random.choice(["sky", "wall"]), *random.permutation(["grass", "water"])]
    names = names[: random.integers(2, 4)]
    canvas = STUFF[names[0]](random, height, width)
    labels = np.full((height, width), _stuff_label(names[0]), np.uint8)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    level = random.uniform(0.25, 0.55) * height
    for name in names[1:]:
        wave = clouded(random, height, width, width / 2)[0] * height * random.uniform(0.02, 0.12)
        line = level + wave + (x[0] - width / 2) * random.uniform(-0.15, 0.15)
        _lay(canvas, labels, STUFF[name](random, height, width), name, y > line)
        level += random.uniform(0.2, 0.35) * height
    if random.random() < 0.3:
        rest = [name for name in ("grass", "water", "wall") if name not in names]
        if rest:
            centre = random.uniform(0.2, 0.8) * width, random.uniform(0.65, 0.95) * height
            radius = random.uniform(0.15, 0.3) * width
            bumps = 0.35 * noise(random, height, width, height / 4, width / 4)
            inside = np.hypot(x - centre[0], (y - centre[1]) * 1.8) < radius * (1 + bumps)
            _lay(canvas, labels, STUFF[rest[0]](random, height, width), rest[0], inside)
    return canvas, labels


def _fade(random: Random, canvas: np.ndarray) -> np.ndarray:
    """Paler and duller, as behind things in focus: a small network learns from little."""
    grey = canvas.mean(axis=2, keepdims=True)
    dull = grey + (canvas - grey) * random.uniform(0.3, 0.45)
    level = random.uniform(0.5, 0.75)
    return (level + (dull - level) * random.uniform(0.4, 0.55)).astype(np.float32)


def _lay(canvas, labels, surface, name: str, where: np.ndarray) -> None:
    canvas[where] = surface[where]
    labels[where] = _stuff_label(name)


def _stuff_label(name: str) -> int:
    return len(THINGS) + STUFF_NAMES.index(name)


def _place(random: Random, canvas: np.ndarray, things: list[Thing]) -> None:
    """Put one more object in front, where it leaves enough of all others to be seen."""
    height, width = canvas.shape[:2]
    label = int(random.integers(len(THINGS)))
    for _ in range(10):
        size = min(height, width) * random.uniform(0.5, 0.9)
        centre = random.uniform(0.2, 0.8, 2) * (width, height)
        if things and random.random() < 0.3:  # seek company
            other = np.argwhere(things[random.integers(len(things))].visible)
            centre = other.mean(0)[::-1] + random.normal(0, size * 0.45, 2)
        sprite = draw_sprite(random, THINGS[label], size, centre)
        mask = sprite.mask(height, width)
        pixels, seen = int((sprite.alpha >= 0.5).sum()), int(mask.sum())
        if seen < max(MIN_PIXELS, MIN_VISIBLE * pixels) or not _leaves_enough(things, mask):
            continue
        for thing in things:
            thing.visible &= ~mask
        things.append(Thing(label, mask, pixels))
        sprite.paint(random, canvas, _surface(random, THINGS[label], *sprite.alpha.shape))
        return


def _surface(random: Random, thing: str, height: int, width: int) -> np.ndarray:
    chance = random.random()
    if chance < TYPICAL:
        return typical_coat(random, thing, height, width)
    if chance < 1 - CAMOUFLAGE:
        return any_coat(random, height, width)
    return STUFF[random.choice(STUFF_NAMES)](random, height, width)


def _leaves_enough(things: list[Thing], mask: np.ndarray) -> bool:
    for thing in things:
        left = int((thing.visible & ~mask).sum())
        if left < max(MIN_PIXELS, MIN_VISIBLE * thing.pixels):
            return False
    return True


def _crowd(random: Random, canvas: np.ndarray) -> Thing:
    """Many small objects of one kind, too close together to tell apart."""
    height, width = canvas.shape[:2]
    label = int(random.integers(len(THINGS)))
    mask = np.zeros((height, width), bool)
    middle = random.uniform(0.25, 0.75, 2) * (width, height)
    for _ in range(random.integers(10, 18)):
        size = random.uniform(0.1, 0.16) * min(height, width)
        centre = middle + random.normal(0, 1, 2) * (size * 1.6, size * 0.9)
        sprite = draw_sprite(random, THINGS[label], size, centre)
        mask |= sprite.mask(height, width)
        sprite.paint(random, canvas, _surface(random, THINGS[label], *sprite.alpha.shape))
    return Thing(label, mask, int(mask.sum()), crowd=True)


def _photograph(random: Random, canvas: np.ndarray) -> np.ndarray:
    """Exposure, contrast, a little blur, and grain, as of a cheap camera."""
    picture = (canvas - 0.5) * random.uniform(0.8, 1.15) + 0.5 + random.uniform(-0.08, 0.08)
    picture = picture * random.uniform(0.92, 1.08, 3)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 0.7)))
    grain = random.normal(0, random.uniform(1, 5), canvas.shape[:2])[..., None]
    return np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
