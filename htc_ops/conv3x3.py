"""A 3x3 convolution for predictions on a CPU."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library


@_library.operator
def conv3x3(x, weight, bias=None, scale=None, relu=False):
    """Convolve with 3x3 filters, stride 1 and a border of zeros, by a quarter of the products.

    As paddle.nn.functional.conv2d(x, weight, bias, padding=1), and F.relu of it on request, but by
    Winograd's minimal filtering: 36 products for each 4 x 4 pixels and channel in place of 144. The
    results differ from those of a direct sum by rounding, some 1e-5 of their largest magnitude.
    The order of adding up is the same for any number of threads. A NaN or infinite pixel reaches
    the other pixels of its 4 x 4 tile and of the neighbouring ones.

    On the CPU, in float32, and without a gradient: for predictions.

    Source: Lavin and Gray, arXiv 1509.09308, section 4.3, F(4x4, 3x3).

    Args:
        x: [B, C, H, W] float32.
        weight: [K, C, 3, 3] float32.
        bias: [K] float32, or None: 0.
        scale: [K] float32, or None: 1. The result is the sum * scale + bias, as of a batch norm.
        relu: whether negative results become 0.

    Returns:
        [B, K, H, W] float32.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_convolution(x, weight, bias, scale, (3, 3))
    inputs = {"X": x, "Weight": weight, "Bias": bias, "Scale": scale}
    attributes = {"relu": checks.check_flag("relu", relu)}
    with paddle.no_grad():
        return _library.call("htc_conv3x3", inputs, attributes, {"Result": paddle.float32})[0]
