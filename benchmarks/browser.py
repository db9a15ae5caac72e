"""What the benchmarks in a browser share: JupyterLab, Chromium, and rows of results."""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import statistics
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from facog_lab import store


class Desk:
    """A JupyterLab and a Chromium, both as in the browser tests."""

    def __init__(self, tests: Any, lab: Any, browser: Any) -> None:
        self.tests, self.lab, self.browser = tests, lab, browser

    def open(self, cells: Sequence[str]) -> Any:
        """A page with a notebook of these cells; `{root}` in them is the project's folder."""
        folder = self.lab.root / uuid.uuid4().hex[:8]
        folder.mkdir()
        made = nbformat.v4.new_notebook()
        made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        root = str(store.project_root())
        made.cells = [nbformat.v4.new_code_cell(cell.replace("{root}", root)) for cell in cells]
        nbformat.write(made, folder / "benchmark.ipynb")
        page = self.browser.new_page(viewport={"width": 1366, "height": 900})
        return self.tests.Notebook(self.lab, page, folder / "benchmark.ipynb")


@contextlib.contextmanager
def desk() -> Iterator[Desk]:
    """JupyterLab and Chromium for as long as they are needed."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(store.project_root() / "tests" / "browser"))
    tests, flags = importlib.import_module("lab"), importlib.import_module("conftest").FLAGS
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        with tests.Lab(Path(folder)) as lab:
            yield Desk(tests, lab, browser)
        browser.close()


def row(
    name: str,
    values: Sequence[float],
    unit: str,
    bar: float,
    most: bool,
    of: Callable[[Sequence[float]], float] = statistics.median,
) -> dict[str, Any]:
    """A row of speed results: one figure of several, their spread, and whether it holds a bar.

    Args:
        name: what was measured.
        values: each run's figure.
        unit: of the values.
        bar: what `of(values)` must reach.
        most: whether the bar is the most that is allowed, not the least.
        of: what is made of the values, their median or the worst.
    """
    value = of(values)
    return {
        "name": name,
        "value": round(value, 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
        "runs": len(values),
        "unit": unit,
        "bar": f"{'≤' if most else '≥'} {bar:g}",
        "holds": value <= bar if most else value >= bar,
        "device": "cpu",
    }


def write(rows: Sequence[dict[str, Any]], path: Path | None, command: str) -> None:
    """Prints rows, and puts them into a results file in the place of those of the same name."""
    for one in rows:
        print("{name}: {value} {unit} ({low} to {high}), bar {bar}: {holds}".format(**one))
    if path is None:
        return
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    made: dict[str, Any] = {"command": command, "environment": store.environment()}
    made["date"] = datetime.now(UTC).strftime("%Y-%m-%d")
    new = {one["name"]: one | {"made": made} for one in rows}
    kept = {one["name"]: one for one in before} | new
    path.write_text(json.dumps({"rows": list(kept.values())}, indent=1, ensure_ascii=False) + "\n")
