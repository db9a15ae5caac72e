"""Arrays in, a plotly Figure out; no I/O.

Here are the figures of counts, curves and scores; those of images and features are in `pictures`
and `portraits`, and can be had from here, too. Arrays may be NumPy's, lists, or PyTorch's on the
CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import ArrayLike, NDArray

from facog_lab.metrics import FEW_BELOW, MANY_ABOVE, dirichlet_entropy, rarest_classes
from facog_lab.names import as_text, label
from facog_lab.plots import theme
from facog_lab.plots.images import distances, image_grid, neighbours, norms, scatter
from facog_lab.plots.maps import atlas
from facog_lab.plots.neighbours import mixtures, portrait
from facog_lab.plots.theme import BLUE, INK, ORANGE, beside, blank, class_colours, small
from facog_lab.plots.timelines import overlay

__all__ = [
    "atlas", "class_colours", "class_counts", "comparison", "curves", "distances", "entropy",
    "image_grid", "mixtures", "neighbours", "norms", "overlay", "portrait", "profiles",
    "recall_bars", "scatter",
]  # fmt: skip

MOST_POINTS = 2000  # of one curve
SMOOTHED = 200  # points of a curve above which it is smoothed


def class_counts(
    counts: ArrayLike,
    class_names: Sequence[str],
    title: str = "Training images of each class",
    log: bool = True,
    reference: ArrayLike | None = None,
) -> go.Figure:
    """Bars of the (C,) class counts; on a log axis with the bounds of many, medium and few.

    Args:
        counts: (C,) images of each class.
        class_names: C names.
        title: of the figure.
        log: whether the axis is logarithmic.
        reference: (C,) counts to compare with, drawn as outlines.
    """
    n = np.asarray(counts)
    many, few = n > MANY_ABOVE, n < FEW_BELOW
    ratio = f"{n.sum():,} images, imbalance ratio {n.max() / max(1, n.min()):.4g}"
    groups = f"{many.sum()} many, {(~many & ~few).sum()} medium, {few.sum()} few"
    figure = blank(title, f"{ratio}; classes: {groups}")
    figure.add_bar(x=theme.class_labels(class_names), y=n, marker_color=class_colours(len(n)))
    figure.update_traces(hovertemplate="%{x}: %{y:,} images<extra></extra>")
    if len(n) <= 20:
        figure.update_traces(texttemplate="%{y:,}", textposition="auto", textangle=0)
        figure.update_xaxes(dtick=1)  # a widget that grew would leave every second name out
    other = n if reference is None else np.asarray(reference)
    if reference is not None:
        _outline(figure, other)
    figure.update_xaxes(type="category")
    figure.update_yaxes(title_text="images")
    if not log:
        return figure
    top = 2.0 * max(1, n.max(), other.max())
    figure.update_yaxes(type="log", range=[math.log10(0.5), math.log10(top)], dtick=1)
    for name, bound, start, end in (
        ("few", f"< {FEW_BELOW}", 0.5, FEW_BELOW),
        ("medium", f"{FEW_BELOW} to {MANY_ABOVE}", FEW_BELOW, MANY_ABOVE),
        ("many", f"> {MANY_ABOVE}", MANY_ABOVE, math.inf),
    ):
        if start < top:
            middle = math.log10(start * min(end, top)) / 2
            beside(figure, middle, f"<b>{name}</b><br>{bound}")
        if 1 < start < top:
            line = {"color": INK, "dash": "dot", "width": 1.5}
            figure.add_hline(start, line=line, layer="below")
    return figure


def _outline(figure: go.Figure, counts: NDArray[Any]) -> None:
    """Hollow bars over those of a figure, and what they are."""
    figure.update_traces(showlegend=False)
    line = {"color": INK, "width": 2 if len(counts) <= 20 else 0.8}
    marker = {"color": "rgba(0,0,0,0)", "line": line}
    outline = {"y": counts, "marker": marker, "name": "outline: the data set of this notebook"}
    figure.add_bar(x=figure.data[0].x, hoverinfo="skip", showlegend=True, **outline)
    figure.update_layout(barmode="overlay", legend=theme.ABOVE, margin_t=110)


def profiles(counts: Mapping[str, ArrayLike], title: str = "Long tails") -> go.Figure:
    """Class counts of several long tails, largest class first, as lines on a log axis."""
    figure = blank(title, legend=theme.ABOVE, hovermode="x unified")
    for name, n in counts.items():
        y = np.sort(np.asarray(n))[::-1]
        mode = "lines+markers" if len(y) <= 30 else "lines"
        figure.add_scatter(x=np.arange(1, len(y) + 1), y=y, name=as_text(name), mode=mode)
    figure.update_traces(line_width=3, hovertemplate="%{y:,}", showlegend=True)
    figure.update_xaxes(title_text="class, from the largest to the smallest")
    return figure.update_yaxes(type="log", title_text="images", dtick=1)


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


def recall_bars(
    recall: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    counts: ArrayLike,
    rarest: float | None = None,
    title: str = "Recall of each class",
) -> go.Figure:
    """Recall per class of one or more methods, classes from most to fewest images (Fig. 3).

    Args:
        recall: (C,) for each method.
        class_names: C names.
        counts: (C,) training images.
        rarest: share of the classes to show; when None all, or the rarest fifth of more than 30.
        title: of the figure.
    """
    n = torch.as_tensor(np.asarray(counts))
    order = rarest_classes(n, rarest or (0.2 if len(n) > 30 else 1.0)).tolist()
    part = "" if len(order) == len(n) else f"the {len(order)} rarest of {len(n)} classes, "
    figure = blank(title, f"{part}from most to fewest training images (in brackets)")
    names, gap = theme.class_labels(class_names), "<br>" if len(order) <= 12 else " "
    x = [f"{names[c]}{gap}({int(n[c]):,})" for c in order]
    for i, (method, values) in enumerate(recall.items()):
        y = np.asarray(values, float)[order]
        known = y[np.isfinite(y)]
        name = label(method) + (f" (mean {known.mean():.3f})" if len(known) else "")
        colour = theme.METHOD_COLOURS.get(method, theme.PALETTE[i % 10])
        hover = f"{label(method)} %{{y:.3f}}<extra></extra>"
        figure.add_bar(x=x, y=y, name=name, marker_color=colour, hovertemplate=hover)
    head = 95 + 25 * math.ceil(len(recall) / 2)  # pixels: on a narrow page two names fill a line
    figure.update_layout(legend=theme.ABOVE, hovermode="x unified", showlegend=True)
    figure.update_layout(margin_t=head, height=390 + head)
    figure.update_xaxes(type="category")
    return figure.update_yaxes(title_text="recall", range=[0, 1.02])


def comparison(
    rows: Sequence[Mapping[str, Any]], title: str = "Is the learning worth its cost?"
) -> go.Figure:
    """ACSA and GM of each method as dots; several rows of a method, e.g. seeds, share a line.

    Args:
        rows: mappings with `method`, `acsa` and `gm`; `top1`, `tail20` and the `entropy` of w are
            shown where they are there.
        title: of the figure.
    """
    figure = blank(title, legend=theme.ABOVE)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    heads = []
    for method in methods:
        mixed = _given([row for row in rows if row["method"] == method], "entropy")
        heads.append(label(method) + small(f"entropy of w {np.mean(mixed):.2f}" if mixed else ""))
    hover = [
        "<br>".join(f"{label(k)} {row[k]:.3f}" for k in ("top1", "tail20") if _given([row], k))
        for row in rows
    ]
    at = [methods.index(row["method"]) for row in rows]
    single = len(rows) == len(methods)
    for key, colour, symbol, side in (
        ("acsa", BLUE, "circle", "top center"),
        ("gm", ORANGE, "diamond", "bottom center"),
    ):
        figure.add_scatter(
            x=[row[key] for row in rows],
            y=at,
            name=label(key),
            mode="markers+text" if single else "markers",
            marker={"color": colour, "symbol": symbol, "size": 14, "opacity": 1 if single else 0.7},
            texttemplate="%{x:.3f}",
            textposition=side,
            hovertext=hover,
            hovertemplate=f"{label(key)} %{{x:.4f}}<br>%{{hovertext}}<extra></extra>",
            cliponaxis=False,
        )
    figure.update_yaxes(tickvals=list(range(len(methods))), ticktext=heads)
    figure.update_yaxes(range=[len(methods) - 0.4, -0.6])
    figure.update_layout(height=170 + 80 * len(methods))
    return figure.update_xaxes(title_text="score on the test set")


def _given(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """The numbers of a column, without None and NaN."""
    return [row[key] for row in rows if row.get(key) is not None and np.isfinite(row[key])]


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
