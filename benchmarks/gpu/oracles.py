"""The NumPy statements of the operators and the cases of their tests, where Paddle is missing."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load() -> None:
    """Make `htc_ops.reference` and `cases` importable.

    `import htc_ops` loads the library for Paddle, so a package without contents takes its place:
    its modules are found, its own code does not run.
    """
    package = types.ModuleType("htc_ops")
    package.__path__ = [str(ROOT / "htc_ops")]
    sys.modules["htc_ops"] = package
    sys.path.insert(0, str(ROOT / "tests" / "ops"))


def reference(name: str):
    return importlib.import_module(f"htc_ops.reference.{name}")


def cases(name: str):
    return importlib.import_module(f"cases.{name}")
