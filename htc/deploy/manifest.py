"""The json beside an exported program: what it is of, and what it needs. Reading it checks both."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from htc.config import Config, config_from_dict
from htc.config.dumping import to_dict
from htc.deploy.errors import ExportError

MANIFEST = "export.json"
FORMAT = "htc-export"
FORMAT_VERSION = 2
AGAIN = "export it again (python -m htc.export)"


@dataclass
class Manifest:
    """What an export says of itself.

    config: the part of the configuration that predictions need, as plain values.
    classes: names of the labels, or None.
    preprocessing, thresholds: the part of config that other programs need to run the model.
    inputs: name to what it must be. outputs: their names, in the program's order.
    precision: "fp32" or "bf16", what the program multiplies.
    versions: of htc, of the format, and of the Paddle that wrote the program.
    operators: of htc_ops, that the program calls. files: name to {"sha256", "bytes"}.
    """

    config: dict
    classes: list[str] | None
    preprocessing: dict
    thresholds: dict
    inputs: dict
    outputs: list[str]
    precision: str
    versions: dict
    operators: list[str]
    files: dict

    def configuration(self) -> Config:
        """The Config that was exported, as far as predictions need it."""
        return config_from_dict(self.config)

    def program(self) -> str:
        """Name of the program's file; the parameters' has another suffix."""
        return next(name for name in self.files if not name.endswith(".pdiparams"))


def describe(config: Config, classes, outputs, precision, operators, files, versions) -> Manifest:
    """The manifest of an export."""
    data, test = config.data, config.model.test
    content = to_dict(config)
    kept = ("num_classes", "num_semantic_classes", "model", "data", "eval")
    content = {key: content[key] for key in kept}
    # Where its author keeps pictures is nobody else's business.
    for key in ("root", "train", "val", "demo"):
        del content["data"][key]
    return Manifest(
        config=content,
        classes=classes,
        preprocessing={
            "colour": "RGB",
            "short_side": data.test_short_side,
            "long_side": data.test_long_side,
            "resize": "bilinear, keeping the aspect ratio, sides rounded half up",
            "mean": list(data.mean),
            "std": list(data.std),
            "pad": f"0 at the right and bottom, to a multiple of {data.pad_divisor}",
        },
        thresholds={
            "score": test.score_threshold,
            "nms_iou": test.nms_iou,
            "max_detections": test.max_detections,
            "mask": test.mask_threshold,
        },
        inputs={
            "images": "[B, 3, H, W] float32, normalised and padded",
            "image_sizes": "[B, 2] float32, (height, width) before padding",
        },
        outputs=outputs,
        precision=precision,
        versions={**versions, "format": FORMAT_VERSION},
        operators=operators,
        files=files,
    )


def to_json(manifest: Manifest) -> str:
    return json.dumps({"kind": FORMAT, **dataclasses.asdict(manifest)}, indent=1)


def file_facts(path: Path) -> dict:
    """{"sha256", "bytes"} of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def is_export(path: str | Path) -> bool:
    """Whether a path is a folder that says it is an export (sound or not)."""
    return (Path(path) / MANIFEST).is_file()


def read_manifest(folder: str | Path, check_files: bool = True) -> Manifest:
    """The manifest of an export, which fits the running htc and Paddle.

    Args:
        check_files: also compare every file with its hash, which reads the weights once.

    Raises:
        ExportError: no export, damaged, or of other versions.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise ExportError(f"{folder}: expected an exported model, found no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder / MANIFEST} is damaged ({error}); {AGAIN}") from None
    if not isinstance(content, dict) or content.pop("kind", None) != FORMAT:
        raise ExportError(f"{folder / MANIFEST} does not describe an exported model; {AGAIN}")
    _check_versions(folder, content.get("versions"))
    try:
        manifest = Manifest(**content)
        manifest.configuration()
    except (TypeError, ValueError) as error:
        raise ExportError(f"{folder / MANIFEST} is damaged ({error}); {AGAIN}") from None
    if check_files:
        _check_files(folder, manifest)
    return manifest


def _check_versions(folder: Path, versions) -> None:
    import paddle

    if not isinstance(versions, dict) or not isinstance(versions.get("format"), int):
        raise ExportError(f"{folder / MANIFEST} is damaged (no versions); {AGAIN}")
    if versions["format"] != FORMAT_VERSION:
        raise ExportError(
            f"{folder}: exported by htc {versions.get('htc')} in format {versions['format']}, this"
            f" one reads format {FORMAT_VERSION}; {AGAIN} or install that version"
        )
    made, here = str(versions.get("paddle")), paddle.__version__
    if made.split(".")[:2] != here.split(".")[:2]:
        raise ExportError(f"{folder}: exported with Paddle {made}, this is Paddle {here}; {AGAIN}")


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ExportError(f"{folder}: {name} is missing; {AGAIN}")
        found = file_facts(path)
        if found != facts:
            raise ExportError(
                f"{path} is damaged or was changed: expected {facts['bytes']} bytes with SHA-256"
                f" {facts['sha256'][:12]}..., got {found['bytes']} with"
                f" {found['sha256'][:12]}...; {AGAIN}"
            )
