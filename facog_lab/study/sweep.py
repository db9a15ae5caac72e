"""Runs a notebook for every point of a grid of its parameters, on this machine or a cluster.

A point is one execution by papermill, a task of Dask: who runs it, and again where a worker was
lost, is Dask's business. Points that were run are not run again, those that failed or were cut off
are. `facog_lab.cli.sweep` is its command line, notebook 09 its notebook.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, model_validator

from facog_lab.runs.progress import Progress
from facog_lab.study.clusters import Where, client
from facog_lab.study.sweep_points import Point, Row

if TYPE_CHECKING:
    from distributed import Client

RETRIES = 2  # of a task whose kernel died; Dask counts workers that were lost for itself
Item = TypeVar("Item")
Made = TypeVar("Made")


class SweepConfig(Where):
    """What notebook 09 runs and shows."""

    notebook: str = Field("03_phase2.ipynb", description="a path, or a name in notebooks/")
    grid: dict[str, list[Any]] = Field(
        {"imbalance_ratio": [5.0, 20.0], "n_s": [1, 5], "seed": [0, 1]},
        description="values of its parameters",
    )
    fixed: dict[str, Any] = Field(
        {"phase1_epochs": 20, "epochs": 2}, description="parameters shared by all points"
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

    A row that could not be written, for instance on a full disk, has the reason as its error.

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
