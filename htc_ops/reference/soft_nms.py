"""What soft non-maximum suppression computes, in NumPy. Slow, and meant to be read."""

import numpy as np

from htc_ops.reference.nms import falling, iou_with


def soft_nms(boxes, scores, iou_threshold=0.3, sigma=0.5, min_score=1e-3, method="linear"):
    """boxes [N, 4], scores [N] -> kept indices [K], by falling new score, and new scores [K]."""
    number = boxes.dtype.type
    scores = scores.copy()
    left = scores >= number(min_score)  # NaN is not
    kept = []
    while left.any():
        best = next(index for index in falling(scores) if left[index])
        kept.append(best)
        left[best] = False
        iou = iou_with(boxes[best], boxes)
        with np.errstate(all="ignore"):  # infinite scores and areas
            if method == "linear":
                weight = number(1) - np.minimum(iou, number(1))
                weight[iou <= number(iou_threshold)] = 1
            else:
                exponent = -(iou * iou) / number(sigma)
                weight = np.exp(exponent.astype(np.float64)).astype(boxes.dtype)
            scores = np.where(left, scores * weight, scores)
        left &= scores >= number(min_score)
    return np.array(kept, np.int64), scores[kept]
