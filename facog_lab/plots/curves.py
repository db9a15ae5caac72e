"""Curves over the steps or epochs of a run: losses and scores, and the entropy of w."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from facog_lab.metrics import dirichlet_entropy
from facog_lab.names import as_text, label
from facog_lab.plots import theme
from facog_lab.plots.theme import INK, beside, blank

MOST_POINTS = 2000  # of one curve
SMOOTHED = 200  # points of a curve above which it is smoothed


def curves(
    history: Mapping[str, ArrayLike],
    groups: Mapping[str, Sequence[str]],
    x: ArrayLike | None = None,
    x_title: str = "step",
    smooth: int | None = None,
    title: str = "",
) -> go.Figure:
    """Small multiples of curves, one for each group.

    Args:
        history: columns of numbers, all over the same steps.
        groups: title of a panel to the keys of `history` it shows; absent keys are left out.
        x: where the numbers were taken; 1, 2, ... when None.
        x_title: what x counts.
        smooth: points in the moving average that is drawn over the faint raw curve, 0 for none;
            when None, a 50th of a curve of more than 200 points.
        title: of the figure.
    """
    shown = {name: [k for k in keys if k in history] for name, keys in groups.items()}
    columns = min(2, max(1, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    heads = [f"<b>{as_text(name)}</b><br>{_legend(keys)}" for name, keys in shown.items()]
    figure = theme.subplots(rows, columns, subplot_titles=heads, vertical_spacing=0.42 / rows)
    figure.update_layout(template=theme.TEMPLATE, title_text=as_text(title), showlegend=False)
    figure.update_layout(height=100 + 300 * rows, hovermode="x unified")
    for panel, keys in enumerate(shown.values()):
        place = {"row": panel // columns + 1, "col": panel % columns + 1}
        for key, colour in zip(keys, theme.PALETTE, strict=False):
            _curve(figure, history[key], x, smooth, label(key), colour, place)
    return figure.update_xaxes(title_text=x_title)


def entropy(
    values: ArrayLike | Mapping[str, ArrayLike],
    n_s: ArrayLike,
    x: ArrayLike | None = None,
    x_title: str = "step",
    title: str = "How evenly are the features mixed?",
) -> go.Figure:
    """Entropy of w over the steps, beside that of uniform, Dirichlet and one-hot weights.

    Args:
        values: (S,) nats, or several such curves by method.
        n_s: how many features are mixed; one number, or (S,) where it changed.
        x: (S,) steps; 1, 2, ... when None.
        x_title: what x counts.
        title: of the figure.
    """
    named = values if isinstance(values, Mapping) else {"entropy": values}
    figure = blank(title, legend=theme.ABOVE, hovermode="x unified", showlegend=len(named) > 1)
    steps = max((np.size(v) for v in named.values()), default=0)
    at = np.arange(1, steps + 1) if x is None else np.asarray(x)
    n = np.broadcast_to(np.asarray(n_s, int), at.shape)
    ends = np.flatnonzero(np.diff(n, prepend=-1) | np.diff(n, append=-1))  # of equal n_s
    references = {
        "<b>uniform w</b><br>log n_s = {:.2f}": np.log(n[ends]),
        "<b>Dirichlet(1) w</b><br>{:.2f} on average": [dirichlet_entropy(k) for k in n[ends]],
        "<b>one-hot w</b><br>0": np.zeros(len(ends)),
    }
    line = {"color": INK, "dash": "dash", "width": 1.5}
    style = {"mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False}
    for text, y in references.items():
        figure.add_scatter(x=at[ends], y=y, **style)
        if len(ends) and (y[-1] > 0 or "one-hot" in text):
            beside(figure, y[-1], text.format(y[-1]))
    for i, (method, y) in enumerate(named.items()):
        _curve(
            figure,
            y,
            x,
            None,
            label(method),
            theme.METHOD_COLOURS.get(method, theme.PALETTE[i % 10]),
            {},
        )
    top = math.log(n.max(initial=2))
    figure.update_yaxes(title_text="entropy of w in nats", range=[-0.08 * top, 1.1 * top])
    return figure.update_xaxes(title_text=x_title)


def _legend(keys: Sequence[str]) -> str:
    """The curves of a panel and their colours as a line of text; nothing to say about one alone."""
    entries = zip(keys, theme.PALETTE, strict=False)
    marks = [f'<span style="color:{colour}">━━</span> {label(key)}' for key, colour in entries]
    return "   ".join(marks) if len(keys) > 1 else label("".join(keys))


def _curve(
    figure: go.Figure,
    values: ArrayLike,
    x: ArrayLike | None,
    smooth: int | None,
    name: str,
    colour: str,
    place: dict[str, int],
) -> None:
    """A curve of at most MOST_POINTS points; smoothed with the raw one faint behind it."""
    y = np.asarray(values, float)
    at = np.arange(1, len(y) + 1) if x is None else np.asarray(x)
    window = (len(y) // 50 if len(y) > SMOOTHED else 0) if smooth is None else smooth
    thin = slice(None, None, max(1, math.ceil(len(y) / MOST_POINTS)))
    style: dict[str, Any] = {
        "mode": "lines" if len(y) > 30 else "lines+markers",
        "line_color": colour,
    }
    style |= {"x": at[thin], "name": name, "hovertemplate": "%{y:.4g}"}
    if window > 1:
        faint = style | {"opacity": 0.3, "line_width": 1, "hoverinfo": "skip", "showlegend": False}
        figure.add_scatter(y=y[thin].astype(np.float32), **faint | {"hovertemplate": None}, **place)
        y = theme.moving_average(y, window)
    figure.add_scatter(y=y[thin].astype(np.float32), line_width=2.5, **style, **place)
