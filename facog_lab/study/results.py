"""Result files: what was measured, on what machine, one row a line.

``benchmarks/results/<name>.json`` is ``{"meta": {...}, "rows": [...]}``. ``meta["runs"]`` lists the
commands that rows came from, each with date, hardware, versions and git revision; a row's ``run``
is its place in that list, since rows may be added on another day by another machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from facog_lab import paths
from facog_lab.config import digest
from facog_lab.metrics import BINS, Metrics
from facog_lab.runs import store
from facog_lab.runs.manifest import read_file
from facog_lab.study import bootstrap

Row = dict[str, Any]
# What makes two rows of a file the same measurement.
IDENTITY = ("method", "level", "variant", "seed", "protocol")


def folder() -> Path:
    """Where result files lie: the folder named by FACOG_RESULTS, else the committed ones'."""
    own = paths.project_root() / "benchmarks" / "results"
    return paths.named_folder("FACOG_RESULTS") or own


class ResultFile:
    """A file of accuracy rows, of one data set and seed, that grows as rows are measured.

    Args:
        path: of the file, made by the first `add`.
        about: what to say of all rows: the settings.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path, self.about = path, about

    @property
    def rows(self) -> list[Row]:
        """What it holds by now; another process may add to it, too."""
        rows: list[Row] = self._content()["rows"]
        return rows

    def has(self, key: str) -> bool:
        """Whether there are rows of the run with this key."""
        return any(row["key"] == key for row in self.rows)

    def add(self, rows: Iterable[Row], run: Mapping[str, Any]) -> None:
        """Puts rows into the file, each replacing the same measurement if there was one.

        Processes that add to one file do so one after the other.

        Args:
            rows: what was measured.
            run: the command, date and machine, see `run_facts`.
        """
        lock = f"results-{digest(str(self.path.resolve()))[:12]}.lock"
        with paths.locked(paths.outputs_root() / ".locks" / lock):
            found = self._content()
            meta = {**found["meta"], **self.about}
            runs = meta["runs"]
            if run not in runs:
                runs.append(dict(run))
            kept = {tuple(row[name] for name in IDENTITY): row for row in found["rows"]}
            for row in rows:
                kept[tuple(row[name] for name in IDENTITY)] = row | {"run": runs.index(run)}
            lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in kept.values())
            head = json.dumps(meta, indent=1, ensure_ascii=False)
            text = f'{{"meta": {head},\n"rows": [\n{lines}\n]}}\n'
            with paths.explain_oserror(self.path.parent, len(text)):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                paths.write(self.path, text.encode())

    def _content(self) -> dict[str, Any]:
        if not os.path.lexists(self.path):
            return {"meta": {"runs": []}, "rows": []}
        found = _content(self.path)
        if not all("acsa" in row for row in found["rows"]):
            raise paths.StoreError(f"{self.path} holds other rows than accuracies. Take it away.")
        return found


def rounded(scores: Metrics) -> Row:
    """Scores as JSON values: five digits, four for each class."""

    def shortened(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shortened(of) for name, of in value.items()}
        if isinstance(value, tuple):
            return [round(v, 4) for v in value]
        return round(value, 5) if isinstance(value, float) else value

    return {name: shortened(value) for name, value in asdict(scores).items()}


def run_facts(command: str, device: str) -> dict[str, Any]:
    """Command, date, hardware, versions and git revision of a measurement."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=paths.project_root(),
    ).stdout.strip()
    facts = {"command": command, "date": time.strftime("%Y-%m-%d"), "git": revision}
    return facts | {"device": device} | store.environment()


def read(names: Iterable[str] | None = None) -> list[Row]:
    """The rows of committed result files, each with the name of its file as ``file``.

    Args:
        names: of files without ending; all that hold accuracies when None.
    """
    paths = [folder() / f"{name}.json" for name in names] if names else folder().glob("*.json")
    rows: list[Row] = []
    for path in sorted(paths):
        rows += [row | {"file": path.stem} for row in _content(path)["rows"] if "acsa" in row]
    return rows


_STRICT = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Reliability(BaseModel):
    """Sums over bins of confidence, see `metrics.Reliability`."""

    model_config = _STRICT

    images: list[NonNegativeInt] = Field(min_length=BINS, max_length=BINS)
    confidence: list[float | int] = Field(min_length=BINS, max_length=BINS)
    right: list[NonNegativeInt] = Field(min_length=BINS, max_length=BINS)


class _Accuracy(BaseModel):
    """What a row of accuracies must be; the file may come from anybody."""

    model_config = _STRICT

    dataset: str
    imbalance_ratio: float | int | None
    preset: str
    dictionary: str | None
    method: str
    level: str
    variant: str
    seed: int
    protocol: str
    key: str | None
    acsa: float | int
    gm: float | int
    top1: float | int
    many: float | int | None
    medium: float | int | None
    few: float | int | None
    tail20: float | int | None
    per_class: list[float | int]
    entropy: float | int | None
    seconds: float | int | None
    # rows that were measured before these were kept have none of them
    ece: float | int | None = None
    reliability: _Reliability | None = None
    recognised: str | None = None
    test_counts: list[NonNegativeInt] | None = None

    @model_validator(mode="after")
    def _recognised_agrees(self) -> _Accuracy:
        """The images that are recognised give the recalls of the row."""
        if self.recognised is not None:
            kept = {"recognised": self.recognised, "test_counts": self.test_counts or []}
            right, labels = bootstrap.unpacked(kept)
            classes = len(self.per_class)
            totals = np.bincount(labels, minlength=classes)
            if len(totals) != classes or not totals.all():
                raise ValueError(f"test_counts has no image for one of {classes} classes")
            recall = np.bincount(labels, weights=right, minlength=classes) / totals
            if np.abs(recall - self.per_class).max() > 1e-4:
                raise ValueError("recognised does not give the recalls in per_class")
        return self


def _content(path: Path) -> dict[str, Any]:
    """A result file, of accuracies or of anything else that is measured.

    Raises:
        StoreError: naming it, if it is not a result file.
    """
    try:
        found: dict[str, Any] = json.loads(read_file(path))
        if not isinstance(found.setdefault("meta", {}).setdefault("runs", []), list):
            raise TypeError("its runs are no list")
        for row in found["rows"]:
            if "acsa" in row:
                _Accuracy.model_validate(row)
    except paths.DamagedError as error:
        raise paths.StoreError(f"{error.damage}, and no result file.") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = str(error).partition("\n For further")[0]
        raise paths.StoreError(
            f"{path} is no result file ({reason}). Mend it, or take it away."
        ) from None
    return found
