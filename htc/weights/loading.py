"""Puts a weight file into a model: everything is checked and read first, then assigned."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from htc.weights.notes import origin_notes, shape_notes
from htc.weights.reading import open_weights, read_tensor
from htc.weights.report import Mismatch, WeightReport
from htc.weights.tensors import WeightError
from htc.weights.translating import translate

logger = logging.getLogger("htc.weights")


def load_weights(model, path: str | Path, ema: bool = False) -> WeightReport:
    """Loads a weight file of any known format and any known names into a model.

    Formats: PyTorch .pth/.pt (zip and legacy), Paddle .pdparams, .npz, .safetensors. Names: ours,
    mmdetection 2.x/3.x, torchvision and timm ResNets (the backbone alone), the older Paddle
    reproduction. Nothing in the file is executed. Values are converted to each parameter's type.

    Tensors of another shape (another number of classes, say) are left out and reported; parameters
    without a tensor keep their values. On any error the model is untouched.

    Args:
        model: a paddle.nn.Layer with our parameter names (htc.build_model).
        ema: take the averaged weights where the file holds both.

    Returns:
        A report of what was loaded, missing, unexpected and mismatched; it is logged, too.

    Raises:
        WeightError (a ValueError): the file cannot be read or trusted, or nothing in it fits.
    """
    file = open_weights(path, ema)
    try:
        translated = translate(file.tensors)
    except WeightError as error:
        raise WeightError(f"{path}: {error}") from None
    parameters = model.state_dict()
    report = WeightReport(str(path), f"{file.format}, names of {translated.source}")
    report.notes += file.notes
    report.ignored = translated.ignored
    report.unexpected = list(translated.unknown)
    values = {}
    for name, tensor in translated.tensors.items():
        if name not in parameters:
            report.unexpected.append(translated.file_names[name])
        elif tuple(parameters[name].shape) != tensor.shape:
            shape = tuple(parameters[name].shape)
            report.mismatched.append(Mismatch(name, tensor.shape, shape))
        else:
            values[name] = read_tensor(path, name, tensor)
            report.loaded.append(name)
    mismatched = {mismatch.name for mismatch in report.mismatched}
    report.missing = [name for name in parameters if name not in values and name not in mismatched]
    report.notes += origin_notes(model, file, translated, values)
    report.notes += shape_notes(report)
    if not values:
        raise WeightError(f"{path}: nothing in the file fits the model: {_why(report)}")
    _assign(parameters, values)
    logger.info("%s", report)
    return report


def _why(report: WeightReport) -> str:
    """One line on a file of which nothing was loaded."""
    if report.mismatched:
        return f"{len(report.mismatched)} tensors of another shape, first {report.mismatched[0]}"
    return f"the model has none of its names, first {report.unexpected[0]}"


def _assign(parameters: dict, values: dict[str, np.ndarray]) -> None:
    import paddle  # only here: reading and converting files needs no Paddle

    converted = {}
    for name, array in values.items():
        # By way of float32, which every type that weights come in fits: NumPy has no bfloat16.
        if array.dtype != np.float64:
            array = np.asarray(array, np.float32)
        converted[name] = paddle.to_tensor(array, place=paddle.CPUPlace()).astype(
            parameters[name].dtype
        )
    for name, tensor in converted.items():
        parameters[name].set_value(tensor)
