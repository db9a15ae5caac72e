"""Figures of a sweep: rows in, plotly figures out."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from facog_lab.names import as_text, label
from facog_lab.plots import theme
from facog_lab.plots.theme import blank
from facog_lab.study.sweep_points import Row
from facog_lab.study.sweep_tables import PERCENT, cells, link, varying

SCALE = [[k / (len(theme.SEQUENCE) - 1), f"rgb{c}"] for k, c in enumerate(theme.SEQUENCE)]
MOST_LINKS = 6  # in a cell; all of them are in the table of means


def heat_map(rows: Sequence[Row], x: str, y: str, score: str, title: str) -> go.Figure:
    """Mean of a score for each pair of values of two parameters, over all else, with N.

    In a cell: mean ± standard deviation, N, and the numbers of its points, from 1 on, each a link
    to the executed notebook; plotly leaves links out of a page that is opened from the disk, where
    those of `sweep_tables.means` work. A pair without a score is empty.

    Args:
        rows: of the points.
        x: the parameter to the right.
        y: the parameter upwards.
        score: as the notebook reported it.
        title: of the figure.
    """
    figure = blank(title, _over(rows, [x, y], score))
    places = {cell.values: cell for cell in cells(rows, [x, y], score)}
    xs, ys = _values(rows, x), _values(rows, y)
    grid = [[places[a, b].mean if (a, b) in places else None for a in xs] for b in ys]
    found = [mean for line in grid for mean in line if mean is not None]
    unit = f"{label(score)}{', percent' * (score in PERCENT)}"
    figure.add_heatmap(
        x=_names(xs), y=_names(ys), z=grid, colorscale=SCALE, colorbar={"title": {"text": unit}},
        hovertemplate=f"{label(x)} %{{x}}, {label(y)} %{{y}}: %{{z:.4g}}<extra></extra>",
        xgap=2, ygap=2,
    )  # fmt: skip
    for (a, b), cell in places.items():
        # The upper half of the scale is light, an empty cell is the page.
        light = cell.mean is not None and cell.mean > (min(found) + max(found)) / 2
        colour = theme.INK if cell.mean is None else "#111" if light else "white"
        style = f"color:{colour};text-decoration:underline"
        shown = enumerate(cell.rows[:MOST_LINKS], start=1)
        links = " ".join(link(row, str(k), style) for k, row in shown)
        more = " …" * (len(cell.rows) > MOST_LINKS)
        figure.add_annotation(
            x=xs.index(a), y=ys.index(b), showarrow=False,
            text=f"<b>{cell.text}</b>{theme.small(f'N = {cell.n} · {links}{more}')}",
            font={"color": colour, "size": 15},
        )  # fmt: skip
    figure.update_xaxes(title_text=label(x), type="category", showgrid=False)
    figure.update_yaxes(title_text=label(y), type="category", showgrid=False)
    return figure.update_layout(height=220 + 75 * len(ys))


def curves(rows: Sequence[Row], x: str, score: str, title: str, by: str | None = None) -> go.Figure:
    """Mean ± standard deviation of a score against one parameter, a curve for each of another.

    Args:
        rows: of the points.
        x: the parameter to the right; its values are set out evenly.
        score: as the notebook reported it.
        title: of the figure.
        by: the parameter that the curves are told apart by.
    """
    names = [x, by] if by else [x]
    figure = blank(
        title, "mean ± standard deviation, " + _over(rows, names, score), legend=theme.ABOVE
    )
    made = [cell for cell in cells(rows, names, score) if cell.mean is not None]
    for k, value in enumerate(_values(rows, by) if by else [""]):
        part = [cell for cell in made if by is None or cell.values[1] == value]
        figure.add_scatter(
            x=_names([cell.values[0] for cell in part]), y=[cell.mean for cell in part],
            error_y={"array": [cell.sd or 0 for cell in part], "thickness": 1.5, "width": 4},
            mode="lines+markers", name=f"{label(by)} = {as_text(value)}" if by else label(score),
            line={"color": theme.PALETTE[k % len(theme.PALETTE)]},
            customdata=[[cell.text, cell.n] for cell in part],
            hovertemplate="%{customdata[0]}, N = %{customdata[1]}<extra></extra>",
        )  # fmt: skip
    order = _names(_values(rows, x))
    figure.update_xaxes(
        title_text=label(x), type="category", categoryorder="array", categoryarray=order
    )
    figure.update_layout(showlegend=by is not None)
    return figure.update_yaxes(title_text=f"{label(score)}{', percent' * (score in PERCENT)}")


def _over(rows: Sequence[Row], names: Sequence[str], score: str) -> str:
    """What is averaged over, and how many scores that makes, in words."""
    others = ", ".join(label(name) for name in varying(rows) if name not in names)
    counts = sorted({cell.n for cell in cells(rows, names, score)})
    n = f"N = {counts[0]} to {counts[-1]}" if len(counts) > 1 else f"N = {sum(counts)}"
    return f"over {others}, {n}" if others else n


def _values(rows: Sequence[Row], name: str) -> list[str]:
    """The values of a parameter as texts, in the order of the grid."""
    return list(dict.fromkeys(str(row["values"][name]) for row in rows))


def _names(values: Sequence[str]) -> list[str]:
    return [as_text(value) for value in values]
