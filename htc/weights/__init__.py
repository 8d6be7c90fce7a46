"""Weight files of any known format and origin, read without executing anything in them."""

from htc.weights.loading import load_weights
from htc.weights.reading import WeightFile, open_weights, read_weights
from htc.weights.report import Mismatch, WeightReport
from htc.weights.tensors import WeightError
from htc.weights.writing import write_weights

__all__ = [
    "Mismatch",
    "WeightError",
    "WeightFile",
    "WeightReport",
    "load_weights",
    "open_weights",
    "read_weights",
    "write_weights",
]
