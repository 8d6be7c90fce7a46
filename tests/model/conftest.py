"""Shared by the tests of the model; ends a run with the table of agreement with the reference."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # reference_cases.py

AGREEMENT: dict[str, dict[str, str]] = {}
COLUMNS = ("worst intermediate", "worst loss", "worst gradient", "detections equal")


@pytest.fixture
def agreement():
    """Call with (row, column, text) to put a figure in the table."""

    def put(row: str, column: str, text: str):
        assert column in COLUMNS
        AGREEMENT.setdefault(row, {})[column] = text

    return put


def pytest_terminal_summary(terminalreporter):
    if not AGREEMENT:
        return
    terminalreporter.section("agreement with the reference (largest relative differences)")
    terminalreporter.line("| case | " + " | ".join(COLUMNS) + " |")
    for row, cells in sorted(AGREEMENT.items()):
        cells = " | ".join(cells.get(column, "-") for column in COLUMNS)
        terminalreporter.line(f"| {row} | {cells} |")
