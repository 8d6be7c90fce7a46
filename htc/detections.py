"""Detections of one picture, in host memory, in pixels of the picture as it was given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Detections:
    """Objects found in a picture, by falling score.

    boxes: [N, 4] float32 xyxy, px of the picture as given.
    scores: [N] float32 in 0..1.
    labels: [N] int64, 0 .. num_classes - 1.
    masks: N compressed COCO RLE dicts {"size": [height, width], "counts": bytes}, or None of a
        model without masks.
    size: (height, width) of the picture.
    class_names: of each label, or None where nobody knows them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[dict] | None
    size: tuple[int, int]
    class_names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def bitmaps(self) -> np.ndarray:
        """The masks as [N, H, W] uint8 of 0 and 1, made on demand: N * H * W bytes."""
        from pycocotools import mask as rle_tools

        if self.masks is None:
            raise ValueError("bitmaps: the model has no masks (model.mask_head.enabled is false)")
        if not self.masks:
            return np.zeros((0, *self.size), np.uint8)
        return np.ascontiguousarray(rle_tools.decode(self.masks).transpose(2, 0, 1))

    def above(self, score: float) -> Detections:
        """Those of at least this score."""
        return self.take(np.flatnonzero(self.scores >= score))

    def take(self, index: np.ndarray) -> Detections:
        """The rows of an index, in its order."""
        masks = None if self.masks is None else [self.masks[i] for i in index]
        return Detections(
            self.boxes[index],
            self.scores[index],
            self.labels[index],
            masks,
            self.size,
            self.class_names,
        )

    def to_coco(self, picture_id, category_ids: list[int] | None = None) -> list[dict]:
        """Entries of a COCO results file: one a detection, boxes as [x, y, width, height].

        Args:
            category_ids: of each label; None writes label + 1.
        """
        entries = []
        for row in range(len(self)):
            x1, y1, x2, y2 = (round(float(value), 3) for value in self.boxes[row])
            label = int(self.labels[row])
            entry = {
                "image_id": picture_id,
                "category_id": label + 1 if category_ids is None else category_ids[label],
                "bbox": [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
                "score": round(float(self.scores[row]), 6),
            }
            if self.masks is not None:
                counts = self.masks[row]["counts"]
                counts = counts.decode() if isinstance(counts, bytes) else counts
                entry["segmentation"] = {"size": list(self.size), "counts": counts}
            entries.append(entry)
        return entries
