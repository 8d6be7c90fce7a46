"""Predictions on pictures: files, arrays, batches; with test-time augmentation if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from htc.config import Config, ConfigError, load_config
from htc.data.pictures import read_picture, resize_picture
from htc.data.transforms import collate, resized_size
from htc.detections import Detections
from htc.engine.setup import load_trained, set_device, weights_file
from htc.inference import detect
from htc.weights import open_weights

__all__ = ["Detections", "Predictor"]

Picture = str | Path | np.ndarray


class Predictor:
    """Detects objects in pictures.

    predictor = htc.Predictor("output/my_run")
    detections = predictor(["a.jpg", array])    # arrays [H, W, 3] uint8, RGB

    Args:
        source: a run folder, a checkpoint in it, or a weight file that holds its configuration
            (one that training wrote); or any weight file, with `config`.
        config: name or path of a configuration, or a Config; None: that of `source`.
        device: "auto", "cpu" or "gpu".
        precision: "fp32".
        batch_size: pictures that go through the network together.

    Attributes:
        config, model: as built. class_names: of each label, or None where nobody knows them.

    Raises:
        ConfigError: the source has no configuration, or the weights do not fill the model.
        WeightError: the weights cannot be read.
    """

    def __init__(
        self,
        source: str | Path,
        config: str | Path | Config | None = None,
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int = 1,
    ):
        if precision != "fp32":
            raise ValueError(
                f"precision: expected 'fp32' for weights, got {precision!r}; export the model for"
                " other precisions"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, got {batch_size}")
        path = weights_file(source)
        metadata = open_weights(path).metadata
        if config is None:
            self.config = _stored_config(Path(source), metadata)
        else:
            self.config = config if isinstance(config, Config) else load_config(config)
        self.config.weights = str(path)
        set_device(device)
        self.model = load_trained(self.config)
        names = metadata.get("classes")
        self.class_names = names.split("\n") if names else None
        self.batch_size = batch_size

    def __call__(
        self,
        pictures: Picture | Sequence[Picture],
        score: float = 0.0,
        flip: bool = False,
        short_sides: Iterable[int] = (),
        tile: int = 0,
        overlap: int | None = None,
    ) -> list[Detections]:
        """Detections of each picture, in pixels of the picture as given.

        Args:
            pictures: paths, or arrays [H, W, 3] uint8 RGB.
            score: lowest score kept.
            flip: also predict on the mirrored picture.
            short_sides: also predict at these short sides, px, beside data.test_short_side.
            tile: side, px of the picture, of the tiles that a larger picture is cut into; each is
                resized as a picture of its own, and objects across seams are put together. 0: whole.
            overlap: px that neighbouring tiles share; None: a quarter of the tile.

        Raises:
            DatasetError: a file that cannot be read.
            TypeError, ValueError: an array that is no picture; tiles that cannot be.
        """
        if isinstance(pictures, (str, Path, np.ndarray)):
            pictures = [pictures]
        short_sides = tuple(short_sides)
        if tile:
            overlap = tile // 4 if overlap is None else overlap
            results = [self._in_tiles(p, flip, short_sides, tile, overlap) for p in pictures]
            return [found.above(score) if score > 0 else found for found in results]
        results: list[Detections] = []
        for start in range(0, len(pictures), self.batch_size):
            arrays = [_as_array(picture) for picture in pictures[start : start + self.batch_size]]
            results += self._predict(arrays, flip, short_sides)
        return [found.above(score) if score > 0 else found for found in results]

    def _in_tiles(self, picture, flip: bool, short_sides: tuple, tile: int, overlap: int):
        from htc.tiles import detect_in_tiles

        def detect_tiles(arrays):
            return self._predict(arrays, flip, short_sides)

        nms_iou = self.config.model.test.nms_iou
        return detect_in_tiles(
            _as_array(picture), detect_tiles, tile, overlap, nms_iou, self.batch_size
        )

    def _predict(self, arrays: list, flip: bool, short_sides: tuple) -> list[Detections]:
        data = self.config.data
        if flip or short_sides:
            from htc.augmented import detect_augmented

            sides = dict.fromkeys((data.test_short_side, *short_sides))
            found = [
                detect_augmented(self.model, self.config, array, list(sides), flip)
                for array in arrays
            ]
        else:
            sizes = [
                resized_size(*array.shape[:2], data.test_short_side, data.test_long_side)
                for array in arrays
            ]
            resized = [
                resize_picture(array, *size) for array, size in zip(arrays, sizes, strict=True)
            ]
            images, image_sizes = collate(resized, data)
            originals = [array.shape[:2] for array in arrays]
            found = detect(self.model, self.config, images, image_sizes, originals)
        for detections in found:
            detections.class_names = self.class_names
        return found


def _as_array(picture: Picture) -> np.ndarray:
    if isinstance(picture, (str, Path)):
        return read_picture(picture)
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"pictures: expected a path or an array, got {type(picture).__name__}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(
            f"pictures: expected [H, W, 3] uint8, RGB, got {list(picture.shape)} {picture.dtype}"
        )
    if 0 in picture.shape:
        raise ValueError(f"pictures: expected at least one pixel, got {list(picture.shape)}")
    return picture


def _stored_config(source: Path, metadata: dict) -> Config:
    """The configuration in a weight file, or in the run folder."""
    import yaml

    from htc.config import config_from_dict

    if "config" in metadata:
        return config_from_dict(yaml.safe_load(metadata["config"]))
    file = source / "config.yml"
    if source.is_dir() and file.is_file():
        return load_config(file)
    raise ConfigError(
        f"{source} does not say what model it is of; give its configuration as config="
    )
