"""Convolutions for predictions on a CPU, with what commonly follows them in the same pass."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library


@_library.operator
def conv2d(x, weight, bias=None, scale=None, add=None, stride=1, padding=0, relu=False):
    """Convolve, scale and shift each filter's map, add another map, ReLU: in one pass.

    As paddle.nn.functional.conv2d with a batch norm behind it (its scale and shift), a sum and
    F.relu, each where asked for. It is one matrix product over channels and kernel, summed in the
    same order for any number of threads. On the CPU and without a gradient: for predictions.

    Where x or weight is bfloat16 the other is rounded to it too, and their products are added up in
    float32. On a processor that multiplies them itself that takes less of the time, a third with
    amx_bf16 and half to two thirds with AMD's avx512_bf16; elsewhere it takes longer.

    Args:
        x: [B, C, H, W] float32 or bfloat16.
        weight: [K, C, h, w] float32 or bfloat16.
        bias: [K] float32, or None: 0.
        scale: [K] float32, or None: 1. The result is the sum * scale + bias.
        add: what is added: float32 as the result [B, K, H', W'], or [B, K, H' / 2, W' / 2], of
            which each pixel then counts for 2 x 2 (nearest neighbour); or None.
        stride: 1 or more, along both axes.
        padding: rows and columns of zeros at each side.
        relu: whether negative results become 0: True: after the addition; "before_add".

    Returns:
        [B, K, H', W'] float32, H' = (H + 2 * padding - h) // stride + 1, W' likewise.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_convolution(x, weight, bias, scale, x_dtypes=checks.FACTORS)
    filters, _, *kernel = weight.shape
    stride = checks.check_integer("stride", stride, 1)
    padding = checks.check_integer("padding", padding, 0)
    if not isinstance(relu, bool) and relu != "before_add":
        raise TypeError(f"relu: expected True, False or 'before_add', got {relu!r}")
    out = [x.shape[0], filters]
    for name, size, length in zip(("height", "width"), x.shape[2:], kernel, strict=True):
        if 0 < size < length - 2 * padding:
            raise ValueError(
                f"x: expected a {name} of at least {length - 2 * padding}, for a kernel of {length}"
                f" and a padding of {padding}, got {size}"
            )
        out.append(-1 if size < 0 else max(0, (size + 2 * padding - length) // stride + 1))
    if add is not None:
        checks.check_cpu_map("add", add)
        _check_add(add.shape, out)
    inputs = {"X": x, "Weight": weight, "Bias": bias, "Scale": scale, "Add": add}
    attributes = {
        "stride": stride,
        "padding": padding,
        "relu": relu is True,
        "relu_before_add": relu == "before_add",
    }
    with paddle.no_grad():
        return _library.call("htc_conv2d", inputs, attributes, {"Result": paddle.float32})[0]


def _check_add(shape, out) -> None:
    """As the result, or half of it; sizes that a program does not know yet pass."""
    halves = [*out[:2], *(size // 2 if size % 2 == 0 else None for size in out[2:])]
    if not checks.fits(shape, out) and not checks.fits(shape, halves):
        raise ValueError(
            f"add: expected {out} as the result, or half as high and wide, got {list(shape)}"
        )
