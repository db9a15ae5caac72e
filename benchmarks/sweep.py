"""Sweeps with a scheduler and workers that are processes of their own: a loss, two workers, many.

    python -m benchmarks.sweep killed --out benchmarks/results/speed.json
    python -m benchmarks.sweep workers --out benchmarks/results/speed.json
    python -m benchmarks.sweep scheduler --out benchmarks/results/speed.json

`killed`: 24 points of notebook 03 on digits with two workers, of which one is ended by SIGKILL
while it runs a point, and stays away; then the same command again. `workers`: the 24 points with
one worker and with two, each into an empty folder. `scheduler`: 10,000 points that do nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import nbformat

from benchmarks.rows import row, write
from facog_lab.runs import store
from facog_lab.study import sweep, sweep_points

NOTEBOOK = "03_phase2.ipynb"
GRID: dict[str, list[float]] = {
    "n_s": [1, 2, 5, 10],
    "lambda_asc": [0.1, 1.0],
    "seed": [0, 1, 2],
    "epochs": [1],
    "phase1_epochs": [5],
}
KILLED_AFTER = 8  # rows, and then
KILLED_LATER = 2.0  # seconds, so that it is in the middle of a point
MANY, MANY_FROM = 10_000, 2_000  # points, and those after which memory should not grow


@contextmanager
def processes(workers: int) -> Iterator[tuple[sweep.Where, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers without anyone who would start them again, on this machine."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                env=environment,
                cwd=folder,
                stderr=subprocess.DEVNULL,
            )
            opened.callback(process.wait)
            opened.callback(process.terminate)
            return process

        said = folder / "scheduler.json"
        local = ("--host", "127.0.0.1", "--port", "0")
        start("scheduler", *local, "--no-dashboard", "--scheduler-file", str(said))
        while not said.exists() or not said.read_text():
            time.sleep(0.1)
        address = json.loads(said.read_text())["address"]
        one = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        started = [start(*one) for _ in range(workers)]
        with sweep.client(where := sweep.Where(scheduler=address), workers) as client:
            client.wait_for_workers(workers)
        yield where, started


@contextmanager
def new_outputs() -> Iterator[Path]:
    """An empty folder for runs."""
    before = os.environ.get("FACOG_OUTPUTS")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FACOG_OUTPUTS"] = folder
        yield Path(folder)
    os.environ.pop("FACOG_OUTPUTS")
    if before is not None:
        os.environ["FACOG_OUTPUTS"] = before


def half_written(outputs: Path) -> list[Path]:
    """Files that are not whole, and runs that are not complete."""
    found = list(outputs.rglob("*.part"))
    for path in outputs.rglob("row.json"):
        try:
            json.loads(path.read_text())
            nbformat.read(path.with_name("executed.ipynb"), as_version=4)
        except (ValueError, OSError):
            found.append(path)
    for path in outputs.rglob(store.MANIFEST):
        if not store.read_manifest(path)["complete"]:
            found.append(path)
    return found


def killed() -> Iterator[dict[str, Any]]:
    """24 rows although a worker is lost; the same again."""
    with new_outputs() as outputs, processes(2) as (where, workers):
        todo = sweep_points.points(NOTEBOOK, GRID)
        rows = []
        for one in sweep.rows(todo, where):
            rows.append(one)
            if len(rows) == KILLED_AFTER:
                time.sleep(KILLED_LATER)
                os.kill(workers[0].pid, signal.SIGKILL)
        good = {r["key"] for r in rows if not r["error"] and r["scores"]}
        broken = half_written(outputs)
        made = len(list((outputs / "digits" / "phase1").iterdir()))
        words = [f"{name}={','.join(map(str, v))}" for name, v in GRID.items()]
        command = [sys.executable, "-m", "facog_lab.study.sweep", NOTEBOOK]
        command += [part for word in words for part in ("--grid", word)]
        command += ["--scheduler", str(where.scheduler)]
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        again = time.monotonic() - began
    print(*broken, sep="\n")
    name = "sweep, 24 points, one of two workers killed"
    yield row(f"{name}: points with scores", [len(good)], "", 24, most=False)
    yield row(f"{name}: half-written files", [len(broken)], "", 0, most=True)
    yield row(f"{name}: phase-1 runs for 3 seeds", [made], "", 3, most=True)
    yield row("the same sweep again, all done", [again], "s", 5, most=True)


def workers() -> Iterator[dict[str, Any]]:
    """24 points with one worker and with two."""
    seconds = []
    for number in (1, 2):
        with new_outputs(), processes(number) as (where, _):
            todo = sweep_points.points(NOTEBOOK, GRID)
            began = time.monotonic()
            rows = list(sweep.rows(todo, where))
            seconds.append(time.monotonic() - began)
        assert not [r["error"] for r in rows if r["error"]]
        print(f"{number} worker(s): {seconds[-1]:.1f} s", flush=True)
    ratio = seconds[0] / seconds[1]
    yield row("sweep, 24 points: two workers against one", [ratio], "×", 1.7, most=False)


def nothing(number: int) -> int:
    """A point that does nothing."""
    return number


def scheduler() -> Iterator[dict[str, Any]]:
    """10,000 points that do nothing."""
    with processes(2) as (where, _), sweep.client(where, MANY) as client:
        memory = []
        began = time.monotonic()
        done = sweep.completed(client, nothing, range(MANY), [f"nothing-{k}" for k in range(MANY)])
        for k, (number, made) in enumerate(done, start=1):
            assert number == made
            if k in (MANY_FROM, MANY):
                memory.append(resident())
        took = time.monotonic() - began
    name = "sweep, 10,000 points that do nothing"
    yield row(f"{name}: a point", [1000 * took / MANY], "ms", 20, most=True)
    yield row(
        f"{name}: the client grows over the last 8,000", [memory[1] - memory[0]], "MB", 5, most=True
    )


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


MEASURES: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "killed": killed,
    "workers": workers,
    "scheduler": scheduler,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    options = parser.parse_args()
    rows = list(MEASURES[options.what]())
    sys.exit(not write(rows, options.out, f"python -m benchmarks.sweep {options.what}"))


if __name__ == "__main__":
    main()
