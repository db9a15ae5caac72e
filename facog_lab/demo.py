"""The whole method on the embedded data set: notebooks 00 to 04, executed, as pages to click.

    python -m facog_lab.demo

Leaves executed notebooks and their pages in outputs/demo/ and a page that links them in
outputs/index.html. The pages show every figure, with hover and zoom, without a kernel or network.
"""

from __future__ import annotations

import html
import json
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import plotly.io
from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from plotly.offline import get_plotlyjs

from facog_lab.store import outputs_root, project_root

PLOTLY = "application/vnd.plotly.v1+json"


class FigurePages(Preprocessor):
    """Turns figures, which nbconvert does not know, into the HTML that plotly.js draws."""

    def preprocess_cell(
        self, cell: Any, resources: dict[str, Any], index: int
    ) -> tuple[Any, dict[str, Any]]:
        """Replaces the figures of one cell."""
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get(PLOTLY)
            if figure is not None:
                page = plotly.io.to_html(
                    {key: figure[key] for key in ("data", "layout")},
                    config=figure.get("config"),
                    include_plotlyjs=False,
                    full_html=False,
                    validate=False,
                )
                output["data"] = {"text/html": page}
        return cell, resources


def to_page(notebook: Path) -> Path:
    """Writes an executed notebook as a page beside it, with plotly.js in the same folder."""
    script = notebook.with_name("plotly.min.js")
    if not script.exists():
        script.write_text(get_plotlyjs(), encoding="utf-8")
    exporter = HTMLExporter()
    exporter.register_preprocessor(FigurePages, enabled=True)
    body, _ = exporter.from_notebook_node(nbformat.read(notebook, as_version=4))
    page = notebook.with_suffix(".html")
    tag = '<script src="plotly.min.js"></script>'
    page.write_text(body.replace("<head>", f"<head>{tag}", 1), encoding="utf-8")
    return page


def title_of(notebook: Path) -> tuple[str, str]:
    """The heading of a notebook and the question under it."""
    first = "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"])
    heading, _, rest = first.partition("\n")
    question = rest.strip().split("\n")[0].replace("**Question.**", "").strip()
    return heading.lstrip("# "), question


def index_page(rows: list[tuple[str, str, str, float]]) -> str:
    """The page that links the notebooks: (link, title, question, seconds) of each."""
    items = "\n".join(
        f'<li><a href="{html.escape(link)}">{html.escape(title)}</a> <small>{seconds:.0f} s</small>'
        f"<p>{html.escape(question)}</p></li>"
        for link, title, question, seconds in rows
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>FACoG Lab</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }}
li {{ list-style: none; margin-bottom: 1rem; }}
ul {{ padding: 0; }}
p {{ margin: 0.2rem 0; }}
</style>
<h1>FACoG Lab</h1>
<p>Long-tailed recognition with generated features, step by step, on the digits of scikit-learn.
Run by <code>make demo</code>; <code>make lab</code> opens the same notebooks to change them.</p>
<ul>
{items}
</ul>
</html>
"""


def main() -> int:
    """Runs the notebooks; returns 1 if one failed, after writing its page with the error."""
    folder = outputs_root() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    rows, failed, began = [], False, time.monotonic()
    for source in sorted((project_root() / "notebooks").glob("0[0-4]_*.ipynb")):
        executed, started = folder / source.name, time.monotonic()
        print(f"Running {source.name}", flush=True)
        try:
            papermill.execute_notebook(
                source, executed, kernel_name="python3", cwd=folder, progress_bar=False
            )
        except papermill.PapermillExecutionError as error:
            failed = True
            print(f"{source.name} failed: {error.ename}: {error.evalue}", file=sys.stderr)
        seconds = time.monotonic() - started
        page = to_page(executed)
        rows.append((f"demo/{page.name}", *title_of(source), seconds))
        print(f"  {seconds:.0f} s, {page}", flush=True)
        if failed:
            break
    index = outputs_root() / "index.html"
    index.write_text(index_page(rows), encoding="utf-8")
    print(f"{'Stopped' if failed else 'Done'} after {time.monotonic() - began:.0f} s: {index}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
