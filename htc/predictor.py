"""Predictions on pictures: files, arrays, batches; with test-time augmentation if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from htc.config import Config
from htc.data.pictures import read_picture, resize_picture
from htc.data.transforms import collate, resized_size
from htc.detections import Detections
from htc.engine.setup import set_device
from htc.inference import detect

__all__ = ["Detections", "Predictor"]

Picture = str | Path | np.ndarray


class Predictor:
    """Detects objects in pictures.

    predictor = htc.Predictor("output/my_run")
    detections = predictor(["a.jpg", array])    # arrays [H, W, 3] uint8, RGB

    May be called from several threads; the calls wait for each other. For calls side by side see
    `clone` and htc.deploy.pool.

    Args:
        source: a run folder, a checkpoint in it, or a weight file that holds its configuration
            (one that training wrote); any weight file, with `config`; or the folder of an export
            (python -m htc.export).
        config: name or path of a configuration, or a Config; None: that of `source`.
        device: "auto", "cpu" or "gpu".
        precision: "fp32"; "bf16", faster on a processor that multiplies bfloat16 numbers; "auto":
            the faster of these here; None: fp32. An export has its own.
        batch_size: pictures that go through the network together.
        engine: "eager": the network as Python; "inference": exported to Paddle Inference, once,
            and kept for the next time (htc.deploy.cache); "auto": inference on a CPU, eager on a
            GPU.
        threads: of the CPU, for inference, and those of htc_ops in the whole process; None:
            OMP_NUM_THREADS, or the processors at hand.

    Attributes:
        config: as built. class_names: of each label, or None where nobody knows them.
        engine: "eager" or "inference". precision: "fp32" or "bf16".

    Raises:
        ConfigError: the source has no configuration, or the weights do not fill the model.
        ExportError (a ConfigError): an export that is damaged or does not fit this installation.
        WeightError: the weights cannot be read.
        ValueError: an argument that is not as above.
    """

    def __init__(
        self,
        source: str | Path,
        config: str | Path | Config | None = None,
        device: str = "auto",
        precision: str | None = None,
        batch_size: int = 1,
        engine: str = "auto",
        threads: int | None = None,
    ):
        from htc.deploy.engines import open_network

        if batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, got {batch_size}")
        set_device(device)
        opened = open_network(source, config, precision, engine, threads)
        self._opened = opened
        self._network = opened.network
        self.config, self.class_names = opened.config, opened.class_names
        self.engine, self.precision = opened.engine, opened.precision
        self.batch_size = batch_size

    @property
    def model(self):
        """The eager network; made on first use where predictions do not need it.

        Raises:
            ExportError: there is none, only an export.
        """
        return self._opened.eager()

    def clone(self) -> Predictor:
        """Another predictor for another thread, on the same weights."""
        twin = object.__new__(Predictor)
        twin.__dict__.update(self.__dict__)
        if self.engine == "inference":
            twin._network = self._network.clone()
        return twin

    def __call__(
        self,
        pictures: Picture | Sequence[Picture],
        score: float = 0.0,
        flip: bool = False,
        short_sides: Iterable[int] = (),
        tile: int = 0,
        overlap: int | None = None,
        masks: bool = True,
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
            masks: False leaves the masks out (they are None).

        Raises:
            DatasetError: a file that cannot be read.
            TypeError, ValueError: an array that is no picture; tiles that cannot be.
        """
        if isinstance(pictures, (str, Path, np.ndarray)):
            pictures = [pictures]
        if tile:
            views = {"flip": flip, "short_sides": tuple(short_sides), "masks": masks}
            found = self._in_tiles(pictures, views, tile, tile // 4 if overlap is None else overlap)
        elif flip or short_sides:
            found = self._augmented(pictures, flip, tuple(short_sides))
        else:
            found = self._plain(pictures, score, masks)
        results = []
        for detections in found:
            detections.class_names = self.class_names
            if not masks:
                detections.masks = None
            results.append(detections.above(score) if score > 0 else detections)
        return results

    def _in_tiles(self, pictures, views: dict, tile: int, overlap: int) -> Iterator[Detections]:
        from htc.tiles import detect_in_tiles

        nms_iou = self.config.model.test.nms_iou
        for picture in pictures:
            yield detect_in_tiles(
                _as_array(picture),
                lambda tiles: self(tiles, **views),
                tile,
                overlap,
                nms_iou,
                self.batch_size,
            )

    def _augmented(self, pictures, flip: bool, short_sides: tuple) -> Iterator[Detections]:
        from htc.augmented import detect_augmented

        sides = list(dict.fromkeys((self.config.data.test_short_side, *short_sides)))
        for picture in pictures:
            yield detect_augmented(self.model, self.config, _as_array(picture), sides, flip)

    def _plain(self, pictures, score: float, masks: bool) -> Iterator[Detections]:
        chunks = [
            pictures[start : start + self.batch_size]
            for start in range(0, len(pictures), self.batch_size)
        ]
        # The next batch is read and resized while the network works on this one.
        with ThreadPoolExecutor(1, "pictures") as reader:
            ahead = reader.submit(self._prepare, chunks[0]) if chunks else None
            for following in [*chunks[1:], None]:
                if ahead is None:
                    return
                images, sizes, originals = ahead.result()
                ahead = None if following is None else reader.submit(self._prepare, following)
                yield from detect(
                    self._network, self.config, images, sizes, originals, score, masks
                )

    def _prepare(self, chunk) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
        """What `detect` takes, of a batch of pictures."""
        data, resized, originals = self.config.data, [], []
        for picture in chunk:
            array = _as_array(picture)
            originals.append(array.shape[:2])
            size = resized_size(*array.shape[:2], data.test_short_side, data.test_long_side)
            resized.append(resize_picture(array, *size))
        images, sizes = collate(resized, data)
        return images, sizes, originals


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
