"""Rows of speed results: a figure of several runs, its bar, and what it was before."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facog_lab.runs import store

SLOWER = 0.1  # a ratio that got worse by more than this share is a failed row


def row(
    name: str,
    values: Sequence[float],
    unit: str,
    bar: float,
    most: bool,
    of: Callable[[Sequence[float]], float] = statistics.median,
    device: str = "cpu",
) -> dict[str, Any]:
    """A row of speed results: one figure of several, their spread, and whether it holds a bar.

    Args:
        name: what was measured.
        values: each run's figure; none for what was not run, since the device was not there.
        unit: of the values; "×" for ratios, which are compared with those before them.
        bar: what `of(values)` must reach.
        most: whether the bar is the most that is allowed, not the least.
        of: what is made of the values, their median or the worst.
        device: where it was measured.
    """
    value = of(values) if values else None
    return {
        "name": name,
        "value": value if value is None else round(value, 3),
        "low": round(min(values), 3) if values else None,
        "high": round(max(values), 3) if values else None,
        "runs": len(values),
        "unit": unit,
        "bar": f"{'≤' if most else '≥'} {bar:g}",
        "holds": None if value is None else value <= bar if most else value >= bar,
        "device": device,
    }


def compared(new: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """A row with what it has to keep up with; it fails where a ratio got worse by over a tenth.

    A row that failed so keeps the older figure to be compared with, until it is as good again or
    someone deletes the row from the file.
    """
    if new["value"] is None:
        return before or new  # what was measured elsewhere stays
    if new["unit"] != "×" or before.get("value") is None:
        return new
    reference = before.get("reference", before["value"])
    least = new["bar"].startswith("≥")
    worse = reference / new["value"] if least else new["value"] / reference
    if worse <= 1 + SLOWER:
        return new
    return new | {"reference": reference, "holds": False}


def write(rows: Sequence[dict[str, Any]], path: Path | None, command: str) -> bool:
    """Prints rows, and puts them into a results file in the place of those of the same name.

    Returns:
        Whether none of them failed.
    """
    before = json.loads(path.read_text())["rows"] if path is not None and path.exists() else []
    old = {one["name"]: one for one in before}
    made: dict[str, Any] = {"command": command, "environment": store.environment()}
    made["date"] = datetime.now(UTC).strftime("%Y-%m-%d")
    new = {one["name"]: compared(one | {"made": made}, old.get(one["name"], {})) for one in rows}
    for one in new.values():
        if one["value"] is None:
            print("{name}: not run, bar {bar} ({device})".format(**one))
            continue
        print("{name}: {value} {unit} ({low} to {high}), bar {bar}: {holds}".format(**one))
        if "reference" in one:
            print(f"  FAILED: it was {one['reference']} {one['unit']}")
    if path is not None:
        kept = list((old | new).values())
        path.write_text(json.dumps({"rows": kept}, indent=1, ensure_ascii=False) + "\n")
    return all(one["holds"] is not False for one in new.values())
