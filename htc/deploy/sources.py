"""Where a predictor's weights and configuration come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from htc.config import Config, ConfigError, config_from_dict, load_config
from htc.engine.setup import load_trained, weights_file
from htc.weights import open_weights


@dataclass
class Source:
    """Trained weights and what they are of.

    weights: the file. config: its configuration. class_names: of the labels, or None.
    """

    weights: Path
    config: Config
    class_names: list[str] | None

    @property
    def build(self) -> Callable:
        """Makes the eager network, in eval mode."""
        return lambda: load_trained(self.config)


def open_source(source: str | Path, config: str | Path | Config | None = None) -> Source:
    """Weights with a configuration: the given one, else the one that training put beside them.

    Args:
        source: a run folder, a checkpoint in it, or a weight file.
        config: name or path of a configuration, or a Config; None: that of `source`.

    Raises:
        ConfigError: the source has no configuration.
        WeightError: the weights cannot be read.
    """
    path = weights_file(source)
    metadata = open_weights(path).metadata
    if config is None:
        config = _stored_config(Path(source), metadata)
    elif not isinstance(config, Config):
        config = load_config(config)
    config.weights = str(path)
    names = metadata.get("classes")
    return Source(path, config, names.split("\n") if names else None)


def _stored_config(source: Path, metadata: dict) -> Config:
    """The configuration in a weight file, or in the run folder."""
    import yaml

    if "config" in metadata:
        return config_from_dict(yaml.safe_load(metadata["config"]))
    file = source / "config.yml"
    if source.is_dir() and file.is_file():
        return load_config(file)
    raise ConfigError(
        f"{source} does not say what model it is of; give its configuration as config="
    )
