"""Runs a notebook for every point of a grid of its parameters, on this machine or a cluster.

    facog-lab sweep notebooks/03_phase2.ipynb --grid n_s=1,2,5 --grid seed=0,1,2
    facog-lab sweep notebooks/03_phase2.ipynb --grid n_s=1,5 --scheduler tcp://host:8786
    facog-lab sweep tables --table 2 --seeds 0 1 2

A point is one execution by papermill, a task of Dask, which schedules it and retries it where a
worker was lost. Finished points are not run again; those that failed or were interrupted are: give
the same command again. In place of a notebook, `tables` with its own options runs the cells of the
paper's tables, a task for each data set and seed. docs/sweeps.md describes clusters.
"""

from __future__ import annotations

import argparse
import json
import sys

from facog_lab.cli import tables as of_paper
from facog_lab.config import ConfigError
from facog_lab.paths import StoreError
from facog_lab.study.clusters import MissingDaskError, Where, client
from facog_lab.study.sweep import completed, rows
from facog_lab.study.sweep_points import Row, points, said

TABLES = "tables"


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status says whether every point was run."""
    parser = argparse.ArgumentParser(
        "facog-lab sweep",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("what", help=f"a notebook, or {TABLES} and its options")
    add("--grid", action="append", default=[], metavar="NAME=VALUES", help="values with commas")
    add("--scheduler", help="address of a Dask scheduler, as tcp://host:8786")
    add("--cluster", help="class of a Dask cluster, as dask_jobqueue.SLURMCluster")
    add("--cluster-options", type=json.loads, default={}, help="its options, as JSON")
    add("--workers", help="how many; default on this machine: one per core")
    add("--timeout", help="time limit for a point in seconds; then it ends as a failed row")
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


def tables(arguments: list[str], where: Where) -> int:
    """Runs cells of the paper's tables, a task for each result file, so that each has one writer.

    Returns:
        0 if all could be run, else 1.
    """
    if where.timeout is not None:
        raise ConfigError(f"timeout = {where.timeout:g}: {TABLES} has none; it is for notebooks.")
    parts = of_paper.parts(arguments)
    failed = 0
    print(f"{len(parts)} result files", flush=True)
    with client(where, len(parts)) as to:
        keys = [f"{TABLES}-{' '.join(part)}" for part in parts]
        for part, made in completed(to, of_paper.main, parts, keys):
            failed += made != 0
            outcome = "done" if made == 0 else "not all of it could be run"
            outcome = repr(made) if isinstance(made, BaseException) else outcome
            print(f"{' '.join(part)}: {outcome}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
