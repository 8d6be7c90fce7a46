"""Hybrid Task Cascade instance segmentation for PaddlePaddle.

config = htc.load_config("htc_r50_fpn_1x_coco", overrides=["num_classes=5"])
model = htc.build_model(config)
htc.load_weights(model, "weights.pth")
"""

from importlib import import_module

# Loaded when first used: `import htc` alone does not import Paddle.
_HOMES = {
    "load_config": "htc.config",
    "build_model": "htc.model",
    "load_weights": "htc.weights",
    "Predictor": "htc.predictor",
    "Detections": "htc.predictor",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'htc' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])
