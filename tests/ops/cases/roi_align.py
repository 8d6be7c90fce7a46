"""Feature pyramids and boxes as a detector has them, and boxes that no detector should have."""

import numpy as np

STRIDES = (4, 8, 16, 32)


def feature_pyramid(size=(800, 1333), channels=256, pictures=1, strides=STRIDES, seed=0):
    """Return a list of float32 [pictures, channels, ceil(height / s), ceil(width / s)]."""
    random = np.random.default_rng(seed)
    return [
        random.standard_normal((pictures, channels, -(-size[0] // s), -(-size[1] // s)), "float32")
        for s in strides
    ]


def boxes_in_picture(count, size=(800, 1333), smallest=8, largest=600, seed=0):
    """Return float32 [count, 4]: sides log-uniform, aspect ratios mixed, clipped to the picture."""
    random = np.random.default_rng(seed)
    center = random.uniform(0, 1, (count, 2)) * (size[1], size[0])
    side = np.exp(random.uniform(np.log(smallest), np.log(largest), (count, 1)))
    stretch = np.exp(random.uniform(-0.5, 0.5, (count, 1)))
    half = np.concatenate([side * stretch, side / stretch], axis=1) / 2
    boxes = np.concatenate([center - half, center + half], axis=1)
    return np.clip(boxes, 0, [size[1], size[0], size[1], size[0]]).astype("float32")


# In a picture of 60 x 80 pixels. Whether Paddle's roi_align gives an answer to them: adaptive grids
# of no samples divide by zero there, negative and huge ones crash.
USUAL_BOXES = np.float32(
    [
        [10, 10, 40, 30],
        [0, 0, 80, 60],
        [3.3, 4.7, 5.1, 50.9],  # thin
        [20.25, 20.25, 20.5, 20.5],  # smaller than a pixel
        [-30, -20, 15, 25],  # partly outside
        [70, 50, 120, 110],
        [-50, -50, -10, -10],  # outside
        [200, 200, 240, 250],
        [-2, -2, 82, 62],  # samples on both sides of the border
        [79, 59, 80, 60],
    ]
)
EMPTY_BOXES = np.float32(
    [
        [20, 20, 20, 20],  # a point
        [20, 10, 20, 30],  # no width
        [10, 20, 30, 20],  # no height
        [30, 30, 10, 10],  # inverted
        [30, 10, 10, 30],
        [10, 30, 30, 10],
    ]
)
_NAN, _INF = np.nan, np.inf
NOT_FINITE_BOXES = np.float32(
    [
        [_NAN, 10, 40, 30],
        [10, _NAN, 40, 30],
        [10, 10, _NAN, 30],
        [10, 10, 40, _NAN],
        [_NAN] * 4,
        [-_INF, 10, 40, 30],
        [10, 10, _INF, 30],
        [-_INF, -_INF, _INF, _INF],
        [_INF, _INF, -_INF, -_INF],
    ]
)
HUGE_BOXES = np.float32(
    [
        [0, 0, 1e30, 1e30],
        [-1e30, -1e30, 1e30, 1e30],
        [-1e30, 0, 1e30, 20],
        [1e30, 1e30, 2e30, 2e30],
        [-1e9, -1e9, 1e9, 1e9],
        [10, 10, 40, 1e20],
        [-3e38, 0, 3e38, 20],  # no finite width in float32
        [0, 0, 2e7, 2e7],
    ]
)
