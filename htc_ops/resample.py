"""Maps made smaller and larger, for predictions on a CPU."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library


@_library.operator
def max_pool_half(x):
    """The largest of each 3x3 window, at stride 2 and with a border: half the height and width.

    As paddle.nn.functional.max_pool2d(x, 3, stride=2, padding=1). On the CPU, in float32, and
    without a gradient. Of a window with NaN in it, NaN or another of its numbers comes out.

    Args:
        x: [B, C, H, W] float32.

    Returns:
        [B, C, (H + 1) // 2, (W + 1) // 2] float32.

    Raises:
        TypeError, ValueError: x is not as above.
    """
    checks.check_cpu_map("x", x)
    with paddle.no_grad():
        inputs = {"X": x}
        return _library.call("htc_max_pool_half", inputs, {}, {"Result": paddle.float32})[0]


@_library.operator
def resize_like(x, like, relu=False, add=False):
    """Bilinear interpolation to the size of another map, corner pixels on corner pixels.

    As paddle.nn.functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True),
    then F.relu and `+ like` where asked for, in one pass. On the CPU, in float32, and without a
    gradient.

    Args:
        x: [B, C, h, w] float32, h and w at least 1.
        like: [B', C', H, W] float32.
        relu: whether negative numbers of the resized map become 0.
        add: whether `like` is added then; it must have the pictures and channels of x.

    Returns:
        [B, C, H, W] float32.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_cpu_map("x", x)
    checks.check_cpu_map("like", like)
    attributes = {"relu": checks.check_flag("relu", relu), "add": checks.check_flag("add", add)}
    if 0 in x.shape[2:]:
        raise ValueError(f"x: expected pixels, got {list(x.shape)}")
    counts = zip(x.shape[:2], like.shape[:2], strict=True)
    if add and any(a != b and -1 not in (a, b) for a, b in counts):
        raise ValueError(
            f"like: expected {list(x.shape[:2])} pictures and channels, as x has, to add it,"
            f" got {list(like.shape)}"
        )
    inputs = {"X": x, "Like": like}
    with paddle.no_grad():
        return _library.call("htc_resize_like", inputs, attributes, {"Result": paddle.float32})[0]
