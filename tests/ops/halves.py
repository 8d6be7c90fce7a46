"""bfloat16 numbers for tests. (On a CPU Paddle 2.6 cuts digits off where it should round.)"""

import numpy as np
import paddle


def rounded(array):
    """float32 of the nearest bfloat16 values, ties to even; what is not finite stays."""
    words = np.ascontiguousarray(array, "float32").view(np.uint32)
    nearest = (words + (0x7FFF + (words >> 16 & 1))) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(array), nearest.view(np.float32), array).astype("float32")


def half_tensor(array):
    """Those values as a bfloat16 tensor."""
    return paddle.to_tensor(rounded(array)).astype("bfloat16")
