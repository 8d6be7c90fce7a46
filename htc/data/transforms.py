"""A record to what the network sees: resized, flipped, normalised; and several to a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from htc.config.run_schema import DataConfig
from htc.data.dataset import CocoDataset, Record
from htc.data.errors import DatasetError
from htc.data.masks import MaskCrops, crop_masks, resize_labels
from htc.data.pictures import check_size, picture_size, read_label_map, read_picture, resize_picture

IGNORE_LABEL = 255  # of semantic maps: pixels without a class


@dataclass
class Target:
    """Annotations of one picture, in pixels of the un-padded picture that the network sees.

    boxes: [G, 4] float32 xyxy. labels: [G] int64. masks: of the same instances, or None.
    crowd_boxes: [K, 4] float32. semantic: [H, W] uint8, or None.
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: MaskCrops | None
    crowd_boxes: np.ndarray
    semantic: np.ndarray | None


@dataclass
class Batch:
    """Pictures of one step.

    images: [B, 3, H, W] float32 RGB, normalised, padded with 0 at the right and bottom.
    image_sizes: [B, 2] float32, (height, width) before padding.
    original_sizes: [B, 2] int64, (height, width) on disk.
    picture_ids, files: of each picture.
    targets: of each picture, or None at test.
    """

    images: np.ndarray
    image_sizes: np.ndarray
    original_sizes: np.ndarray
    picture_ids: list
    files: list
    targets: list[Target] | None

    def original_boxes(self, index: int, boxes: np.ndarray) -> np.ndarray:
        """Boxes [N, 4] xyxy in pixels of picture `index` as the network sees it, in the original's."""
        height, width = self.original_sizes[index] / self.image_sizes[index].astype(np.float64)
        return (boxes * np.array([width, height, width, height])).astype(np.float32)


def resized_size(
    height: int, width: int, short_side: int, long_side: int, enlarge: bool = True
) -> tuple[int, int]:
    """(height, width) after resizing by one factor, so that neither side limit is passed.

    mmdetection's rule (mmcv.image.rescale_size): the factor is the smaller of long / longer and
    short / shorter side; sides are rounded half up. `enlarge=False` never makes a picture larger.
    """
    limits = max(short_side, long_side), min(short_side, long_side)
    factor = min(limits[0] / max(height, width), limits[1] / min(height, width))
    if factor > 1 and not enlarge:
        return height, width
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def normalise(picture: np.ndarray, mean, std, out: np.ndarray) -> None:
    """[H, W, 3] uint8 into out [3, H, W] float32: (value - mean) / std, channel by channel."""
    for channel in range(3):
        np.subtract(picture[:, :, channel], np.float32(mean[channel]), out=out[channel])
        out[channel] *= np.float32(1.0 / std[channel])


def collate(pictures: list[np.ndarray], data: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """Resized pictures [H, W, 3] uint8 to (images, image_sizes) as a Batch has them."""
    sizes = np.array([picture.shape[:2] for picture in pictures], np.float32)
    divisor = data.pad_divisor
    height, width = (-(-int(side) // divisor) * divisor for side in sizes.max(0))
    images = np.zeros((len(pictures), 3, height, width), np.float32)
    for picture, image in zip(pictures, images, strict=True):
        region = image[:, : picture.shape[0], : picture.shape[1]]
        normalise(picture, data.mean, data.std, region)
    return images, sizes


class BatchMaker:
    """Makes batches of a data set; what it draws depends on (seed, epoch, index of the picture) alone.

    Args:
        dataset: of the records.
        data: sizes, flip, normalisation.
        semantic: "maps" of the data set, made from "instances", or None.
        train: with augmentation and targets, or without both.
        seed: of the augmentation.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        data: DataConfig,
        semantic: str | None,
        train: bool,
        seed: int,
    ):
        if semantic not in ("maps", "instances", None):
            raise ValueError(f"semantic: expected 'maps', 'instances' or None, got {semantic!r}")
        if semantic == "maps" and not dataset.has_semantic:
            raise DatasetError(f"semantic maps: {dataset.semantic_notice}")
        self.dataset = dataset
        self.data = data
        self.semantic = semantic
        self.train = train
        self.seed = seed

    def __call__(self, epoch: int, indices: list[int]) -> Batch:
        """The batch of these pictures, as they are drawn in this epoch."""
        records = [self.dataset[index] for index in indices]
        pictures, targets = [], []
        for index, record in zip(indices, records, strict=True):
            size, flip = self._draw(epoch, index, record)
            picture = resize_picture(load_picture(record), *size)
            pictures.append(picture[:, ::-1] if flip else picture)
            if self.train:
                targets.append(self._target(record, size, flip))
        images, sizes = collate(pictures, self.data)
        return Batch(
            images,
            sizes,
            np.array([(record.height, record.width) for record in records], np.int64),
            [record.picture_id for record in records],
            [str(record.file) for record in records],
            targets if self.train else None,
        )

    def _draw(self, epoch: int, index: int, record: Record) -> tuple[tuple[int, int], bool]:
        data = self.data
        if not self.train:
            short, long, flip = data.test_short_side, data.test_long_side, False
        else:
            draw = np.random.default_rng((self.seed, epoch, index)).random(2)
            sides, long, flip = data.train_short_sides, data.train_long_side, draw[1] < data.flip
            if data.short_side_mode == "range":
                short = sides[0] + int(draw[0] * (sides[1] - sides[0] + 1))
            else:
                short = sides[int(draw[0] * len(sides))]
        return resized_size(record.height, record.width, short, long), bool(flip)

    def _target(self, record: Record, size: tuple[int, int], flip: bool) -> Target:
        original = record.height, record.width
        masks = None
        if self.dataset.has_masks:
            masks = crop_masks(record.segmentations, original, size, flip)
        semantic = None
        if self.semantic == "maps":
            semantic = resize_labels(load_semantic(record), *size)
            semantic = np.ascontiguousarray(semantic[:, ::-1]) if flip else semantic
        elif self.semantic == "instances":
            crowd = crop_masks(record.crowd_segmentations, original, size, flip)
            semantic = semantic_of_instances(record.labels, masks, crowd, self.dataset.num_classes)
        boxes = resize_boxes(record.boxes, original, size, flip)
        crowd_boxes = resize_boxes(record.crowd_boxes, original, size, flip)
        return Target(boxes, record.labels, masks, crowd_boxes, semantic)


def load_picture(record: Record) -> np.ndarray:
    """The picture of a record; raises DatasetError unless it has the size that the json says."""
    picture = read_picture(record.file, record.name)
    expected = record.height, record.width
    if picture.shape[:2] != expected:
        height, width, turned = picture_size(record.file, record.name)
        check_size(record.name, record.file, expected, (height, width), turned)
    return picture


def load_semantic(record: Record) -> np.ndarray:
    """The semantic map of a record; raises DatasetError unless it has the picture's size."""
    labels = read_label_map(record.semantic, record.name)
    name = f"semantic map of {record.name}"
    check_size(name, record.semantic, (record.height, record.width), labels.shape, 1)
    return labels


def resize_boxes(
    boxes: np.ndarray, size: tuple[int, int], resized: tuple[int, int], flip: bool
) -> np.ndarray:
    """Boxes [N, 4] xyxy moved with the picture, and clipped to it."""
    height, width = resized
    scale_y, scale_x = height / size[0], width / size[1]
    boxes = boxes.astype(np.float64) * (scale_x, scale_y, scale_x, scale_y)
    boxes = np.clip(boxes, 0, (width, height, width, height))
    if flip:
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return boxes.astype(np.float32)


def semantic_of_instances(
    labels: np.ndarray, masks: MaskCrops, crowd: MaskCrops, num_classes: int
) -> np.ndarray:
    """A semantic map [H, W] uint8 made of instance masks.

    Classes are those of the instances; pixels of none are `num_classes`, crowd regions are ignored;
    where instances overlap the smaller one is on top.
    """
    semantic = np.full((masks.height, masks.width), num_classes, np.uint8)
    for y, x, crop in crowd.crops():
        _paint(semantic, y, x, crop, IGNORE_LABEL)
    crops = list(masks.crops())
    for index in np.argsort(-masks.areas(), kind="stable"):
        _paint(semantic, *crops[index], labels[index])
    return semantic


def _paint(semantic: np.ndarray, y: int, x: int, crop: np.ndarray, value: int) -> None:
    semantic[y : y + crop.shape[0], x : x + crop.shape[1]][crop > 0] = value
