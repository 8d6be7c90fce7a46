"""Which Paddle the operators are compiled against.

The library only works with the Paddle that it was compiled for. So the rule is: the Paddle that is
installed where `pip install` puts this package; and where there is none, the one that pip is
about to install with it. pip builds in an isolated environment that hides the first kind, hence
the look from outside, through a Python started without the isolation.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DISTRIBUTIONS = ("paddlepaddle", "paddlepaddle-gpu")
SUPPORTED = "2.6.2 and 3.0 to 3.3"
# What a machine without Paddle gets.
DEFAULT_REQUIREMENT = "paddlepaddle>=3.3,<3.4"


class PaddleError(RuntimeError):
    """No Paddle to build against, or one that cannot be built against."""


@dataclass(frozen=True)
class PaddleTarget:
    """A Paddle on disk. Nothing of it is imported: its own dependencies may not be at hand."""

    distribution: str
    version: str
    commit: str
    cuda_version: str | None
    root: Path  # .../site-packages/paddle

    @property
    def include_dirs(self) -> list[Path]:
        include = self.root / "include"
        return [include, include / "third_party"]

    @property
    def library_dirs(self) -> list[Path]:
        return [self.root / "base", self.root / "libs"]

    @property
    def requirements(self) -> list[str]:
        """What the built package needs at run time: this very Paddle."""
        numpy = "numpy<2" if self.version.startswith("2.") else "numpy"
        return [f"{self.distribution}=={self.version}", numpy]


_PROBE = """
import importlib.metadata, json
found = []
for name in %r:
    try:
        dist = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    found.append([name, dist.version, str(dist.locate_file("paddle"))])
print(json.dumps(found))
"""


def _installed_outside() -> list[tuple[str, str, Path]]:
    """The Paddles of the environment that this Python belongs to, build isolation left out."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE % (DISTRIBUTIONS,)],
        env=environment,
        cwd=Path(sys.executable).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return [(name, version, Path(root)) for name, version, root in json.loads(probe.stdout)]


def _installed_inside() -> list[tuple[str, str, Path]]:
    """The Paddles on this process's own path: what pip put into the isolated build."""
    found = []
    for name in DISTRIBUTIONS:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        root = Path(str(distribution.locate_file("paddle")))
        found.append((name, distribution.version, root))
    return found


def find_paddle() -> PaddleTarget | None:
    """Return the Paddle to build against, or None where pip is still to bring one.

    Raises:
        PaddleError: two Paddles side by side, an unsupported version, a damaged installation.
    """
    installed = _installed_outside() or _installed_inside()
    if not installed:
        return None
    if len(installed) > 1:
        both = " and ".join(f"{name} {version}" for name, version, _ in installed)
        raise PaddleError(
            f"{both} are installed in the same environment and overwrite each other's files. "
            "Keep one: pip uninstall -y paddlepaddle paddlepaddle-gpu, then install the one you "
            "want, then this package."
        )
    name, version, root = installed[0]
    if not _is_supported(version):
        raise PaddleError(
            f"{name} {version} is installed, but htc_ops supports Paddle {SUPPORTED}. "
            f"Install one of those first, for example: pip install {name}==3.3.1"
        )
    facts = _version_facts(root)
    if not (root / "include" / "paddle" / "extension.h").is_file():
        raise PaddleError(f"{name} {version} at {root} has no header files; reinstall it.")
    cuda = facts.get("cuda_version", "False")
    return PaddleTarget(
        distribution=name,
        version=version,
        commit=facts.get("commit", ""),
        cuda_version=None if cuda in ("False", "None", "") else cuda,
        root=root,
    )


def _is_supported(version: str) -> bool:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return numbers[:3] == (2, 6, 2) or (3, 0) <= numbers[:2] <= (3, 3)


def _version_facts(root: Path) -> dict[str, str]:
    path = root / "version" / "__init__.py"
    try:
        text = path.read_text()
    except OSError as error:
        raise PaddleError(f"Paddle at {root} is damaged ({error}); reinstall it.") from error
    return dict(re.findall(r"^(\w+)\s*=\s*'([^']*)'", text, flags=re.MULTILINE))
