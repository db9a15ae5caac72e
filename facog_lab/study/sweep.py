"""Runs a notebook for every point of a grid of its parameters, on this machine or a cluster.

    python -m facog_lab.study.sweep notebooks/03_phase2.ipynb --grid n_s=1,2,5 --grid seed=0,1,2
    python -m facog_lab.study.sweep notebooks/03_phase2.ipynb --grid n_s=1,5 --scheduler tcp://host:8786
    python -m facog_lab.study.sweep benchmarks.paper_tables --table 2 --seeds 0 1 2

A point is one execution by papermill, a task of Dask: who runs it, and again where a worker was
lost, is Dask's business. Points that were run are not run again, those that failed or were cut off
are: give the same command again. In the place of a notebook, benchmarks.paper_tables with its own
options runs the cells of the paper's tables, a task for each data set and seed. docs/sweeps.md has
clusters.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, model_validator

from facog_lab.config import ConfigError
from facog_lab.paths import StoreError
from facog_lab.runs.progress import Progress
from facog_lab.study.clusters import MissingDaskError, Where, client
from facog_lab.study.sweep_points import Point, Row, points, said

if TYPE_CHECKING:
    from distributed import Client

RETRIES = 2  # of a task whose kernel died; Dask counts workers that were lost for itself
TABLES = "benchmarks.paper_tables"
Item = TypeVar("Item")
Made = TypeVar("Made")


class SweepConfig(Where):
    """What notebook 08 runs and shows."""

    notebook: str = Field("03_phase2.ipynb", description="a path, or a name in notebooks/")
    grid: dict[str, list[Any]] = Field(
        {"imbalance_ratio": [5.0, 20.0], "n_s": [1, 5], "seed": [0, 1]},
        description="values of its parameters",
    )
    fixed: dict[str, Any] = Field(
        {"phase1_epochs": 20, "epochs": 2}, description="parameters that all points have alike"
    )
    across: str = Field("imbalance_ratio", description="the parameter to the right")
    upwards: str = Field("n_s", description="the parameter upwards")
    score: str = Field("acsa", description="of those that it reports")

    @model_validator(mode="after")
    def _shows_what_it_runs(self) -> SweepConfig:
        for field in ("across", "upwards"):
            if (name := getattr(self, field)) not in self.grid:
                raise ValueError(f"{field} = {name!r}: the grid has {', '.join(self.grid)}.")
        return self


def completed(
    to: Client, function: Callable[[Item], Made], items: Sequence[Item], keys: Sequence[str]
) -> Iterator[tuple[Item, Made | BaseException]]:
    """Each item with what the function made of it or how that failed, in the order of completion.

    Args:
        to: the client of those who run them.
        function: of one item.
        items: what it is called with.
        keys: a name for each, by which the scheduler knows a task that it has.
    """
    from distributed import as_completed

    of = dict(zip(keys, items, strict=True))
    futures = to.map(function, items, key=list(keys), retries=RETRIES)
    try:
        for future in as_completed(futures):
            error = future.exception()
            yield of.pop(future.key), future.result() if error is None else error
    finally:
        to.cancel(futures)  # nothing to do unless it was cut off


def rows(todo: Sequence[Point], where: Where) -> Iterator[Row]:
    """The row of every point: first of those that were run before, then as they end.

    A row that could not be kept, for instance on a full disk, says so as its error.

    Args:
        todo: the points.
        where: who runs them, and how long one may take.

    Raises:
        MissingDaskError, ConfigError: see `client`; only if there is something to run.
    """
    name = todo[0].folder.parent.name if todo else "nothing"
    missing = []
    with Progress(len(todo), f"Sweep of {name}", unit="point") as progress:
        for point in todo:
            row = point.row()
            if row is None or row["error"]:
                missing.append(point)
            else:
                yield row
        progress.resume(len(todo) - len(missing))
        if not missing:
            return
        with client(where, len(missing)) as to:
            from facog_lab.study import (
                run_notebook,  # takes a second, and there may be nothing to run
            )

            keys = [f"{name}-{point.key}" for point in missing]
            run = functools.partial(run_notebook.run, timeout=where.timeout)
            for point, made in completed(to, run, missing, keys):
                if isinstance(made, BaseException):  # its kernel or its workers died, each time
                    made = point.kept(error=f"{type(made).__name__}: {made}")
                progress.update(1)
                yield made


def tables(arguments: list[str], where: Where) -> int:
    """Runs cells of the paper's tables, a task for each result file, so that each has one writer.

    Returns:
        0 if all could be run, else 1.
    """
    from facog_lab.study import run_grid

    if where.timeout is not None:
        raise ConfigError(f"timeout = {where.timeout:g}: {TABLES} has none; it is for notebooks.")
    parts = run_grid.parts(arguments)
    failed = 0
    print(f"{len(parts)} result files", flush=True)
    with client(where, len(parts)) as to:
        keys = [f"{TABLES}-{' '.join(part)}" for part in parts]
        for part, made in completed(to, run_grid.main, parts, keys):
            failed += made != 0
            outcome = "done" if made == 0 else "not all of it could be run"
            outcome = repr(made) if isinstance(made, BaseException) else outcome
            print(f"{' '.join(part)}: {outcome}", flush=True)
    return int(failed > 0)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status says whether every point was run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("what", help=f"a notebook, or {TABLES} and its options")
    add("--grid", action="append", default=[], metavar="NAME=VALUES", help="values with commas")
    add("--scheduler", help="address of a Dask scheduler, as tcp://host:8786")
    add("--cluster", help="class of a Dask cluster, as dask_jobqueue.SLURMCluster")
    add("--cluster-options", type=json.loads, default={}, help="what it is called with, as JSON")
    add("--workers", help="how many; on this machine a core each unless said")
    add("--timeout", help="seconds that a point may take; then it is ended, and a failed row")
    options, more = parser.parse_known_args(arguments)
    if more and options.what != TABLES:
        parser.error(f"unknown: {' '.join(more)}")
    grid = {}
    for text in options.grid:
        name, equals, values = text.partition("=")
        if not equals or name in grid:
            parser.error(f"--grid {text}: write NAME=VALUE,VALUE, each name once")
        grid[name] = [value for value in values.split(",") if value]
    try:
        where = Where(**{name: getattr(options, name) for name in Where.model_fields})
        if options.what == TABLES:
            return tables(more, where)
        failed = 0
        for row in rows(points(options.what, grid), where):
            failed += bool(row["error"])
            print(f"{said(row['values'])}: {_outcome(row)}", flush=True)
    except (ConfigError, MissingDaskError, StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    return int(failed > 0)


def _outcome(row: Row) -> str:
    if row["error"]:
        return f"FAILED, {row['error'].partition(chr(10))[0]}"
    scores = row["scores"].items()
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in scores)


if __name__ == "__main__":
    sys.exit(main())
