"""A 3x3 convolution for predictions on a CPU."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library


@_library.operator
def conv3x3(x, weight, bias=None, relu=False):
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
        bias: [K] float32, or None.
        relu: whether negative results become 0.

    Returns:
        [B, K, H, W] float32.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_tensor("x", x, ("B", "C", "H", "W"), (paddle.float32,))
    checks.check_tensor("weight", weight, ("K", "C", "3", "3"), (paddle.float32,))
    filters, channels, height, width = weight.shape
    if (height, width) != (3, 3) or channels != x.shape[1]:
        raise ValueError(f"weight: expected [K, {x.shape[1]}, 3, 3], got {list(weight.shape)}")
    if not isinstance(relu, bool):
        raise TypeError(f"relu: expected True or False, got {relu!r}")
    for name, value in (("x", x), ("weight", weight)):
        if not checks.is_symbolic(value) and not value.place.is_cpu_place():
            raise ValueError(f"{name}: expected a tensor on the CPU, got one on {value.place}")
    if bias is None:
        bias = paddle.zeros([filters], "float32")
    else:
        checks.check_tensor("bias", bias, ("K",), (paddle.float32,))
        checks.check_length("bias", bias, filters, "one a filter of weight")
        checks.check_same_device("bias", bias, "weight", weight)
    inputs = {
        "X": checks.contiguous(x),
        "Weight": checks.contiguous(weight),
        "Bias": checks.contiguous(bias),
    }
    with paddle.no_grad():
        return _library.call(
            "htc_winograd_conv", inputs, {"relu": relu}, {"Result": paddle.float32}
        )[0]
