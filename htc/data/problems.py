"""What can be wrong with a data set, counted, with the first examples of each kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

ERROR, DROPPED, WARNING, NOTE = "error", "left out", "warning", "note"

# Kind: (severity, how the table calls it). An error stops training; what is "left out" is trained
# without; a warning is worth a look; a note alone leaves the exit code 0.
KINDS = {
    "class count": (ERROR, "another number of classes than num_classes"),
    "malformed entry": (ERROR, "entries of the json with missing or unusable fields"),
    "duplicate picture id": (ERROR, "pictures with an id that was used before"),
    "duplicate category": (ERROR, "categories with an id or a name that was used before"),
    "unknown category": (ERROR, "annotations of a category that the file does not list"),
    "unknown picture": (ERROR, "annotations of a picture that the file does not list"),
    "rle size": (ERROR, "RLE masks that do not fit their picture"),
    "missing picture": (ERROR, "picture files that are not there"),
    "unreadable picture": (ERROR, "picture files that cannot be decoded"),
    "picture size": (ERROR, "pictures of another size than the annotations say"),
    "missing semantic map": (ERROR, "pictures without their semantic map"),
    "unreadable semantic map": (ERROR, "semantic maps that cannot be decoded"),
    "semantic channels": (ERROR, "semantic maps of several channels"),
    "semantic size": (ERROR, "semantic maps of another size than their picture"),
    "semantic ids": (ERROR, "semantic maps with ids out of range"),
    "box outside": (DROPPED, "boxes that lie wholly outside their picture"),
    "empty box": (DROPPED, "boxes less than a pixel wide or high, or of area 0"),
    "empty mask": (DROPPED, "instances whose polygons or RLE cover nothing"),
    "box reaches out": (WARNING, "boxes more than a pixel beyond the picture (they are clipped)"),
    "duplicate annotation id": (WARNING, "annotations with an id that was used before"),
    "empty polygon": (WARNING, "polygons of less than three points (passed over)"),
    "self-crossing polygon": (WARNING, "polygons whose outline crosses itself"),
    "no instances": (NOTE, "pictures without instances"),
}


@dataclass
class Problems:
    """A count of each kind of problem, and where the first few are."""

    examples_kept: int = 3
    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, text: str) -> None:
        """Count one; `text` says where it is, what was expected and what came."""
        if kind not in KINDS:
            raise KeyError(kind)
        self.counts[kind] += 1
        if len(self.examples[kind]) < self.examples_kept:
            self.examples[kind].append(text)

    def errors(self) -> list[str]:
        """The examples of what stops training."""
        kinds = [kind for kind in KINDS if KINDS[kind][0] == ERROR and self.counts[kind]]
        return [example for kind in kinds for example in self.examples[kind]]

    def total(self, *severities: str) -> int:
        return sum(count for kind, count in self.counts.items() if KINDS[kind][0] in severities)

    @property
    def clean(self) -> bool:
        """Whether there is nothing worse than a note."""
        return self.total(ERROR, DROPPED, WARNING) == 0

    def table(self) -> str:
        """One row a kind, worst first, each with its first examples."""
        found = [kind for kind in KINDS if self.counts[kind]]
        if not found:
            return "no problems found"
        lines = [f"{'severity':<9} {'count':>7}  problem"]
        for kind in found:
            severity, meaning = KINDS[kind]
            lines.append(f"{severity:<9} {self.counts[kind]:>7}  {kind}: {meaning}")
            lines += [f"{'':<9} {'':>7}    - {example}" for example in self.examples[kind]]
            more = self.counts[kind] - len(self.examples[kind])
            if more:
                lines.append(f"{'':<9} {'':>7}    - and {more} more")
        return "\n".join(lines)
