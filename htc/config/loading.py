"""A parsed tree to a typed Config; refuses unknown keys, wrong types and values out of range."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from htc.config.checks import check_consistency
from htc.config.parsing import ConfigError, Node, find_config, merge, parse_yaml, read_tree
from htc.config.run_schema import Config

DEFAULT_CONFIG = "htc_demo"


def load_config(name_or_path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Reads a shipped configuration by name, or a YAML file by path.

    Args:
        name_or_path: such as "htc_r50_fpn_1x_coco" or "my/config.yml"; None is the demo.
        overrides: "dotted.key=value" each, the value parsed as YAML, later ones over earlier ones:
            "num_classes=5", "data.root=/data/mine", "model.cascade.stages.0.iou_threshold=0.4".

    Raises:
        ConfigError (a ValueError): no such file, an unknown key (the nearest one is named), a wrong
            type, a value out of range or keys that contradict each other; says file and line.
    """
    if isinstance(overrides, str):
        raise TypeError(f"overrides: expected a list of 'key=value' strings, got {overrides!r}")
    path = find_config(DEFAULT_CONFIG if name_or_path is None else name_or_path)
    tree = read_tree(path)
    if "name" not in tree.value:
        tree.value["name"] = Node(path.stem, str(path))
    config = _to_dataclass(Config, tree, "")
    if overrides:
        for text in overrides:
            tree = _override(config, tree, text)
            config = _to_dataclass(Config, tree, "")
    check_consistency(config)
    return config


def config_from_dict(values: Mapping) -> Config:
    """A Config from nested plain values, as `to_dict` gives them; checked as a file would be."""
    tree = parse_yaml(yaml.safe_dump(dict(values)), "dict")
    config = _to_dataclass(Config, _without_lines(tree), "")
    check_consistency(config)
    return config


def _without_lines(node: Node) -> Node:
    """Lines of a text that nobody wrote mean nothing."""
    if isinstance(node.value, dict):
        return Node({name: _without_lines(child) for name, child in node.value.items()}, "dict")
    if isinstance(node.value, list):
        return Node([_without_lines(child) for child in node.value], "dict")
    return Node(node.value, "dict")


def _override(config: Config, tree: Node, text: str) -> Node:
    """The tree with one "dotted.key=value" put in; `config` gives the items of lists not in it."""
    dotted, equals, value_text = text.partition("=")
    dotted = dotted.strip()
    where = f"-o {text}"
    if not equals or not dotted:
        raise ConfigError(f"{where}: expected key=value, such as num_classes=5")
    parts = dotted.split(".")
    node = parse_yaml(value_text, where) if value_text.strip() else Node(None, where)
    # Wrap the value from the innermost part outwards; a number addresses an item of a list, which
    # is taken from the resolved configuration because lists are replaced as a whole.
    for depth in range(len(parts) - 1, -1, -1):
        if parts[depth].isdigit():
            items = _plain_node(_items_at(config, parts[:depth], where))
            index = int(parts[depth])
            if index >= len(items.value):
                raise ConfigError(
                    f"{where}: {'.'.join(parts[:depth])} has {len(items.value)} items, 0 to"
                    f" {len(items.value) - 1}; got {index}"
                )
            items.value[index] = merge(items.value[index], node)
            node = items
        else:
            node = Node({parts[depth]: node}, where)
    return merge(tree, node)


def _items_at(config: Any, parts: list[str], where: str) -> tuple:
    value = config
    for depth, part in enumerate(parts):
        if isinstance(value, tuple) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif dataclasses.is_dataclass(value) and part in _fields(type(value)):
            value = getattr(value, part)
        else:
            prefix = ".".join(parts[:depth])
            owner = type(value) if dataclasses.is_dataclass(value) else Config
            raise ConfigError(f"{where}: {_unknown_key(owner, prefix, part)}")
    if not isinstance(value, tuple):
        raise ConfigError(f"{where}: {'.'.join(parts)} is not a list: it has no numbered items")
    return value


def _plain_node(value: Any) -> Node:
    if dataclasses.is_dataclass(value):
        fields = {name: _plain_node(getattr(value, name)) for name in _fields(type(value))}
        return Node(fields, "configuration")
    if isinstance(value, tuple):
        return Node([_plain_node(item) for item in value], "configuration")
    return Node(value, "configuration")


def _fields(cls: type) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(cls)}


def _to_dataclass(cls: type, node: Node, path: str) -> Any:
    if not isinstance(node.value, dict):
        raise ConfigError(
            f"{node.where}: {path}: expected keys and values"
            f" ({', '.join(_fields(cls))}), got {_show(node)}"
        )
    hints = typing.get_type_hints(cls)
    fields = _fields(cls)
    values = {}
    for name, child in node.value.items():
        if name not in fields:
            raise ConfigError(f"{child.where}: {_unknown_key(cls, path, name)}")
        child_path = f"{path}.{name}" if path else name
        values[name] = _convert(hints[name], child, child_path)
        _check_limits(fields[name], values[name], child, child_path)
    return cls(**values)


def _unknown_key(cls: type, path: str, name: str) -> str:
    """Names the nearest key: a sibling, else the same or a similar name anywhere in the schema."""
    full = f"{path}.{name}" if path else name
    siblings = {(f"{path}.{key}" if path else key): key for key in _fields(cls)}
    everywhere = _all_keys(Config, "")
    near = difflib.get_close_matches(name, siblings.values(), n=1, cutoff=0.6)
    near = near or [key for key in siblings.values() if key.startswith(name)]
    if near:
        best = f"{path}.{near[0]}" if path else near[0]
    else:
        tails = [key for key in everywhere if key.endswith(f".{name}") or key.endswith(f".{full}")]
        near = difflib.get_close_matches(full, tails, n=1, cutoff=0.0)
        near = near or difflib.get_close_matches(full, everywhere, n=1, cutoff=0.6)
        best = near[0] if near else None
    hint = f"; did you mean {best!r}?" if best else f"; known here: {', '.join(siblings.values())}"
    return f"unknown key {full!r}{hint}"


def _all_keys(cls: type, path: str) -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(cls).items():
        if name not in _fields(cls):
            continue
        full = f"{path}.{name}" if path else name
        keys.append(full)
        if dataclasses.is_dataclass(hint):
            keys += _all_keys(hint, full)
    return keys


# YAML 1.1 reads "1e-4" (no dot) as a word; nobody who writes it where a number belongs means one.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def _convert(hint: Any, node: Node, path: str) -> Any:
    value = node.value
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _to_dataclass(hint, node, path)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _convert(hint, node, path)
    if origin is tuple:
        return _convert_tuple(hint, node, path)
    if hint is float:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if math.isfinite(value):
                return float(value)
            raise ConfigError(f"{node.where}: {path}: expected a finite number, got {value}")
    elif hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # a folder or a run may well be named 3
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{node.where}: {path}: expected {_describe(hint)}, got {_show(node)}")


def _convert_tuple(hint: Any, node: Node, path: str) -> tuple:
    item_hints = typing.get_args(hint)
    if not isinstance(node.value, list):
        raise ConfigError(f"{node.where}: {path}: expected {_describe(hint)}, got {_show(node)}")
    if item_hints[-1] is Ellipsis:
        item_hints = (item_hints[0],) * len(node.value)
    if len(item_hints) != len(node.value):
        raise ConfigError(
            f"{node.where}: {path}: expected {len(item_hints)} values, got {len(node.value)}"
        )
    pairs = enumerate(zip(item_hints, node.value, strict=True))
    return tuple(_convert(item_hint, item, f"{path}.{i}") for i, (item_hint, item) in pairs)


def _describe(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return f"a list of {names.get(item, 'mappings').removeprefix('a ').removesuffix('s')}s"
    return names[hint]


def _show(node: Node) -> str:
    if isinstance(node.value, dict):
        return f"keys and values ({', '.join(node.value)})"
    if isinstance(node.value, list):
        return "a list"
    return "nothing (null)" if node.value is None else repr(node.value)


def _check_limits(field: dataclasses.Field, value: Any, node: Node, path: str) -> None:
    limits = field.metadata
    for item in value if isinstance(value, tuple) else (value,):
        if item is None or dataclasses.is_dataclass(item):
            continue
        if limits.get("choices") and item not in limits["choices"]:
            choices = ", ".join(str(choice) for choice in limits["choices"])
            near = difflib.get_close_matches(str(item), map(str, limits["choices"]), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            expected = f"one of {choices}"
        elif limits.get("minimum") is not None and item < limits["minimum"]:
            expected, hint = f"at least {limits['minimum']}", ""
        elif limits.get("maximum") is not None and item > limits["maximum"]:
            expected, hint = f"at most {limits['maximum']}", ""
        elif limits.get("above") is not None and item <= limits["above"]:
            expected, hint = f"more than {limits['above']}", ""
        else:
            continue
        raise ConfigError(f"{node.where}: {path}: expected {expected}, got {item!r}{hint}")
