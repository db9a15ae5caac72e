"""What the benchmarks in a browser share: JupyterLab, Chromium, and rows of results."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from facog_lab import paths


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
        root = str(paths.project_root())
        made.cells = [nbformat.v4.new_code_cell(cell.replace("{root}", root)) for cell in cells]
        nbformat.write(made, folder / "benchmark.ipynb")
        page = self.browser.new_page(viewport={"width": 1366, "height": 900})
        return self.tests.Notebook(self.lab, page, folder / "benchmark.ipynb")


@contextlib.contextmanager
def desk() -> Iterator[Desk]:
    """JupyterLab and Chromium for as long as they are needed."""
    from playwright.sync_api import sync_playwright

    tests_of = paths.project_root() / "tests"
    sys.path[:0] = [str(tests_of / "browser"), str(tests_of)]
    tests, flags = importlib.import_module("lab"), importlib.import_module("conftest").FLAGS
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        with tests.Lab(Path(folder)) as lab:
            yield Desk(tests, lab, browser)
        browser.close()
