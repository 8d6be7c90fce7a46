"""A 3x3 convolution for predictions on a CPU."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library


@_library.operator
def conv3x3(x, weight, bias=None, scale=None, add=None, relu=False):
    """Convolve with 3x3 filters, stride 1 and a border of zeros, by a quarter of the products.

    As htc_ops.conv2d(x, weight, bias, scale, add, padding=1, relu=relu), but by Winograd's minimal
    filtering: 36 products for each 4 x 4 pixels and channel in place of 144. The results differ from
    those of a direct sum by rounding, some 3e-6 of their largest magnitude. The order of adding up
    is the same for any number of threads. A NaN or infinite pixel reaches the other pixels of its
    4 x 4 tile and of the neighbouring ones. Maps of at most 64 pixels are summed directly.

    On the CPU and without a gradient: for predictions. Where weight is bfloat16 what is multiplied
    is rounded to it, and products are added up in float32. The results then differ from the sums of
    float32 by some 0.8 % of their magnitude at worst (white noise), four times as much as a direct
    sum of bfloat16 products does.

    Source: Lavin and Gray, arXiv 1509.09308, section 4.3, F(4x4, 3x3), at other points.

    Args:
        x: [B, C, H, W] float32.
        weight: [K, C, 3, 3] float32 or bfloat16.
        bias: [K] float32, or None: 0.
        scale: [K] float32, or None: 1. The result is the sum * scale + bias, as of a batch norm.
        add: float32 as the result, added to it; or None.
        relu: whether negative results become 0, after the addition.

    Returns:
        [B, K, H, W] float32.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_convolution(x, weight, bias, scale, (3, 3))
    if add is not None:
        checks.check_cpu_map("add", add)
        checks.check_sizes("add", add, [x.shape[0], weight.shape[0], *x.shape[2:]], "as the result")
    inputs = {"X": x, "Weight": weight, "Bias": bias, "Scale": scale, "Add": add}
    attributes = {"relu": checks.check_flag("relu", relu)}
    with paddle.no_grad():
        return _library.call("htc_conv3x3", inputs, attributes, {"Result": paddle.float32})[0]
