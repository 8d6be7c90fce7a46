"""The end of a mask head for predictions on a CPU."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library


@_library.operator
def mask_logits(features, upsample_weight, upsample_bias, weight, bias, labels):
    """A 2x2 deconvolution, ReLU and a 1x1 convolution, of which only each RoI's own class is summed.

    As F.conv2d(F.relu(F.conv2d_transpose(features, upsample_weight, upsample_bias, stride=2)),
    weight, bias), of whose maps of all classes RoI r keeps that of labels[r]; but nothing between
    features and result is written to memory. On the CPU, in float32, and without a gradient.

    Args:
        features: [R, C, H, W] float32.
        upsample_weight: [C, D, 2, 2] float32, as of paddle.nn.Conv2DTranspose; or bfloat16: then
            features is rounded to it too, and the deconvolution adds up their products in float32.
        upsample_bias: [D] float32.
        weight: [classes, D, 1, 1] float32.
        bias: [classes] float32.
        labels: [R] int32 or int64, each from 0 to classes - 1.

    Returns:
        [R, 2 H, 2 W] float32.

    Raises:
        TypeError, ValueError: an argument that is not as above.

    Source: mmdetection 3.3.0, fcn_mask_head.py (FCNMaskHead.forward, and the choice of the class in
    _predict_by_feat_single).
    """
    checks.check_cpu_map("features", features)
    floats = (paddle.float32,)
    checks.check_tensor("upsample_weight", upsample_weight, ("C", "D", "2", "2"), checks.FACTORS)
    checks.check_tensor("weight", weight, ("classes", "D", "1", "1"), floats)
    checks.check_tensor("labels", labels, ("R",), checks.INTEGERS)
    for name, value in (
        ("upsample_weight", upsample_weight), ("weight", weight), ("labels", labels)
    ):  # fmt: skip
        checks.check_cpu(name, value)
    hidden = upsample_weight.shape[1]
    if list(upsample_weight.shape) != [features.shape[1], hidden, 2, 2]:
        raise ValueError(
            f"upsample_weight: expected [{features.shape[1]}, D, 2, 2], as features has"
            f" {features.shape[1]} channels, got {list(upsample_weight.shape)}"
        )
    classes = weight.shape[0]
    if list(weight.shape) != [classes, hidden, 1, 1]:
        raise ValueError(f"weight: expected [classes, {hidden}, 1, 1], got {list(weight.shape)}")
    for name, value, count, meaning in (
        ("upsample_bias", upsample_bias, hidden, "one a channel of upsample_weight"),
        ("bias", bias, classes, "one a class of weight"),
    ):
        checks.check_tensor(name, value, ("N",), floats)
        checks.check_length(name, value, count, meaning)
        checks.check_cpu(name, value)
    checks.check_length("labels", labels, features.shape[0], "one a RoI of features")
    if not checks.is_symbolic(labels) and labels.shape[0]:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise ValueError(f"labels: expected classes from 0 to {classes - 1}, got {wrong}")
    inputs = {
        "Features": features,
        "UpsampleWeight": upsample_weight,
        "UpsampleBias": upsample_bias,
        "Weight": weight,
        "Bias": bias,
        "Labels": labels,
    }
    with paddle.no_grad():
        return _library.call("htc_mask_logits", inputs, {}, {"Logits": paddle.float32})[0]
