"""Arrays in, a plotly Figure out; no I/O.

Here are the figures of counts and scores; the others are in `curves`, `timelines`, `images`,
`neighbours` and `maps`, and can be had from here, too. Arrays may be NumPy's, lists, or PyTorch's
on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import ArrayLike, NDArray

from facog_lab.metrics import FEW_BELOW, MANY_ABOVE, rarest_classes
from facog_lab.names import as_text, label
from facog_lab.plots import theme
from facog_lab.plots.curves import curves, entropy
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
