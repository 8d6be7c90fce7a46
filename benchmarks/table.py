"""Prints a pytest-benchmark result as the table of benchmarks/README.md.

    python -m pytest benchmarks --benchmark-json=result.json
    python benchmarks/table.py result.json

In a group, the benchmarks whose name carries `htc_ops` are ours, the others are peers. Each figure is
the median; the ratio is the fastest peer's median over ours.
"""

import json
import sys
from collections import defaultdict


def main(path: str) -> None:
    with open(path) as file:
        result = json.load(file)
    groups = defaultdict(list)
    for entry in result["benchmarks"]:
        groups[entry["group"] or entry["name"]].append(entry)
    cpu = result["machine_info"].get("cpu", {})
    print(f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} cores\n")
    print("| work | htc_ops | peers | ratio to the fastest |")
    print("|---|---|---|---|")
    for group, entries in groups.items():
        ours = [entry for entry in entries if "htc_ops" in entry["name"]]
        peers = [entry for entry in entries if entry not in ours]
        own = "; ".join(_label(entry) for entry in ours)
        other = "; ".join(_label(entry) for entry in peers)
        ratio = ""
        if ours and peers:
            fastest = min(entry["stats"]["median"] for entry in peers)
            ratio = f"{fastest / min(entry['stats']['median'] for entry in ours):.1f}x"
        print(f"| {group} | {own} | {other} | {ratio} |")


def _label(entry: dict) -> str:
    name = entry["param"] or entry["name"].removeprefix("test_")
    return f"{name} {entry['stats']['median'] * 1e3:.3g} ms"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} RESULT.json")
    main(sys.argv[1])
