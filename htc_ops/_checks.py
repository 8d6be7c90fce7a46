"""The argument checks of the operators: what is expected and what came, by name.

In a program that is being built (to_static) sizes may be unknown (-1); those pass here and meet the
checks of the compiled operator when the program runs.
"""

from __future__ import annotations

import numbers

import paddle
from paddle.base import framework

FLOATS = (paddle.float32, paddle.float64)
HALF_FLOATS = (paddle.float16, paddle.bfloat16, paddle.float32, paddle.float64)
# What convolutions for predictions multiply.
FACTORS = (paddle.float32, paddle.bfloat16)
INTEGERS = (paddle.int32, paddle.int64)


def is_symbolic(value) -> bool:
    """Whether a value stands for a tensor of a program that is being built."""
    return not isinstance(value, paddle.Tensor)


def _describe(value) -> str:
    shape = getattr(value, "shape", None)
    dtype = getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return f"{type(value).__name__} {value!r}"[:200]
    return f"{dtype_name(dtype)} {list(shape)}"


def dtype_name(dtype) -> str:
    return str(dtype).split(".")[-1].lower()


def check_tensor(name: str, value, shape: tuple, dtypes: tuple) -> None:
    """Check one tensor argument.

    Args:
        name: the argument.
        value: what came.
        shape: a letter for a free size (an equal letter does not mean an equal size), a number for
            a fixed one, for example ("R", 4).
        dtypes: those that are allowed.

    Raises:
        TypeError: no tensor, or another dtype.
        ValueError: another rank or size.
    """
    if not isinstance(value, paddle.Tensor) and not isinstance(value, _symbolic_types()):
        expected = _expected(shape, dtypes)
        raise TypeError(f"{name}: expected a Tensor {expected}, got {_describe(value)}")
    if value.dtype not in dtypes:
        raise TypeError(f"{name}: expected {_expected(shape, dtypes)}, got {_describe(value)}")
    actual = value.shape
    if len(actual) != len(shape) or any(
        not isinstance(wanted, str) and size not in (wanted, -1)
        for wanted, size in zip(shape, actual, strict=False)
    ):
        raise ValueError(f"{name}: expected {_expected(shape, dtypes)}, got {_describe(value)}")


def _expected(shape: tuple, dtypes: tuple) -> str:
    sizes = ", ".join(str(size) for size in shape)
    return f"[{sizes}] of {' or '.join(dtype_name(dtype) for dtype in dtypes)}"


def _symbolic_types() -> tuple:
    types = [framework.Variable]
    if hasattr(paddle, "pir"):
        types.append(paddle.pir.Value)
    return tuple(types)


def check_same(name: str, value, other_name: str, other) -> None:
    """Two tensors must share dtype and device."""
    if value.dtype != other.dtype:
        raise TypeError(
            f"{name}: expected the dtype of {other_name}, {dtype_name(other.dtype)}, "
            f"got {dtype_name(value.dtype)}"
        )
    check_same_device(name, value, other_name, other)


def check_same_device(name: str, value, other_name: str, other) -> None:
    if is_symbolic(value) or is_symbolic(other):
        return
    if value.place.is_gpu_place() != other.place.is_gpu_place():
        raise ValueError(
            f"{name}: expected the device of {other_name}, {other.place}, got {value.place}"
        )


def check_cpu(name: str, value) -> None:
    """Of the operators that have no CUDA kernel."""
    if not is_symbolic(value) and not value.place.is_cpu_place():
        raise ValueError(f"{name}: expected a tensor on the CPU, got one on {value.place}")


def check_cpu_map(name: str, value) -> None:
    """A float32 map [B, C, H, W] on the CPU."""
    check_tensor(name, value, ("B", "C", "H", "W"), (paddle.float32,))
    check_cpu(name, value)


def check_convolution(
    x, weight, bias, scale, kernel: tuple | None = None, x_dtypes=(paddle.float32,)
) -> None:
    """x [B, C, H, W], weight [K, C, h, w], bias and scale [K] or None, all on the CPU.

    weight is float32 or bfloat16, bias and scale are float32.

    Args:
        kernel: the one (h, w) that is allowed, or None: any with a weight in it.
        x_dtypes: those that x may have.
    """
    check_tensor("x", x, ("B", "C", "H", "W"), x_dtypes)
    check_cpu("x", x)
    check_tensor("weight", weight, ("K", "C", "h", "w"), FACTORS)
    check_cpu("weight", weight)
    filters, channels, *size = weight.shape
    if channels != x.shape[1] or tuple(size) != (kernel or tuple(size)) or 0 in size:
        height, width = kernel or ("h", "w")
        raise ValueError(
            f"weight: expected [K, {x.shape[1]}, {height}, {width}], got {list(weight.shape)}"
        )
    for name, value in (("bias", bias), ("scale", scale)):
        if value is not None:
            check_tensor(name, value, ("K",), (paddle.float32,))
            check_length(name, value, filters, "one a filter of weight")
            check_cpu(name, value)


def check_flag(name: str, value) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return value


def check_length(name: str, value, count: int, meaning: str) -> None:
    """The first size of a tensor must be `count`; `meaning` says what that is."""
    if count >= 0 and value.shape[0] not in (count, -1):
        raise ValueError(f"{name}: expected {count} rows, {meaning}, got {value.shape[0]}")


def fits(shape, expected) -> bool:
    """Whether all sizes are equal, as far as a program that is being built knows them."""
    return all(-1 in (a, b) or a == b for a, b in zip(shape, expected, strict=True))


def check_sizes(name: str, value, expected: list, meaning: str) -> None:
    """All sizes of a tensor must be the expected ones; `meaning` says what these are."""
    if not fits(value.shape, expected):
        raise ValueError(f"{name}: expected {expected} {meaning}, got {list(value.shape)}")


def check_boxes_num(name: str, boxes_num, boxes_name: str, boxes) -> None:
    """The boxes of each picture: [B] integers whose sum is the number of boxes.

    The sum is looked at where that costs no wait for a GPU; there the kernels give the boxes left
    over to the last picture.
    """
    check_tensor(name, boxes_num, ("B",), INTEGERS)
    check_same_device(name, boxes_num, boxes_name, boxes)
    if is_symbolic(boxes_num) or is_symbolic(boxes) or not boxes_num.place.is_cpu_place():
        return
    counts = boxes_num.numpy()
    if (counts < 0).any() or counts.sum() != boxes.shape[0]:
        raise ValueError(
            f"{name}: expected counts that add up to the {boxes.shape[0]} rows of {boxes_name}, "
            f"got {counts.tolist()}"
        )


def check_fraction(name: str, value) -> float:
    """A real number from 0 to 1."""
    number = check_real(name, value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value}")
    return number


def check_real(name: str, value) -> float:
    if type(value) in (float, int):  # the common case, without the slower abstract classes
        return float(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {_describe(value)}")
    return float(value)


def check_integer(name: str, value, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an integer, got {_describe(value)}")
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, got {value}")
    return int(value)


def check_pair(name: str, value, minimum: int = 1) -> tuple[int, int]:
    """An integer, or (height, width)."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = (value, value)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name}: expected an integer or (height, width), got {_describe(value)}")
    return check_integer(name, value[0], minimum), check_integer(name, value[1], minimum)
