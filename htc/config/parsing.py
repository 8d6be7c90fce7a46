"""YAML text to a tree that remembers the file and line of every value.

PyYAML's SafeLoader alone resolves and constructs values; a key given twice, which it would pass
over in silence, is refused.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
CONFIG_DIR = Path(__file__).resolve().parent.parent / "configs"


class ConfigError(ValueError):
    """A mistake in a configuration: names the file and line (or the override) and the key."""


@dataclass
class Node:
    """A parsed scalar, list of Nodes or dict of Nodes by name; `where` is "file:line"."""

    value: Any
    where: str


def parse_yaml(text: str, source: str) -> Node:
    """One YAML document as a Node; an empty document is an empty mapping."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Node({}, source)
        return _to_node(loader, root, source, ancestors=())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark and "\n" in text else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{source}{line}: not valid YAML: {problem}") from None
    finally:
        loader.dispose()


def _to_node(loader: yaml.SafeLoader, node: yaml.Node, source: str, ancestors: tuple) -> Node:
    # An override ("-o key=value") is one line: its source says enough.
    where = source if source.startswith("-o ") else f"{source}:{node.start_mark.line + 1}"
    if node in ancestors:
        raise ConfigError(f"{where}: an alias (*) refers to the value that it is part of")
    ancestors = (*ancestors, node)
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
        raise ConfigError(f"{where}: not valid YAML: the tag {node.tag!r} is not allowed")
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        children: dict[str, Node] = {}
        for key_node, value_node in node.value:
            name = loader.construct_object(key_node, deep=True)
            key_where = f"{source}:{key_node.start_mark.line + 1}"
            if not isinstance(name, str):
                raise ConfigError(f"{key_where}: keys are words, got {name!r}")
            if name in children:
                raise ConfigError(f"{key_where}: key {name!r} is given twice")
            children[name] = _to_node(loader, value_node, source, ancestors)
            children[name].where = where if source.startswith("-o ") else key_where
        return Node(children, where)
    if isinstance(node, yaml.SequenceNode):
        return Node([_to_node(loader, item, source, ancestors) for item in node.value], where)
    return Node(loader.construct_object(node, deep=True), where)


def list_configs() -> list[str]:
    """Names of the configurations that ship with the package."""
    return sorted(path.stem for path in CONFIG_DIR.glob("*.yml"))


def find_config(name_or_path: str | Path, relative_to: Path | None = None) -> Path:
    """The file of a shipped configuration's name, or of a path.

    Raises:
        ConfigError: there is no such file; names the nearest shipped configuration.
    """
    text = str(name_or_path)
    shipped = CONFIG_DIR / f"{text}.yml"
    if "/" not in text and shipped.is_file():
        return shipped
    path = Path(text).expanduser()
    if relative_to is not None and not path.is_absolute():
        path = relative_to / path
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"config: expected a file or a shipped name, got the folder {text!r}")
    near = difflib.get_close_matches(Path(text).stem, list_configs(), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"config: {text!r} is neither a file nor a shipped configuration"
        f"{hint} (shipped: {', '.join(list_configs())})"
    )


def read_tree(path: Path, opened: tuple[Path, ...] = ()) -> Node:
    """A file merged over its `_BASE_` files, which may have bases of their own.

    `_BASE_` is a shipped name or a path relative to the file that says it, or a list of these,
    later ones over earlier ones. Mappings merge key by key; lists and scalars are replaced.
    """
    path = path.resolve()
    if path in opened:
        chain = " -> ".join(item.name for item in (*opened, path))
        raise ConfigError(f"{path}: _BASE_ goes in a circle: {chain}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from None
    tree = parse_yaml(text, str(path))
    if not isinstance(tree.value, dict):
        raise ConfigError(
            f"{tree.where}: expected keys and values, got {type(tree.value).__name__}"
        )
    base = tree.value.pop("_BASE_", None)
    if base is None:
        return tree
    items = base.value if isinstance(base.value, list) else [base]
    merged = Node({}, tree.where)
    for item in items:
        if not isinstance(item.value, str):
            raise ConfigError(
                f"{base.where}: _BASE_: expected a name or a path, got {item.value!r}"
            )
        try:
            base_path = find_config(item.value, relative_to=path.parent)
        except ConfigError as error:
            raise ConfigError(f"{base.where}: _BASE_: {error}") from None
        merged = merge(merged, read_tree(base_path, (*opened, path)))
    return merge(merged, tree)


def merge(under: Node, over: Node) -> Node:
    """`over` on top of `under`: mappings key by key, all else replaced."""
    if not (isinstance(under.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(under.value)
    for name, node in over.value.items():
        merged[name] = merge(merged[name], node) if name in merged else node
    return Node(merged, over.where)
