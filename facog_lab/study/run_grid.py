"""Runs the grid of the paper's tables and figures, over seeds, and writes the result files.

Every seed draws its own long-tailed subset, initial weights and views; on features that are kept in
benchmarks/dictionaries it draws those of phase 2 alone. Rows that are in the files are not made
again, runs that are in outputs/ are loaded, one that was cut off is resumed. A cell that fails,
whatever the reason, is listed at the end, and the others are run. Needs the training core alone.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from facog_lab.config import Device, LabError
from facog_lab.device import pick_device
from facog_lab.runs import feature_files, presets, stages
from facog_lab.settings import Experiment
from facog_lab.study import grid, results
from facog_lab.study.grid import Task

DATASETS = {"1": ["mnist", "fashion_mnist"], "2": ["cifar10", "cifar100"], "3": ["imagenet_lt"]}
RATIOS = {"cifar10": [100.0, 50.0, 10.0], "cifar100": [100.0, 50.0, 10.0]}  # of Table 2


@dataclass(frozen=True)
class Wanted:
    """What is to be run.

    Attributes:
        table: keys of `grid.TABLES`.
        datasets: names; those of the paper's table if None.
        ratios: imbalance ratios; the paper's if None.
        seeds: of split, initial weights and views.
        preset: its name.
        device: where to train.
        level: only cells of this level.
        methods: only these methods.
        dictionary: phase 2 alone, on features of this name in benchmarks/dictionaries.
        publish: keep each phase 1 there.
        dry_run: list what is missing, and stop.
    """

    table: list[str]
    datasets: list[str] | None = None
    ratios: list[float] | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    preset: str = "auto"
    device: Device = "auto"
    level: str | None = None
    methods: list[str] | None = None
    dictionary: str | None = None
    publish: bool = False
    dry_run: bool = False


class Failures(dict[str, Exception]):
    """What has no result, by name, and why."""

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Ends here what goes wrong inside, and says it."""
        try:
            yield
        except Exception as error:  # an error of the lab or a fault in it: others can still be run
            if not isinstance(error, LabError):
                traceback.print_exc()
            self[name] = error
            print(f"{name}: {self.said(name)}", flush=True)

    def said(self, name: str) -> str:
        """Why, in words."""
        return f"{type(self[name]).__name__}: {self[name]}"


class Job(NamedTuple):
    """A task and the result file that its rows go into.

    Attributes:
        task: what is run.
        file: where its rows go.
        about: what every row says of data set, imbalance ratio, preset and seed.
    """

    task: Task
    file: results.ResultFile
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """File and cell, for a person."""
        cell = self.task.cell
        return f"{self.file.path.stem} · {cell.method} {cell.variant or cell.level}"


def jobs(wanted: Wanted, failures: Failures) -> Iterator[Job]:
    """What a command has to run, seed by seed, those on the same features after each other."""
    listed = dict.fromkeys(cell for table in wanted.table for cell in grid.TABLES[table])
    chosen = [
        cell
        for cell in listed
        if wanted.level is None or cell.level == wanted.level or cell == grid.PHASE1
        if not wanted.methods or cell.method in wanted.methods
    ]
    given = (
        feature_files.read(feature_files.FOLDER, wanted.dictionary) if wanted.dictionary else None
    )
    if given is not None:
        chosen = [cell for cell in chosen if not cell.before_phase2]
    for seed in wanted.seeds:
        for dataset, ratio in [(None, None)] if given else data_sets(wanted):
            found: list[Job] = []
            with failures.of(f"{wanted.dictionary or dataset} · seed {seed}"):
                stem, base, about = basis(wanted, seed, dataset, ratio)
                path = results.folder() / f"{stem}_seed{seed}.json"
                file = results.ResultFile(path, {"settings": base.written()})
                found = [Job(Task(cell, base, given), file, about) for cell in chosen]
            yield from found


def data_sets(wanted: Wanted) -> Iterator[tuple[str, float | None]]:
    """Name and imbalance ratio of each data set; None is the usual ratio."""
    usual = [name for table in wanted.table for name in DATASETS.get(table, ["cifar100"])]
    for dataset in dict.fromkeys(wanted.datasets or usual):
        of_paper = RATIOS.get(dataset, [None]) if "2" in wanted.table else [None]
        for ratio in wanted.ratios or of_paper:
            yield dataset, ratio


def basis(
    wanted: Wanted, seed: int, dataset: str | None, ratio: float | None
) -> tuple[str, Experiment, dict[str, Any]]:
    """The name of the result file, the experiment and what rows say of it, of a data set."""
    if wanted.dictionary:
        facts = feature_files.read_facts(feature_files.FOLDER, wanted.dictionary)
        preset = facts.get("preset", "paper")
        base = presets.experiment(preset, data={"dataset": facts["dataset"]}, seed=seed)
        about = {"dataset": facts["dataset"], "imbalance_ratio": float(facts["imbalance_ratio"])}
        about |= {"preset": preset, "seed": seed, "dictionary": wanted.dictionary}
        return f"on_{wanted.dictionary}", base, about
    of_data: dict[str, Any] = {"dataset": dataset, "split_seed": seed}
    if ratio is not None:
        of_data["imbalance_ratio"] = ratio
    preset = presets.resolved(wanted.preset, str(dataset))
    base = presets.experiment(preset, data=of_data, seed=seed)
    data = stages.data(base.data)
    asked = base.data.imbalance_ratio if base.data.profile == "exponential" else None
    about = {"dataset": data.name, "imbalance_ratio": asked or data.imbalance_ratio}
    about |= {"preset": preset, "seed": seed, "dictionary": None}
    tail = f"lt_{asked:g}" if asked else "lt"
    stem = re.sub(r"\W+", "-", data.name).strip("-").removesuffix("_lt")
    return f"{stem}_{tail}_{preset}", base, about


class Clock:
    """How long jobs take, from the rows that there are and from those made meanwhile.

    Args:
        rows: those that there are.
    """

    def __init__(self, rows: Iterable[results.Row]) -> None:
        self._took: dict[tuple[Any, ...], list[float]] = {}
        for row in rows:
            if row["seconds"] is not None:
                self.note(row, row["seconds"])

    def note(self, row: results.Row, seconds: float) -> None:
        """Remembers what a row took."""
        for kind in self._kinds(row):
            self._took.setdefault(kind, []).append(seconds)

    def left(self, coming: list[Job]) -> str:
        """The time that jobs will take, in words."""
        total, unknown = 0.0, 0
        for job in coming:
            cell = job.task.cell
            row = job.about | {"method": cell.method, "level": cell.level, "variant": cell.variant}
            known = next((self._took[k] for k in self._kinds(row) if k in self._took), None)
            total += statistics.median(known) if known else 0.0
            unknown += not known
        text = f"about {total / 60:.0f} min left" if total >= 90 else f"about {total:.0f} s left"
        return f"{text}, and {unknown} of a kind not yet timed" if unknown else text

    @staticmethod
    def _kinds(row: results.Row) -> list[tuple[Any, ...]]:
        """What rows take about as long: the very cell, else any of its level, on such data."""
        data = tuple(row.get(name) for name in ("dataset", "imbalance_ratio", "preset"))
        return [(*data, row["level"], row["method"], row["variant"]), (*data, row["level"])]


def run(wanted: Wanted, command: str) -> Failures:
    """Runs what is missing, and says what could not be run.

    Args:
        wanted: what.
        command: that asked for it, for the record.

    Raises:
        LabError: if no data set can be read.
    """
    failures = Failures()
    everything = list(jobs(wanted, failures))
    if failures and not everything:
        raise next(iter(failures.values()))
    missing = []
    for job in everything:
        with failures.of(job.name):
            grid.check(job.task)
            if not job.file.has(job.task.key()):
                missing.append(job)
    clock = Clock(results.read())
    print(f"{len(everything)} cells, {len(missing)} to run: {clock.left(missing)}", flush=True)
    facts = results.run_facts(command, str(pick_device(wanted.device)))
    for number, job in enumerate(missing):
        if wanted.dry_run:
            print(job.name)
            continue
        began = time.monotonic()
        with failures.of(job.name):
            rows = grid.measure(job.task, job.about, wanted.device)
            job.file.add(rows, facts)
            clock.note(rows[0], rows[0]["seconds"] or time.monotonic() - began)
            print(
                f"[{number + 1}/{len(missing)}] {job.name}: ACSA {100 * rows[0]['acsa']:.1f} in "
                f"{time.monotonic() - began:.0f} s; {clock.left(missing[number + 1 :])}",
                flush=True,
            )
            if wanted.publish and job.task.cell == grid.PHASE1:
                publish(*job, wanted.device, facts)
    if failures:
        print(f"{len(failures)} without a result:", file=sys.stderr)
        for name in failures:
            print(f"  {name}: {failures.said(name)}", file=sys.stderr)
    return failures


def publish(
    task: Task,
    file: results.ResultFile,
    about: dict[str, Any],
    device: Device,
    run: dict[str, Any],
) -> None:
    """Keeps the dictionary of a phase 1 beside the code."""
    facts = {
        **{name: str(about[name]) for name in ("dataset", "imbalance_ratio", "preset", "seed")},
        "made_with": f"facog_lab {run['facog_lab']}, git {run['git']}, torch "
        f"{run['versions']['torch']}, {run['gpu'] or run['processor']}",
    }
    given = stages.Lab(task.settings, device).source
    for path in feature_files.write(given, feature_files.FOLDER, file.path.stem, facts):
        print(f"kept {path.name}, {path.stat().st_size / 2**20:.1f} MiB")
