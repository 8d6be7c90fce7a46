"""A demo object, drawn: where it covers the picture, lit and laid over it with a shadow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from htc.data.demo.shapes import SHAPES, TILT

_FINE = 4  # shapes are drawn this much larger, then averaged: smooth edges

Random = np.random.Generator


@dataclass
class Sprite:
    """alpha, marks: [h, w] float32 0..1, what is covered, and dark details. top, left: of the window
    in the picture, which it may reach out of. size: of the object, px."""

    alpha: np.ndarray
    marks: np.ndarray
    top: int
    left: int
    size: float

    def mask(self, height: int, width: int) -> np.ndarray:
        """[height, width] bool: the pixels that it covers by half or more."""
        mask = np.zeros((height, width), bool)
        outer, inner = self._overlap(height, width)
        mask[outer] = self.alpha[inner] >= 0.5
        return mask

    def paint(self, random: Random, canvas: np.ndarray, surface: np.ndarray) -> None:
        """Lay it over the canvas [H, W, 3], in a surface [h, w, 3]; its shadow falls to one side."""
        shaded = self._shade(random, surface)
        blurred = _blur(self.alpha, max(1.5, self.size * 0.04))
        shift = np.round(random.uniform(0.01, 0.06, 2) * self.size).astype(int)
        shadow = Sprite(blurred, self.marks, self.top + shift[0], self.left + shift[1], self.size)
        outer, inner = shadow._overlap(*canvas.shape[:2])
        canvas[outer] *= 1 - random.uniform(0.25, 0.55) * blurred[inner][..., None]
        outer, inner = self._overlap(*canvas.shape[:2])
        alpha = self.alpha[inner][..., None]
        canvas[outer] = canvas[outer] * (1 - alpha) + shaded[inner] * alpha

    def _shade(self, random: Random, surface: np.ndarray) -> np.ndarray:
        """Light from above on one side, edges that turn away, dark details."""
        height = _blur(self.alpha, max(1.2, self.size * 0.05))
        down, right = np.gradient(height)
        light = (down * 0.8 + right * random.uniform(-0.6, 0.6)) * self.size * 0.11
        edge = 0.72 + 0.28 * np.clip(height * 2 - 0.8, 0, 1)
        brightness = (1 + np.clip(light, -0.45, 0.45)) * edge * (1 - 0.75 * self.marks)
        return surface * brightness[..., None]

    def _overlap(self, height: int, width: int) -> tuple[tuple, tuple]:
        """The same pixels as slices of the picture and of the window."""
        rows, columns = self.alpha.shape
        top, bottom = (min(max(y, 0), height) for y in (self.top, self.top + rows))
        left, right = (min(max(x, 0), width) for x in (self.left, self.left + columns))
        return (slice(top, bottom), slice(left, right)), (
            slice(top - self.top, bottom - self.top),
            slice(left - self.left, right - self.left),
        )


def draw_sprite(random: Random, thing: str, size: float, centre) -> Sprite:
    """One of the shapes: varied, turned, stretched, about `size` px wide, around centre (x, y)."""
    angle = np.deg2rad(random.uniform(-TILT[thing], TILT[thing]))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    stretch = size * np.array([random.choice([-1, 1]), 1]) * random.uniform(0.85, 1.15, 2)
    parts = [(kind, (points * stretch) @ turn + centre) for kind, points in SHAPES[thing](random)]
    everything = np.concatenate([points for _, points in parts])
    left, top = (np.floor(everything.min(0)).astype(int) - 2).tolist()
    right, bottom = (np.ceil(everything.max(0)).astype(int) + 2).tolist()
    shape = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
    marks = shape.copy()
    pen, marker = ImageDraw.Draw(shape), ImageDraw.Draw(marks)
    for kind, points in parts:
        corners = ((points - (left, top)) * _FINE).ravel().tolist()
        if kind == "mark":
            marker.polygon(corners, fill=255)
        else:
            pen.polygon(corners, fill=255 if kind == "add" else 0)
    alpha, marks = (np.asarray(im.reduce(_FINE), np.float32) / 255 for im in (shape, marks))
    return Sprite(alpha, marks, top, left, size)


def _blur(values: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray((values * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
