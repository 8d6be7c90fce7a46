"""Test-time augmentation: several sizes and the mirrored picture, for boxes and masks."""

from __future__ import annotations

import numpy as np
import paddle

import htc_ops
from htc.config.run_schema import Config
from htc.data.pictures import resize_picture
from htc.data.transforms import collate, resized_size
from htc.detections import Detections
from htc.inference import paste
from htc.model.boxes import RoIs
from htc.model.cascade import Features


@paddle.no_grad()
def detect_augmented(
    model, config: Config, picture: np.ndarray, short_sides: list[int], flip: bool
) -> Detections:
    """Detections of one picture from several views of it.

    The boxes of all views, moved back to the picture, go through one non-maximum suppression; then
    each view's mask heads look at the boxes that are left, and the mask probabilities are averaged
    (as mmdetection 2.x's aug_test does for the masks).

    Args:
        picture: [H, W, 3] uint8 RGB.
        short_sides: px, one view each; the long side is limited in proportion to
            data.test_long_side.
        flip: also a mirrored view of each.
    """
    sides = (False, True) if flip else (False,)
    views = [_View(model, config, picture, s, mirrored) for s in short_sides for mirrored in sides]
    boxes = paddle.concat([view.boxes for view in views])
    scores = paddle.concat([view.found.scores for view in views])
    labels = paddle.concat([view.found.labels for view in views])
    height, width = picture.shape[:2]
    if boxes.shape[0]:
        kept = htc_ops.batched_nms(boxes, scores, labels, config.model.test.nms_iou)
        kept = kept[: config.model.test.max_detections]
        boxes, scores, labels = (paddle.gather(x, kept) for x in (boxes, scores, labels))
    masks = None
    if model.mask_heads:
        masks = []
        if boxes.shape[0]:
            probs = sum(view.mask_probs(boxes, labels) for view in views) / len(views)
            masks = paste(probs, boxes.numpy(), (height, width), config)
    return Detections(boxes.numpy(), scores.numpy(), labels.numpy(), masks, (height, width))


class _View:
    """One size and orientation of a picture, seen by the network.

    found: detections in pixels of the view. boxes: the same in pixels of the picture, unmirrored.
    """

    def __init__(self, model, config: Config, picture, short_side: int, flip: bool):
        self.model, self.flip, self.width = model, flip, picture.shape[1]
        data = config.data
        long_side = round(data.test_long_side * short_side / data.test_short_side)
        size = resized_size(*picture.shape[:2], short_side, long_side)
        resized = resize_picture(picture, *size)
        images, sizes = collate([resized[:, ::-1] if flip else resized], data)
        images, sizes = paddle.to_tensor(images), paddle.to_tensor(sizes)
        self.scale = paddle.to_tensor(
            np.array([size[1] / picture.shape[1], size[0] / picture.shape[0]] * 2, np.float32)
        )
        pyramid = model.fpn(model.backbone(images))
        semantic = model.semantic_head(pyramid) if model.semantic_head else None
        self.features = Features(pyramid, semantic.embedding if semantic else None)
        proposals = model.rpn.proposals(model.rpn(pyramid), sizes, False)
        self.found = model.run_cascade(self.features, proposals, sizes)
        self.boxes = self._mirrored(self.found.boxes / self.scale)

    def mask_probs(self, boxes, labels):
        """Probabilities [N, 28, 28] for boxes in pixels of the picture, unmirrored."""
        boxes = self._mirrored(boxes) * self.scale
        rois = RoIs(boxes, paddle.to_tensor([boxes.shape[0]], dtype="int32"))
        probs = self.model.mask_probs(self.model.mask_features(self.features, rois), labels)
        return paddle.flip(probs, axis=[2]) if self.flip else probs

    def _mirrored(self, boxes):
        """Boxes [N, 4] of the picture in the mirrored one, or back; as they are without a flip."""
        if not self.flip:
            return boxes
        x1, y1, x2, y2 = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
        return paddle.stack([self.width - x2, y1, self.width - x1, y2], axis=1)
