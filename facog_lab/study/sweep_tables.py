"""What came of a sweep: a table that fills while it runs, means and deviations of its points."""

from __future__ import annotations

import html
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd
from IPython.display import HTML, display

from facog_lab.runs.progress import is_live
from facog_lab.study.sweep_points import Point, Row, said

MOST_LINES = 200  # of a table; a page of thousands would be slow
LONGEST = 200  # characters of an error in a table
SECONDS = 0.5  # between two drawings
PERCENT = {"acsa", "gm", "top1", "many", "medium", "few", "tail20", "gain"}  # kept as shares


class Cell(NamedTuple):
    """Points that differ in what is averaged over alone.

    Attributes:
        values: of the parameters that are not averaged over, as texts.
        mean: of the score, in percent where that is a share; None if there is no score.
        sd: standard deviation, N - 1 in the denominator; None below two scores.
        n: how many scores there are.
        rows: of all points, with a score and without.
    """

    values: tuple[str, ...]
    mean: float | None
    sd: float | None
    n: int
    rows: list[Row]

    @property
    def text(self) -> str:
        """Mean ± deviation."""
        if self.mean is None:
            return "–"
        return f"{self.mean:.4g}" if self.sd is None else f"{self.mean:.4g} ± {self.sd:.2g}"


def cells(rows: Sequence[Row], names: Sequence[str], score: str) -> list[Cell]:
    """Mean and deviation of a score for each choice of some parameters, over all else.

    Args:
        rows: of the points.
        names: the parameters.
        score: as the notebook reported it; points that failed or lack it do not count.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row["values"][name]) for name in names), []).append(row)
    made = []
    for values, group in groups.items():
        found = [s for row in group if isinstance(s := row["scores"].get(score), float | int)]
        scores = [100 * s if score in PERCENT else s for s in found]
        mean = statistics.fmean(scores) if scores else None
        sd = statistics.stdev(scores) if len(scores) > 1 else None
        made.append(Cell(values, mean, sd, len(scores), group))
    return made


def varying(rows: Iterable[Row]) -> list[str]:
    """The parameters that have more than one value."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row["values"].items():
            seen.setdefault(name, set()).add(repr(value))
    return [name for name, values in seen.items() if len(values) > 1]


def link(row: Row, text: str, style: str = "") -> str:
    """A link to a point's executed notebook, as HTML; the text alone if there is none."""
    shown = html.escape(text)
    if not row["executed"]:
        return shown
    target = quote(Path(os.path.relpath(row["executed"])).as_posix())
    style = style and f' style="{style}"'
    return f'<a href="{target}" target="_blank"{style}>{shown}</a>'


def live(todo: Sequence[Point], rows: Iterable[Row]) -> list[Row]:
    """Shows a table of points that fills while they run, in a live front end; else at the end.

    Args:
        todo: all points.
        rows: of them, as they come.

    Returns:
        The rows in the order of the points.
    """
    found: dict[str, Row] = {}
    handle = display(HTML(table(todo, found)), display_id=True) if is_live() else None
    drawn = time.monotonic()
    try:
        for row in rows:
            found[row["key"]] = row
            if handle is not None and time.monotonic() - drawn > SECONDS:
                handle.update(HTML(table(todo, found)))
                drawn = time.monotonic()
    finally:  # also what there is where it is interrupted
        last = HTML(table(todo, found))
        handle.update(last) if handle is not None else display(last)
    return [found[point.key] for point in todo if point.key in found]


def table(todo: Sequence[Point], found: dict[str, Row]) -> str:
    """The points and their results, one per row, as HTML.

    Args:
        todo: the points.
        found: rows by key; the others wait.
    """
    names = varying({"values": point.values} for point in todo)
    rows = [found[point.key] for point in todo if point.key in found]
    scores = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    failed = sum(bool(row["error"]) for row in rows)
    fixed = {k: v for k, v in todo[0].values.items() if k not in names} if todo else {}
    head = [*names, "state", *(_titled(name) for name in scores), "seconds"]
    lines = []
    for point in todo[:MOST_LINES]:
        row = found.get(point.key)
        values = [html.escape(str(point.values[name])) for name in names]
        if row is None:
            lines.append([*values, "waits", *[""] * (len(scores) + 1)])
        else:
            state = row["error"] and "failed: " + row["error"].replace("\n", " ")
            state = state if len(state) <= LONGEST else state[:LONGEST] + "…"
            figures = [html.escape(_shown(row["scores"].get(name), name)) for name in scores]
            seconds = html.escape(str(row["seconds"] or ""))
            lines.append([*values, link(row, state or "done"), *figures, seconds])
    said_more = f", {len(todo) - MOST_LINES:,} more below" if len(todo) > MOST_LINES else ""
    caption = f"{len(rows):,} of {len(todo):,} points, {failed:,} failed{said_more}"
    caption += f"; all with {said(fixed)}" if fixed else ""
    return as_html(head, lines, caption)


def means(rows: Sequence[Row], score: str, over: str = "seed") -> Any:
    """Mean ± deviation of a score over the values of a parameter, with N, for a notebook.

    Args:
        rows: of all points.
        score: as the notebook reported it.
        over: the parameter whose values are averaged; each links to its executed notebook.
    """
    names = [name for name in varying(rows) if name != over]
    lines = [
        [
            *map(html.escape, cell.values),
            cell.text,
            str(cell.n),
            " ".join(link(row, str(row["values"].get(over, "run"))) for row in cell.rows),
        ]
        for cell in cells(rows, names, score)
    ]
    return HTML(as_html([*names, _titled(score), "N", over], lines, ""))


def as_html(head: Sequence[str], lines: Sequence[Sequence[str]], caption: str) -> str:
    """A table; head and caption are texts, the lines HTML."""
    made = pd.DataFrame(lines, columns=head).style.hide(axis="index")
    made.set_caption(html.escape(caption)).format_index(escape="html", axis=1)
    made.set_table_styles([{"selector": "caption", "props": "text-align: left"}])
    return made.to_html(cell_ids=False)


def _titled(name: str) -> str:
    return f"{name}, %" if name in PERCENT else name


def _shown(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{100 * value:.1f}" if name in PERCENT else f"{value:.4g}"
    return str(value)
