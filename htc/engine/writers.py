"""VisualDL and TensorBoard, where the configuration asks for them."""

from __future__ import annotations

import importlib
from pathlib import Path

from htc.config.parsing import ConfigError
from htc.config.run_schema import RuntimeConfig

# Key of the configuration: (module, class, package to install).
KINDS = {
    "visualdl": ("visualdl", "LogWriter", "visualdl"),
    "tensorboard": ("tensorboardX", "SummaryWriter", "tensorboardX"),
}


def open_writers(runtime: RuntimeConfig, folder: Path) -> list:
    """A writer for each kind that is switched on; each has add_scalar(tag, value, step), close().

    Raises:
        ConfigError: the package is not installed.
    """
    writers = []
    for key, (module, name, package) in KINDS.items():
        if not getattr(runtime, key):
            continue
        try:
            writer = getattr(importlib.import_module(module), name)
        except ImportError:
            raise ConfigError(f"runtime.{key}: needs a package: pip install {package}") from None
        writers.append(writer(str(folder / key)))
    return writers
