"""What became of a file's tensors and a model's parameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mismatch:
    """A tensor whose shape is not the parameter's; `file_shape` is in our layout."""

    name: str
    file_shape: tuple[int, ...]
    model_shape: tuple[int, ...]

    def __str__(self):
        return f"{self.name}: {list(self.file_shape)} in the file, {list(self.model_shape)} here"


@dataclass
class WeightReport:
    """Result of load_weights. Names are ours, except in `unexpected` and `ignored` (the file's)."""

    path: str
    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every parameter of the model was loaded."""
        return not self.missing and not self.mismatched

    def __str__(self):
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        lines = [
            f"{self.path} ({self.source})",
            f"  loaded     {len(self.loaded):5d} of {total} parameters and statistics",
            f"  missing    {len(self.missing):5d}{_grouped(self.missing)}",
            f"  unexpected {len(self.unexpected):5d}{_grouped(self.unexpected)}",
            f"  mismatched {len(self.mismatched):5d}",
        ]
        lines += [f"    {mismatch}" for mismatch in self.mismatched[:12]]
        if len(self.mismatched) > 12:
            lines.append(f"    and {len(self.mismatched) - 12} more")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def _grouped(names: list[str]) -> str:
    """Few names in full; many as their first words with counts."""
    if not names:
        return ""
    if len(names) <= 4:
        return f"  {', '.join(names)}"
    counts = Counter(name.split(".")[0] for name in names)
    return "  " + ", ".join(f"{group}.* ({count})" for group, count in counts.items())
