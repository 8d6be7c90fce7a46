"""Where the pictures that lie beside the checkout are, for the tests that want real ones."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[3] / "shared"


def shared(part: str) -> Path:
    """A folder of the shared one; skips the test where it is absent."""
    folder = Path(os.environ.get("HTC_SHARED", _BESIDE)) / "data" / part
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (HTC_SHARED names the folder of reference data)")
    return folder
