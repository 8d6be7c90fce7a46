"""What the operators are measured against: torchvision's, and compositions of PyTorch's own."""

from __future__ import annotations

import torch
import torchvision

NEAR = 1e-6


def batch_index(boxes, boxes_num):
    """torchvision's boxes: the number of the picture, then x1 y1 x2 y2."""
    pictures = torch.arange(len(boxes_num), device=boxes.device).repeat_interleave(boxes_num)
    return torch.cat([pictures[:, None].to(boxes.dtype), boxes], dim=1)


def levels_of(boxes, num_levels, canonical_size=56):
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = torch.floor(torch.log2(size.sqrt() / canonical_size + NEAR))
    return level.clamp(0, num_levels - 1).long()


def roi_align(features, rois, output_size, scales, sampling_ratio=-1):
    """torchvision's roi_align, level by level; rois as of batch_index, in the features' dtype."""
    align = torchvision.ops.roi_align
    if len(features) == 1:
        return align(features[0], rois, output_size, scales[0], sampling_ratio, aligned=True)
    level = levels_of(rois[:, 1:].float(), len(features))
    pooled = features[0].new_empty(len(rois), features[0].shape[1], *output_size)
    for number, (x, scale) in enumerate(zip(features, scales, strict=True)):
        chosen = torch.nonzero(level == number)[:, 0]
        pooled[chosen] = align(x, rois[chosen], output_size, scale, sampling_ratio, aligned=True)
    return pooled


def roi_align_grad(grad, sizes, rois, scales, sampling_ratio=-1):
    """The backward alone, by the operator under torchvision's autograd function."""
    backward = torch.ops.torchvision._roi_align_backward
    if len(sizes) == 1:
        pooled = grad.shape[2:]
        return [backward(grad, rois, scales[0], *pooled, *sizes[0], sampling_ratio, True)]
    level = levels_of(rois[:, 1:].float(), len(sizes))
    results = []
    for number, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        chosen = torch.nonzero(level == number)[:, 0]
        part = grad[chosen].contiguous()
        results.append(
            backward(part, rois[chosen], scale, *grad.shape[2:], *size, sampling_ratio, True)
        )
    return results


def nms(boxes, scores, threshold):
    return torchvision.ops.nms(boxes, scores, threshold)


def batched_nms(boxes, scores, class_ids, threshold):
    return torchvision.ops.batched_nms(boxes, scores, class_ids, threshold)


def match_anchors(anchors, gts, positive, negative, least):
    """The max-IoU rule as detectors in PyTorch write it: the matrix, then maxima both ways."""
    iou = torchvision.ops.box_iou(anchors, gts)  # [A, G]
    max_iou, index = iou.max(dim=1)
    best = iou.max(dim=0).values
    matched = torch.full_like(index, -2)
    matched[max_iou < negative] = -1
    positives = max_iou >= positive
    matched[positives] = index[positives]
    takes = (iou == best) & (best >= least)  # the later ground truth wins
    order = torch.arange(1, len(gts) + 1, device=iou.device)
    taker = (takes * order).max(dim=1).values
    return torch.where(taker > 0, taker - 1, matched), max_iou


def paste_masks(masks, boxes, size, threshold=0.5, at_a_time=100):
    """grid_sample over the whole picture, some masks at a time so that the floats fit."""
    height, width = size
    results = []
    for first in range(0, len(masks), at_a_time):
        part, box = masks[first : first + at_a_time], boxes[first : first + at_a_time].to(masks)
        y = torch.arange(height, device=masks.device, dtype=masks.dtype) + 0.5
        x = torch.arange(width, device=masks.device, dtype=masks.dtype) + 0.5
        y = (y - box[:, 1:2]) / (box[:, 3:4] - box[:, 1:2]) * 2 - 1
        x = (x - box[:, 0:1]) / (box[:, 2:3] - box[:, 0:1]) * 2 - 1
        grid = torch.stack(
            [
                x[:, None, :].expand(-1, height, -1),
                y[:, :, None].expand(-1, -1, width),
            ],
            dim=3,
        )
        values = torch.nn.functional.grid_sample(part[:, None], grid, align_corners=False)
        results.append((values[:, 0] >= threshold).to(torch.uint8))
    return torch.cat(results)


def paste_masks_packed(masks, boxes, size):
    """The bitmaps, then eight pixels to a byte, the first in the highest bit."""
    bitmaps = paste_masks(masks, boxes, size)
    bitmaps = torch.nn.functional.pad(bitmaps, (0, -size[1] % 8))
    weights = 2 ** torch.arange(7, -1, -1, device=masks.device, dtype=torch.uint8)
    return (bitmaps.unflatten(-1, (-1, 8)) * weights).sum(-1, dtype=torch.uint8)


def mask_targets(boxes, bitmaps, gt_index, size):
    """torchvision's roi_align on the bitmaps as floats, then the threshold."""
    rois = torch.cat([gt_index[:, None].to(boxes.dtype), boxes], dim=1)
    pooled = torchvision.ops.roi_align(bitmaps[:, None].to(boxes.dtype), rois, size, 1.0, -1, True)
    return (pooled[:, 0] >= 0.5).to(torch.float32)


def decode_boxes(boxes, deltas):
    center = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    size = boxes[:, 2:] - boxes[:, :2]
    limit = 4.135166556742356
    middle = center + size * deltas[:, :2]
    half = size * deltas[:, 2:].clamp(-limit, limit).exp() * 0.5
    return torch.cat([middle - half, middle + half], dim=1)
