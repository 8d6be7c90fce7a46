"""Where the files of a split are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from htc.config.run_schema import DataConfig
from htc.data.errors import DatasetError

SPLITS = ("train", "val")


@dataclass(frozen=True)
class SplitPaths:
    """Files of one split; semantic_notice says why there is no folder of semantic maps."""

    images: Path
    annotations: Path
    semantic: Path | None = None
    semantic_notice: str | None = None

    def semantic_file(self, file_name: str) -> Path:
        """The semantic map of a picture: its name, with the suffix .png."""
        return (self.semantic / file_name).with_suffix(".png")


def split_paths(data: DataConfig, split: str) -> SplitPaths:
    """The paths of "train" or "val"; demo data are generated if they are not there yet.

    Raises:
        DatasetError: a path that the configuration does not give or that does not exist.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {SPLITS}, got {split!r}")
    if data.kind == "demo":
        from htc.data.demo import demo_paths, make_demo  # drawing is needed by nobody else

        demo = data.demo
        root = make_demo(data.root, demo.seed, demo.train_pictures, demo.val_pictures, demo.size)
        return demo_paths(root, split)
    root, part = Path(data.root), getattr(data, split)
    for name in ("images", "annotations"):
        value = getattr(part, name)
        if not value:
            raise DatasetError(
                f"data.{split}.{name}: expected a path, got nothing (. is data.root itself)"
            )
        if not (root / value).exists():
            raise DatasetError(
                f"data.{split}.{name}: {root / value} does not exist (data.root is {data.root})"
            )
    images, annotations = root / part.images, root / part.annotations
    if not images.is_dir():
        raise DatasetError(f"data.{split}.images: expected a folder, {images} is a file")
    if not part.semantic:
        return SplitPaths(images, annotations, None, f"data.{split}.semantic is not set")
    semantic = root / part.semantic
    if semantic.is_dir():
        return SplitPaths(images, annotations, semantic)
    notice = f"data.{split}.semantic: there is no folder {semantic}"
    return SplitPaths(images, annotations, None, notice)
