"""Writes the README's result tables from the committed result files, between its markers.

    python -m benchmarks.readme

A table of the files ``results/NAME_seed*.json`` stands between ``<!-- results: NAME -->`` and
``<!-- end -->``; nothing else is touched.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from typing import Any

from facog_lab import registry
from facog_lab.paths import project_root
from facog_lab.study import results, significance
from facog_lab.study.results import Row
from facog_lab.study.significance import select

METHODS = {
    "phase1": "phase 1 alone",
    "facog": "**FACoG**",
    "facog_attention": "FACoG-attention (ours)",
    "random_oversampling": "random oversampling (one real feature)",
    "uniform_weights": "uniform w (mean of n_s features)",
    "dirichlet_weights": "Dirichlet w",
    "smote": "SMOTE",
    "tailcalib": "TailCalib",
    "ce_drw": "CE-DRW, head only",
    "ldam_drw": "LDAM-DRW, head only",
    "balanced_softmax": "Balanced Softmax, head only",
}
METHODS |= {
    name: f"{entry.label}, {'no training' if entry.family == 'free' else 'head only'}"
    for name, entry in sorted(registry.heads.items())  # whichever module was imported first
    if entry.family in ("free", "trained")
}
AGAINST = "random_oversampling"
TEST_IMAGES = {"full": "", "gamo": ", GAMO's test images"}  # by protocol, after the score


def table(name: str) -> str:
    """Result files as a Markdown table: mean ± standard deviation over seeds, in percent."""
    paths = sorted(results.folder().glob(f"{name}_seed*.json"))
    rows = [row for row in results.read(path.stem for path in paths) if row["variant"] == ""]
    rows = [r for r in rows if r["level"] == "feature" or r["method"] == "phase1"]
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    full = select(rows, protocol="full")
    tests = significance.summary(full, against=AGAINST)
    head = ["method"] + [f"{m}{TEST_IMAGES[p]}" for p in protocols for m in ("ACSA", "GM")]
    head += ["tail 20%", "ACSA gain (p)", "entropy of w"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    there = {row["method"] for row in rows}
    for method in [m for m in METHODS if m in there]:
        cells = [METHODS[method]]
        for protocol in protocols:
            own = select(rows, method=method, protocol=protocol)
            cells += [spread(own, key) for key in ("acsa", "gm")]
        own = select(full, method=method)
        entropies = [row["entropy"] for row in own if row["entropy"] is not None]
        level = "network" if method == "phase1" else "feature"
        gain, p = tests.loc[(method, level, ""), ["gain", "p"]]
        cells.append(spread(own, "tail20"))
        sure = "" if p != p else f" ({p:.3f})" if p >= 0.001 else " (< 0.001)"
        cells.append(f"{gain:+.2f}{sure}" if gain == gain else "")
        cells.append(f"{statistics.mean(entropies):.2f}" if entropies else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _note(paths[0], full)])


def _note(path: Any, rows: list[Row]) -> str:
    """What a reader of a table has to know: seeds, machine, command."""
    run = json.loads(path.read_text())["meta"]["runs"][-1]
    counts = Counter(row["method"] for row in rows if row["method"] in METHODS).values()
    seeds = max(counts)
    shown = f"{seeds}" if min(counts) == seeds else f"{min(counts)} to {seeds}"
    of = " of phase 2, on the features of one phase 1" if rows[0]["dictionary"] else ""
    if seeds == 1:
        over, p = f"One seed{of}: no standard deviation and no test", ""
    else:
        of = of or ", each with its own subset and phase 1"
        over, p = f"Mean ± standard deviation over {shown} seeds{of}", "; p: paired t-test"
    machine = run["gpu"] if run["device"] == "cuda" else "a CPU"
    took = [
        f"{name} {statistics.median(seconds):.0f} s"
        for name, method in (("phase 1", "phase1"), ("FACoG's phase 2", "facog"))
        if (seconds := [r["seconds"] for r in select(rows, method=method) if r["seconds"]])
    ]
    note = f" Note: {run['note'].rstrip('.')}." if run.get("note") else ""
    return (
        f"{over}; percent. Gain: ACSA minus random oversampling's, in points{p}. "
        f"{rows[0]['parameters']:,} parameters. Trained on {machine} with torch "
        f"{run['versions']['torch']}: {', '.join(took)}.{note} "
        f"Source: `benchmarks/results/{path.stem.rsplit('_', 1)[0]}_seed*.json`."
    )


def spread(rows: list[Row], key: str) -> str:
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
