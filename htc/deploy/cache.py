"""Exports that were made on the way, kept for the next time.

They lie in $HTC_CACHE, else $XDG_CACHE_HOME/htc, else ~/.cache/htc; deleting them costs time alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import paddle

import htc
from htc.config import Config
from htc.config.dumping import to_dict
from htc.deploy.errors import ExportError
from htc.deploy.manifest import FORMAT_VERSION, file_facts, is_export, read_manifest
from htc.deploy.writing import write_export

logger = logging.getLogger("htc")

KEPT = 8  # newest exports


def cache_folder() -> Path:
    """Where exports are kept."""
    if chosen := os.environ.get("HTC_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "htc"


def cached_export(
    weights: str | Path,
    config: Config,
    classes: list[str] | None,
    build: Callable,
    precision: str = "fp32",
) -> Path:
    """The folder of an export of these weights, made now unless it is there already.

    Args:
        weights: the file. Its content counts, not its name.
        config: of the network; another one is another export.
        build: makes the eager network, where it is needed.
        precision: "fp32" or "bf16", that it will be run in.
    """
    folder = cache_folder() / f"export-{_key(Path(weights), config, classes, precision)}"
    if is_export(folder):
        try:
            read_manifest(folder)
            os.utime(folder)  # it was used: the oldest ones are dropped
            return folder
        except ExportError as error:
            logger.warning("%s", error)
    began = time.perf_counter()
    logger.info("exporting the model once for this machine, to %s", folder)
    write_export(folder, build(), config, classes, precision=precision)
    logger.info("exported in %.1f s", time.perf_counter() - began)
    _drop_old(folder.parent)
    return folder


def _key(weights: Path, config: Config, classes: list[str] | None, precision: str) -> str:
    settings = {k: v for k, v in to_dict(config).items() if k in ("num_classes", "model", "data")}
    settings["num_semantic_classes"] = config.num_semantic_classes
    facts = {
        "weights": file_facts(weights),
        "settings": settings,
        "classes": classes,
        "precision": precision,
        "paddle": paddle.__version__,
        "format": FORMAT_VERSION,
        "code": _code(),
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _code() -> str:
    """A hash of the code that programs are made of: a changed network is another export."""
    digest = hashlib.sha256()
    package = Path(htc.__file__).parent
    for path in sorted([*(package / "model").glob("*.py"), *(package / "deploy").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _drop_old(folder: Path) -> None:
    exports = sorted(folder.glob("export-*"), key=lambda path: path.stat().st_mtime)
    for path in exports[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
