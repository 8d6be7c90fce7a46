"""Hybrid Task Cascade (K. Chen et al., CVPR 2019, arXiv 1901.07518), pictures to detections."""

from __future__ import annotations

import paddle

from htc.config.run_schema import Config
from htc.model.cascade import Cascade, Features
from htc.model.fpn import FPN
from htc.model.losses import total_loss
from htc.model.postprocess import Detections
from htc.model.resizing import plain
from htc.model.resnet import ResNet
from htc.model.rpn import RPN
from htc.model.semantic_head import SemanticHead
from htc.model.targets import Choose, GroundTruth, check_ground_truth, choose_at_random


class HTC(Cascade):
    """The whole network: the cascade of RoI heads, and in front of it what feeds it.

    Parts: backbone, fpn, semantic_head (or None), rpn, box_heads, mask_heads (empty without masks).

    Args:
        config: a Config; its `model`, `num_classes` and `num_semantic_classes` are read.
        choose: which anchors and RoIs are sampled in training: at random, unless a test wants
            the same ones every time.
    """

    def __init__(self, config: Config, choose: Choose = choose_at_random):
        model = config.model
        super().__init__(model, config.num_classes, choose)
        channels, levels = model.fpn.channels, len(model.anchors.strides)
        self.backbone = ResNet(model.backbone)
        self.fpn = FPN(self.backbone.out_channels, channels)
        self.rpn = RPN(channels, model.rpn, model.anchors, choose)
        self.semantic_head = None
        if model.semantic.enabled:
            classes = config.num_semantic_classes
            self.semantic_head = SemanticHead(levels, channels, model.semantic, classes)
        if model.small_start:
            for head in [*self.mask_heads, *([self.semantic_head] if self.semantic_head else [])]:
                head.start_small()

    def forward(
        self,
        images: paddle.Tensor,
        image_sizes: paddle.Tensor,
        ground_truth: list[GroundTruth] | None = None,
    ) -> Detections | dict:
        """Detections of a batch, or with ground truth its losses.

        Args:
            images: [B, 3, H, W] float32 RGB, normalised, padded with 0 at the right and bottom;
                H and W are multiples of 32.
            image_sizes: [B, 2] float32, (height, width) of each picture before padding.
            ground_truth: one a picture, to train.

        Returns:
            Detections in pixels of `images`; or 0-D losses, each with its weight in it, as far as
            the model has them: loss_rpn_cls, loss_rpn_reg, loss_semantic, loss_bbox_cls_stage<t>,
            loss_bbox_reg_stage<t>, loss_mask_stage<t>, and loss, their sum.

        Raises:
            ValueError: arguments that do not fit together.
            FloatingPointError: a loss that is not finite.
        """
        training = ground_truth is not None
        if paddle.in_dynamic_mode():
            check_images(images, image_sizes)
        if training:
            masks, semantic_maps = len(self.mask_heads) > 0, self.semantic_head is not None
            sizes = image_sizes.tolist()
            check_ground_truth(ground_truth, sizes, self.num_classes, masks, semantic_maps)

        pyramid = self.fpn(self.backbone(images))  # P2 .. P6
        semantic = self.semantic_head(pyramid) if self.semantic_head else None
        levels = self.rpn(pyramid)
        image_sizes = image_sizes.astype(levels[0].logits.dtype)
        proposals = self.rpn.proposals(levels, image_sizes, training)
        # RoIs are pooled four times: one copy of the maps for that will do.
        embedding = semantic.embedding if semantic else None
        features = Features(
            [plain(x) for x in pyramid], None if embedding is None else plain(embedding)
        )
        if not training:
            return self.run_cascade(features, proposals, image_sizes)

        losses = self.rpn.losses(levels, image_sizes, ground_truth)
        if semantic:
            losses.update(self.semantic_head.losses(semantic, ground_truth))
        losses.update(self.run_cascade(features, proposals, image_sizes, ground_truth))
        losses["loss"] = total_loss(losses, [truth.picture_id for truth in ground_truth])
        return losses


def check_images(images, image_sizes):
    """Raise ValueError for a batch that the network cannot take."""
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 32 or images.shape[3] % 32:
        raise ValueError(
            "images: expected [B, 3, H, W] with H and W padded to multiples of 32, "
            f"got {list(images.shape)}"
        )
    if list(image_sizes.shape) != [images.shape[0], 2]:
        raise ValueError(
            f"image_sizes: expected [{images.shape[0]}, 2] (height, width), "
            f"got {list(image_sizes.shape)}"
        )
