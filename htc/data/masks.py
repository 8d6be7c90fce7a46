"""Instance masks of a picture, kept as crops: what workers send costs as much as the objects cover."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from pycocotools import mask as rle_tools

# A segmentation of a record: a list of polygons, each float32 [2 * N] (x, y, x, y, ...) in pixels of
# the picture as it is on disk, or a compressed RLE {"size": [height, width], "counts": bytes}.
Segmentation = list | dict


@dataclass(frozen=True)
class MaskCrops:
    """Masks of one picture's instances, each stored over the rectangle that it lies in.

    height, width: of the picture.
    windows: [G, 4] int32, (y, x, height, width) of each crop.
    pixels: [sum of height * width] uint8 of 0 and 1, the crops one after the other.
    """

    height: int
    width: int
    windows: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.windows)

    def crops(self):
        """(y, x, [h, w] uint8) of each instance."""
        end = 0
        for y, x, height, width in self.windows.tolist():
            start, end = end, end + height * width
            yield y, x, self.pixels[start:end].reshape(height, width)

    def bitmaps(self) -> np.ndarray:
        """[G, H, W] uint8 of 0 and 1."""
        result = np.zeros((len(self), self.height, self.width), np.uint8)
        for mask, (y, x, crop) in zip(result, self.crops(), strict=True):
            mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return result

    def areas(self) -> np.ndarray:
        """[G] int64, pixels of each mask."""
        return np.array([int(crop.sum()) for _, _, crop in self.crops()], np.int64)


def crop_masks(
    segmentations: list[Segmentation],
    size: tuple[int, int],
    resized: tuple[int, int],
    flip: bool,
) -> MaskCrops:
    """Rasterise instances in the picture that the network sees.

    Polygons are scaled first and rasterised then, by COCO's rule; RLE masks are resized to the nearest
    pixel centre. Flipping comes last, so that mask and picture stay aligned to the pixel.

    Args:
        segmentations: of each instance.
        size: (height, width) on disk.
        resized: (height, width) after resizing.
        flip: mirror left and right.
    """
    height, width = resized
    windows, parts = [], []
    for segmentation in segmentations:
        if isinstance(segmentation, dict):
            y, x, crop = _crop_rle(segmentation, size, resized)
        else:
            y, x, crop = _crop_polygons(segmentation, size, resized)
        if flip:
            x, crop = width - x - crop.shape[1], crop[:, ::-1]
        windows.append((y, x, *crop.shape))
        parts.append(crop.ravel())
    pixels = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    return MaskCrops(height, width, np.array(windows, np.int32).reshape(-1, 4), pixels)


def nearest_index(length: int, resized: int) -> np.ndarray:
    """[resized] int64: which of `length` pixels has its centre nearest to each resized one's."""
    # In whole numbers: rounding of floats would make the answer differ from machine to machine.
    index = (2 * np.arange(resized, dtype=np.int64) + 1) * length // (2 * resized)
    return np.minimum(index, length - 1)


def resize_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W] to [height, width], nearest pixel centre."""
    if labels.shape == (height, width):
        return labels
    return labels[nearest_index(labels.shape[0], height)][:, nearest_index(labels.shape[1], width)]


def _crop_rle(rle: dict, size: tuple[int, int], resized: tuple[int, int]):
    x, y, width, height = (int(value) for value in rle_tools.toBbox(rle))
    rows, columns = nearest_index(size[0], resized[0]), nearest_index(size[1], resized[1])
    top, bottom = np.searchsorted(rows, (y, y + height))
    left, right = np.searchsorted(columns, (x, x + width))
    mask = rle_tools.decode(rle)
    return int(top), int(left), mask[rows[top:bottom]][:, columns[left:right]]


def _crop_polygons(polygons: list, size: tuple[int, int], resized: tuple[int, int]):
    scale = np.array([resized[1] / size[1], resized[0] / size[0]])
    points = [polygon.reshape(-1, 2).astype(np.float64) * scale for polygon in polygons]
    low = np.min([part.min(0) for part in points], axis=0)
    high = np.max([part.max(0) for part in points], axis=0)
    # A pixel more each way, so that the window's edge does not cut what rounding draws beyond it.
    left, top = max(0, floor(low[0]) - 1), max(0, floor(low[1]) - 1)
    right, bottom = min(resized[1], ceil(high[0]) + 1), min(resized[0], ceil(high[1]) + 1)
    if right <= left or bottom <= top:
        return 0, 0, np.zeros((0, 0), np.uint8)
    shifted = [(part - (left, top)).ravel().tolist() for part in points]
    rles = rle_tools.frPyObjects(shifted, bottom - top, right - left)
    return top, left, rle_tools.decode(rle_tools.merge(rles))
