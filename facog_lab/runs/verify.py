"""Whether a replayed run equals the recorded one: weights, history, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from facog_lab.metrics import History, Metrics
from facog_lab.phase2 import Phase2
from facog_lab.runs import checkpoint
from facog_lab.runs.store import Saved

NAMED = 5  # differences of a kind that are named; for more, only the number is given


def differences(saved: Saved, loop: Phase2) -> list[str]:
    """What of a saved phase 2 differs from a loop that replayed its steps.

    Args:
        saved: the run.
        loop: after the run's last step.

    Returns:
        A text for each kind of difference, naming the tensors, the columns of the history, or the
        metrics with both values; empty if everything is identical, bit for bit.
    """
    made = {name: tensor.cpu() for name, tensor in checkpoint.state(loop).items()}
    tensors = [
        name
        for name in sorted(saved.tensors.keys() | made.keys())
        if name not in saved.tensors
        or name not in made
        or not torch.equal(saved.tensors[name], made[name])
    ]
    kinds = {
        "": tensors,
        "the history: ": _columns(saved.history, loop.history),
        "the metrics: ": _metrics(saved.record.get("metrics", {}), loop.evaluate()),
    }
    return [kind + _listed(names) for kind, names in kinds.items() if names]


def _columns(recorded: History, made: History) -> list[str]:
    """The first row of each column that differs, as ``row 7 of steps.loss_d``."""
    found = []
    for table in sorted(recorded.keys() | made.keys()):
        one, two = recorded.get(table, {}), made.get(table, {})
        for column in sorted(one.keys() | two.keys()):
            values, again = one.get(column, []), two.get(column, [])
            if values != again:
                pairs = enumerate(zip(values, again, strict=False))
                unequal = (row for row, (a, b) in pairs if a != b)
                row = next(unequal, min(len(values), len(again)))
                found.append(f"row {row + 1} of {table}.{column}")
    return found


def _metrics(recorded: Any, measured: Metrics) -> list[str]:
    """The recorded metrics that the run does not have, with both values."""
    if not isinstance(recorded, Mapping):
        return [f"{recorded!r:.60} was recorded, which are none"]
    now = _flat(asdict(measured))
    return [
        f"{name} ({value} was recorded, now {now.get(name, 'nothing')})"
        for name, value in _flat(recorded).items()
        if name not in now or value != now[name]
    ]


def _flat(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Each recall by itself, where they are a list."""
    recall = metrics.get("per_class")
    if not isinstance(recall, (list, tuple)):
        return dict(metrics)
    others = {name: value for name, value in metrics.items() if name != "per_class"}
    return others | {f"recall of class {c}": value for c, value in enumerate(recall)}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
