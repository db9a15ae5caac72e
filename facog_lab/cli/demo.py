"""The whole method on the embedded data set: notebooks 00 to 06, executed, as pages to read.

    facog-lab demo

Leaves executed notebooks and their pages in outputs/demo/, and outputs/index.html that links them.
The pages need neither kernel nor network: plotly.js is stored beside them, equations are MathML.
Plotly is imported here to put figures on a page; `plots` makes them.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import plotly.io
from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from plotly.offline import get_plotlyjs

from facog_lab.paths import explain_oserror, outputs_root, project_root, write
from facog_lab.plots import in_words
from facog_lab.study import report, run_notebook

NOTEBOOKS = "0[0-6]_*.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
# nbconvert's page without what it would load from other hosts.
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}<script src="plotly.min.js"></script>{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}{{ super() }}
<style>.jp-RenderedMarkdown pre {
  font: var(--jp-code-font-size) var(--jp-code-font-family); overflow-x: auto;
}</style>{% endblock %}
"""
# A screen reader has the figure in words, and need not read the drawing's letters and numbers.
SILENT = """const drawn = document.getElementById("{plot_id}").querySelectorAll(".main-svg");
for (const drawing of drawn) drawing.setAttribute("aria-hidden", "true");"""
INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>FACoG Lab</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 44rem; margin: auto; padding: 2rem 1rem; }}
ol {{ list-style: none; padding: 0; }}
li {{ margin-bottom: 1rem; }}
p {{ margin: 0.2rem 0; }}
[role=note] {{ border-left: 4px solid #e76300; padding-left: 0.6rem; }}
</style>
<h1>FACoG Lab</h1>
<p>Long-tailed recognition with generated features, step by step, on the digits of scikit-learn.
Made by <code>make demo</code>; <code>make lab</code> opens the same notebooks, to change them.</p>
<ol>
{items}
</ol>
</html>
"""


@dataclass(frozen=True)
class Done:
    """An executed notebook.

    Attributes:
        path: the executed copy.
        title: its heading.
        question: the question that it begins with, in markdown.
        seconds: what it took.
        error: in which cell it failed, and how; empty if it did not.
        alarms: what it called out.
    """

    path: Path
    title: str
    question: str
    seconds: float
    error: str
    alarms: tuple[str, ...] = ()


def main(arguments: list[str] | None = None) -> int:
    """Runs the notebooks in order up to the first that fails; returns 1 if one did."""
    parser = argparse.ArgumentParser("facog-lab demo", description=main.__doc__)
    parser.parse_args(arguments)
    folder, started = outputs_root() / "demo", time.monotonic()
    script = get_plotlyjs().encode()
    with explain_oserror(folder, len(script)):
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "plotly.min.js", script)
    done: list[Done] = []
    notebooks = sorted((project_root() / "notebooks").glob(NOTEBOOKS))
    if not notebooks:
        print(f"There are no notebooks in {project_root()}: run this in a checkout of the project.")
        return 1
    for notebook in notebooks:
        print(f"{notebook.name}: running", flush=True)
        done.append(execute(notebook, folder))
        page = write_page(done[-1])
        outcome = done[-1].error or "done"
        print(f"{notebook.name}: {outcome} ({done[-1].seconds:.0f} s), see {page}", flush=True)
        if done[-1].error:
            break
    index = outputs_root() / "index.html"
    write(index, index_page(done).encode())
    print(f"{time.monotonic() - started:.0f} s in all. Open {index}")
    return int(any(notebook.error for notebook in done))


def execute(notebook: Path, folder: Path) -> Done:
    """Runs a notebook on its defaults; the executed copy, or what there is of it, is kept."""
    copy, started = folder / notebook.name, time.monotonic()
    copy.unlink(missing_ok=True)  # which may be a link to something else
    try:
        error = run_notebook.execute(notebook, copy, folder, progress_bar=sys.stderr.isatty())
        error = error.partition("\n")[0]
    except DeadKernelError as e:
        error = f"the kernel died, perhaps out of memory: {e}"
    first = nbformat.read(notebook, as_version=4).cells[0].source
    title, _, text = first.partition("\n")
    paragraph = text.strip().partition("\n")[0].removeprefix("**Question.**")
    question = paragraph[: paragraph.rfind("?") + 1].strip()
    alarms = report.found_alarms(nbformat.read(copy, as_version=4)) if copy.exists() else []
    seconds = time.monotonic() - started
    return Done(copy, title.lstrip("# "), question, seconds, error, tuple(alarms))


def write_page(done: Done) -> Path:
    """Writes an executed notebook as a page beside it."""
    notebook = nbformat.read(done.path, as_version=4)
    for cell in notebook.cells:
        outputs = [output for output in cell.get("outputs", []) if not _in_words(output)]
        for output in outputs:
            if PLOTLY in output.get("data", {}):
                output["data"] = {"text/html": figure_div(output["data"][PLOTLY])}
        if outputs:
            cell["outputs"] = outputs
    exporter = Page(raw_template=TEMPLATE)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": done.title}})
    path = done.path.with_suffix(".html")
    write(path, page.encode())
    return path


def _in_words(output: Mapping[str, Any]) -> bool:
    """Whether it is the words of a figure, which on a page come with the figure."""
    return in_words.ALTERNATIVE in output.get("data", {}).get("text/html", "")


def figure_div(figure: dict[str, Any]) -> str:
    """The HTML of a figure in plotly's JSON, for a page that loads plotly.js; its words first."""
    drawn = plotly.io.to_html(
        {"data": figure["data"], "layout": figure["layout"]},
        config=figure.get("config"),
        include_plotlyjs=False,
        full_html=False,
        validate=False,
        post_script=SILENT,
    )
    return in_words.alternative(figure) + drawn


class Page(HTMLExporter):
    """nbconvert's page, with our markdown."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """The HTML of a markdown cell."""
        return to_html(source)


def to_html(markdown: str) -> str:
    """Markdown to HTML, with equations as MathML and links to notebooks leading to pages."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(markdown)


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return _equation(body, "block")

    def inline_math(self, body: str) -> str:
        return _equation(body, "inline")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, re.sub(r"^(\w+)\.ipynb", r"\1.html", url), title)


def _equation(tex: str, display: str) -> str:
    # The converter gives letters of another alphabet only where they stand in braces.
    return to_mathml(re.sub(r"(\\math[a-z]+) *(\w)", r"\1{\2}", tex.strip()), display=display)


def index_page(done: list[Done]) -> str:
    """The page that links the executed notebooks."""
    items = [
        f'<li><a href="demo/{html.escape(notebook.path.stem)}.html">{html.escape(notebook.title)}'
        f"</a> <small>{notebook.seconds:.0f} s</small>"
        f"{html.escape(notebook.error) or to_html(notebook.question)}"
        + "".join(f'<p role="note">⚠ {html.escape(alarm)}</p>' for alarm in notebook.alarms)
        + "</li>"
        for notebook in done
    ]
    return INDEX.format(items="\n".join(items))


if __name__ == "__main__":
    sys.exit(main())
