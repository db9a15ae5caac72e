"""Runs a notebook for every point of a grid of its parameters, on this machine or a cluster.

    python -m facog_lab.sweep notebooks/03_phase2.ipynb --grid n_s=1,2,5,10,20 --grid seed=0,1,2
    python -m facog_lab.sweep notebooks/03_phase2.ipynb --grid n_s=1,5 --scheduler tcp://host:8786
    python -m facog_lab.sweep benchmarks.paper_tables --table 2 --seeds 0 1 2

A point is one execution by papermill, a task of Dask: who runs it, and again where a worker was
lost, is Dask's business. Points that were run are not run again, those that failed or were cut off
are: give the same command again. In the place of a notebook, benchmarks.paper_tables with its own
options runs the cells of the paper's tables, a task for each data set and seed. docs/sweeps.md has
clusters.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, model_validator

from facog_lab.config import Config, ConfigError, LabError
from facog_lab.points import Point, Row, points, said
from facog_lab.progress import Progress

if TYPE_CHECKING:
    from distributed import Client

RETRIES = 2  # of a task whose kernel died; Dask counts workers that were lost for itself
TIMEOUT = "20s"  # for a scheduler to answer
TABLES = "benchmarks.paper_tables"
Item = TypeVar("Item")
Made = TypeVar("Made")


class MissingDaskError(LabError, ImportError):
    """Dask is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Sweeps run on Dask, which is not installed. Install it with: "
            "pip install -e '.[cluster]' (in the folder of the lab)."
        )

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message is the whole story."""
        return [f"{type(self).__name__}: {self}"]


class Where(Config):
    """Who runs a sweep: processes of this machine unless something else is named.

    Without any of these, Dask's own setting `scheduler-address` (DASK_SCHEDULER_ADDRESS) counts.
    """

    scheduler: str | None = Field(
        default=None, description="address of a scheduler, as tcp://host:8786"
    )
    cluster: str | None = Field(
        default=None, description="class of a cluster, as dask_jobqueue.SLURMCluster"
    )
    cluster_options: dict[str, Any] = Field(default={}, description="what the class is called with")
    workers: int | None = Field(default=None, ge=1, description="how many; a core each unless said")


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


@contextmanager
def client(where: Where, tasks: int) -> Iterator[Client]:
    """A client of the scheduler that is asked for; a cluster that was started for it ends with it.

    Args:
        where: who runs it.
        tasks: how many there are; more workers than these are not started.

    Raises:
        MissingDaskError: without Dask.
        ConfigError: if there is no such cluster, or nobody answers at the scheduler's address.
    """
    try:
        import dask.config
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingDaskError from None
    address = where.scheduler
    if address is None and where.cluster is None:
        address = dask.config.get("scheduler-address", None)
    with ExitStack() as opened:
        cluster: Any = address
        if where.cluster is not None:
            cluster = opened.enter_context(_cluster(where))
            cluster.scale(min(tasks, where.workers or tasks))
        elif address is None:
            here = min(tasks, where.workers or os.cpu_count() or 1)
            # A thread each: papermill runs in it. The dashboard's usual port may be another's.
            cluster = LocalCluster(
                n_workers=here,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
            opened.enter_context(cluster)
        try:
            made = opened.enter_context(Client(cluster, timeout=TIMEOUT))
        except (OSError, TimeoutError) as error:
            raise ConfigError(
                f"scheduler = {address!r}: nobody answers there ({error}). Start one with "
                "`dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`."
            ) from None
        yield made


def _cluster(where: Where) -> Any:
    """The cluster whose class is named.

    Raises:
        ConfigError: if there is no such class, or it does not take the options.
    """
    module, _, name = str(where.cluster).rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"cluster = {where.cluster!r}: there is no such class ({error}). Give its module and "
            "name, as dask_jobqueue.SLURMCluster, and install what it belongs to."
        ) from None
    try:
        return kind(**where.cluster_options)
    except Exception as error:  # of whatever kind those who wrote the class have
        raise ConfigError(
            f"cluster = {where.cluster!r} with {where.cluster_options!r} could not be started: "
            f"{type(error).__name__}: {error}"
        ) from error


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

    Args:
        todo: the points.
        where: who runs them.

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
            from facog_lab import execution  # takes a second, and there may be nothing to run

            keys = [f"{name}-{point.key}" for point in missing]
            for point, made in completed(to, execution.run, missing, keys):
                if isinstance(
                    made, BaseException
                ):  # its kernel or its workers died again and again
                    made = point.keep(
                        scores={}, error=f"{type(made).__name__}: {made}", seconds=None
                    )
                progress.update(1)
                yield made


def tables(arguments: list[str], where: Where) -> int:
    """Runs cells of the paper's tables, a task for each result file, so that each has one writer.

    Returns:
        0 if all could be run, else 1.
    """
    from facog_lab import paper_tables

    parts = paper_tables.parts(arguments)
    failed = 0
    print(f"{len(parts)} result files", flush=True)
    with client(where, len(parts)) as to:
        keys = [f"{TABLES}-{' '.join(part)}" for part in parts]
        for part, made in completed(to, paper_tables.main, parts, keys):
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
    except (ConfigError, MissingDaskError) as error:
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
