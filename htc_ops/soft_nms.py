"""Soft non-maximum suppression: overlapping boxes lose score instead of being removed."""

from __future__ import annotations

import math

from htc_ops import _checks as checks
from htc_ops import _library
from htc_ops.nms import check_scored_boxes

_METHODS = ("linear", "gaussian")


@_library.operator
def soft_nms(boxes, scores, iou_threshold=0.3, sigma=0.5, min_score=1e-3, method="linear"):
    """Lower the scores of boxes that overlap better ones.

    Again and again the box with the highest score is kept (of equal scores the lower index), and
    the scores of all boxes that are left are multiplied by a weight that falls with their IoU with
    it:

    - "linear": 1 - IoU where the IoU is strictly above iou_threshold, else 1;
    - "gaussian": exp(-IoU * IoU / sigma).

    A box is dropped as soon as its score is not at least min_score.

    Source: N. Bodla et al., ICCV 2017, arXiv 1704.04503 (which lowers scores at the threshold too:
    that differs for an IoU equal to it alone).

    Args:
        boxes: [N, 4] float32 or float64, x1 y1 x2 y2 in pixels, N below 2^31. IoU, and boxes that
            overlap nothing, as for nms. An IoU above 1, where areas overflow, counts as 1.
        scores: [N], dtype of boxes. Those that are negative or NaN are below any min_score.
        iou_threshold: a number from 0 to 1; without meaning for "gaussian".
        sigma: the width of the gaussian, above 0; without meaning for "linear".
        min_score: a number of at least 0.
        method: "linear" or "gaussian".

    Returns:
        (kept, new_scores): int64 [K], indices of the kept boxes by falling new score, and [K], the
        scores that they were kept with, dtype of boxes. No gradient.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    check_scored_boxes(boxes, scores)
    if not isinstance(method, str) or method not in _METHODS:
        raise ValueError(f"method: expected 'linear' or 'gaussian', got {method!r}")
    if not 0 < checks.check_real("sigma", sigma) < math.inf:
        raise ValueError(f"sigma: expected a finite number above 0, got {sigma}")
    if not checks.check_real("min_score", min_score) >= 0:
        raise ValueError(f"min_score: expected a number of at least 0, got {min_score}")
    inputs = {"Boxes": boxes, "Scores": scores}
    attributes = {
        "iou_threshold": _library.real(checks.check_fraction("iou_threshold", iou_threshold)),
        "sigma": _library.real(sigma),
        "min_score": _library.real(min_score),
        "gaussian": method == "gaussian",
    }
    outputs = {"Kept": "int64", "KeptScores": boxes.dtype}
    kept, new_scores = _library.call("htc_soft_nms", inputs, attributes, outputs)
    return kept, new_scores
