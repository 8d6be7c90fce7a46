"""Prints a pytest-benchmark result as the table of benchmarks/README.md.

    python -m pytest benchmarks --benchmark-json=result.json
    python benchmarks/table.py result.json

In a group, the benchmarks whose name carries `htc_ops` are ours, those with `limit` in it do nothing
but what the machine must at least do (copy or fill the same memory), the others are peers. Each
figure is the median; the ratio is the fastest peer's median over ours.
"""

import json
import re
import sys
from collections import defaultdict


def main(path: str) -> None:
    with open(path) as file:
        result = json.load(file)
    groups = defaultdict(list)
    for entry in result["benchmarks"]:
        groups[entry["group"] or entry["name"]].append(entry)
    info = result["machine_info"]
    cpu = info.get("cpu", {})
    print(f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} cores,", end=" ")
    print(f"{result['datetime'][:10]}, commit {result['commit_info'].get('id', '?')[:10]}\n")
    print("| work | htc_ops | peers | ratio | least the machine must do |")
    print("|---|---|---|---|---|")
    for group, entries in groups.items():
        ours = [entry for entry in entries if "htc_ops" in entry["name"]]
        limits = [entry for entry in entries if "limit" in entry["name"]]
        peers = [entry for entry in entries if entry not in ours and entry not in limits]
        ratio = ""
        if ours and peers:
            ratio = f"{min(map(_median, peers)) / min(map(_median, ours)):.1f}x"
        cells = [group, *("; ".join(map(_label, part)) for part in (ours, peers))]
        print(f"| {' | '.join(cells)} | {ratio} | {'; '.join(map(_label, limits))} |")


def _median(entry: dict) -> float:
    return entry["stats"]["median"]


def _label(entry: dict) -> str:
    words = re.sub(r"^test_", "", entry["name"]).replace("[", " ").replace("]", " ").split()
    names = [
        w for w in re.split(r"[ -]", " ".join(words)) if re.search(r"htc|paddle|limit|four|py", w)
    ]
    name = " ".join(names).replace("_", " ").replace("htc ops", "").strip()
    return f"{name} {_median(entry) * 1e3:.3g} ms".strip()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} RESULT.json")
    main(sys.argv[1])
