"""A Config as YAML that reads back to the same Config, with or without its documentation."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from htc.config.run_schema import Config


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values (dicts, lists, numbers, text), in the order of the schema."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def to_yaml(config: Config, comments: bool = False) -> str:
    """YAML text of every key; `comments` puts each key's documentation above it."""
    return "\n".join(_lines(config, "", comments)) + "\n"


def _lines(config: Any, indent: str, comments: bool):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if comments:
            yield f"{indent}# {_comment(field)}"
        if dataclasses.is_dataclass(value):
            yield f"{indent}{field.name}:"
            yield from _lines(value, indent + "  ", comments)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            yield f"{indent}{field.name}:"
            for item in value:
                yield f"{indent}- {_scalar(to_dict(item))}"
        else:
            yield f"{indent}{field.name}: {_scalar(_plain(value))}"


def _comment(field: dataclasses.Field) -> str:
    limits = field.metadata
    if limits.get("choices"):
        return f"{limits['doc']} [{'|'.join(str(choice) for choice in limits['choices'])}]"
    return limits["doc"]


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")
