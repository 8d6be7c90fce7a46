"""The network, and the annotations that it is trained on."""

from htc.model.htc import HTC
from htc.model.postprocess import Detections
from htc.model.targets import GroundTruth


def build_model(config) -> HTC:
    """The network of a configuration (htc.load_config), with fresh random weights."""
    return HTC(config)


__all__ = ["HTC", "Detections", "GroundTruth", "build_model"]
