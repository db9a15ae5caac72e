"""Writes the README's result tables from the committed result files, between its markers.

    python -m benchmarks.readme

A table stands between ``<!-- results: NAME -->`` and ``<!-- end -->``; nothing else is touched.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from typing import Any

from benchmarks.record import RESULTS
from facog_lab.store import project_root

METHODS = {
    "phase1": "phase 1 alone",
    "facog": "**FACoG**",
    "random_oversampling": "random oversampling (one real feature)",
    "uniform_weights": "uniform w (mean of n_s features)",
    "dirichlet_weights": "Dirichlet w",
}


def table(name: str) -> str:
    """A result file as a Markdown table: mean ± standard deviation over seeds, in percent."""
    result = json.loads((RESULTS / f"{name}.json").read_text())
    meta, rows = result["meta"], result["rows"]
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    of: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        of[row["method"], row["protocol"]].append(row)
    head = ["method"] + [f"{m}, {p}" for p in protocols for m in ("ACSA", "GM")]
    head += ["tail 20%", "entropy of w"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [METHODS.get(method, method)]
        for protocol in protocols:
            cells += [spread(of[method, protocol], key) for key in ("acsa", "gm")]
        first = of[method, protocols[0]]
        entropies = [row["entropy"] for row in first if row["entropy"] is not None]
        cells.append(spread(first, "tail20"))
        cells.append(f"{statistics.mean(entropies):.2f}" if entropies else "")
        lines.append("| " + " | ".join(cells) + " |")
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    machine = meta["gpu"] if meta["device"] == "cuda" else f"{meta['threads']} threads of a CPU"
    seconds = {m: statistics.mean(r["seconds"] for r in of[m, protocols[0]]) for m in METHODS}
    over = f"Mean ± standard deviation over {len(seeds)} seeds, each with its own subset"
    if len(seeds) == 1:
        over = "One seed, so no spread"
    note = f" ({meta['note']})" if meta["note"] else ""
    lines.append("")
    lines.append(
        f"{over}; percent. "
        f"{rows[0]['parameters']:,} parameters; phase 1 took {seconds['phase1']:.0f} s and FACoG "
        f"{seconds['facog']:.0f} s on {machine}{note}, torch {meta['versions']['torch']}. "
        f"`{meta['command']}`"
    )
    return "\n".join(lines)


def spread(rows: list[dict[str, Any]], key: str) -> str:
    """Mean ± standard deviation of a score over rows, in percent."""
    values = [100 * row[key] for row in rows]
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


def filled(text: str) -> str:
    """The README's text with every marked table made anew."""
    return re.sub(
        r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{table(match[2])}\n{match[3]}",
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    """Rewrites README.md."""
    path = project_root() / "README.md"
    path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
