"""The tensors of the reference implementation, where they are at hand.

They lie in a folder `shared/reference` beside the checkout, or under the folder that the
environment variable HTC_SHARED names.
"""

import importlib.util
import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("HTC_SHARED", Path(__file__).resolve().parents[4] / "shared")) / (
    "reference"
)

needs_reference = pytest.mark.skipif(
    not (FOLDER / "reference.py").exists(),
    reason=f"no reference tensors at {FOLDER}; set HTC_SHARED to the folder that holds `reference`",
)


def load(name: str) -> dict:
    """The tensors of one file."""
    spec = importlib.util.spec_from_file_location("htc_reference", FOLDER / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(name)[0]
