"""Typed configuration: YAML with `_BASE_`, checked against a schema (schema.py, run_schema.py)."""

from htc.config.dumping import to_dict, to_yaml
from htc.config.loading import DEFAULT_CONFIG, config_from_dict, load_config
from htc.config.parsing import ConfigError, find_config, list_configs
from htc.config.run_schema import (
    Config,
    DataConfig,
    EvalConfig,
    RuntimeConfig,
    TrainConfig,
)
from htc.config.schema import ModelConfig, StageConfig

__all__ = [
    "DEFAULT_CONFIG",
    "Config",
    "ConfigError",
    "DataConfig",
    "EvalConfig",
    "ModelConfig",
    "RuntimeConfig",
    "StageConfig",
    "TrainConfig",
    "config_from_dict",
    "find_config",
    "list_configs",
    "load_config",
    "to_dict",
    "to_yaml",
]
