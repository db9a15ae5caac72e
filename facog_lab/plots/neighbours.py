"""Portraits: of a real feature and its neighbours, of generated ones and what they were mixed from.

`charts` offers them under its own name, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from facog_lab.names import as_text
from facog_lab.plots import theme
from facog_lab.plots.images import SVG_POINTS, captioned_sheet, framed_sheet
from facog_lab.plots.maps import convex_hull
from facog_lab.plots.theme import BLUE, INK, ORANGE, class_colours, class_labels

COLUMNS = 3  # of the images
SPLIT = 0.46  # of the width: where the map begins
UNIT = 100  # screen pixels of an image's width
MOST_BEHIND = 10_000  # points of other classes; of more, every second, third, ... is drawn
GROUND = {"size": 4, "opacity": 0.35}
OWN = {"size": 7, "opacity": 0.9, "line": {"color": INK, "width": 1}}
# White with a dark edge stands out from every class, on light and on dark pages.
ONE = {"color": "white", "line": {"color": "#222", "width": 2}}
STAR, CROSS = ONE | {"size": 20, "symbol": "star"}, ONE | {"size": 11, "symbol": "x"}


def portrait(
    images: ArrayLike,
    rows: ArrayLike,
    distances: ArrayLike,
    points: ArrayLike,
    mean: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str = "",
    text: str = "",
) -> go.Figure:
    """A feature's image and those of its neighbours, and beside them where all of them lie.

    A neighbour's frame, and its ring on the map, say whether it shares the feature's class.

    Args:
        images: (1 + k, C, H, W) uint8, the feature's own first.
        rows: (1 + k,) their features, as numbers of points.
        distances: (1 + k,) from the feature, in feature space.
        points: (N, 2) all features on a map.
        mean: (2,) the mean of the feature's class on the map.
        labels: (N,) classes.
        class_names: C names.
        title: of the figure.
        text: what else is known of the feature, in words.
    """
    chosen, owner = np.asarray(rows), np.asarray(labels)
    label = owner[chosen[0]]
    same = owner[chosen] == label
    own = np.arange(len(chosen)) == 0
    captions = [class_names[c] for c in owner[chosen]]
    below = ["this feature", *(f"{d:#.3g}" for d in np.asarray(distances)[1:])]
    figure = framed_sheet(
        np.asarray(images), captions, below, COLUMNS, title, same & ~own, ~same, UNIT
    )
    figure.update_layout(title_subtitle_text=as_text(text, 200), margin_t=125, margin_b=10)
    figure.update_layout(height=max(480, figure.layout.height + 50))
    figure.update_layout(legend={"x": 0, "xanchor": "left"}, xaxis_domain=[0, SPLIT - 0.04])
    _map(figure, np.asarray(points), chosen, np.asarray(mean), owner, class_names)
    return figure


def mixtures(
    images: ArrayLike,
    weights: ArrayLike,
    labels: ArrayLike,
    places: ArrayLike,
    parents: ArrayLike,
    points: ArrayLike,
    class_names: Sequence[str],
) -> go.Figure:
    """Generated features: a row of parents for each, and where they lie on the PCA map.

    Args:
        images: (K, n, C, H, W) uint8, of the n parents with the largest weights, largest first; no
            parents are a figure that says so.
        weights: (K, n) their weights in the mixture.
        labels: (K,) classes, K at most 10.
        places: (K, 2) the generated features on the map.
        parents: (K, n_s, 2) all parents on the map.
        points: (N, 2) real features on the map.
        class_names: C names.
    """
    pictures, w, owner = np.asarray(images), np.asarray(weights, float), np.asarray(labels, int)
    if len(w) and not w.size:
        return theme.blank("What was mixed: nothing", "features generated without real ones")
    names, colours = class_labels(class_names), class_colours(len(class_names))
    columns = pictures.shape[1]
    captions = [class_names[c] for c in owner.repeat(columns)]
    figure = captioned_sheet(
        pictures.reshape(-1, *pictures.shape[2:]),
        captions,
        [f"w = {weight:.3f}" for weight in w.ravel()],
        columns,
        "What was mixed: real images, each with its weight",
        UNIT,
    )
    figure.update_layout(xaxis_domain=[0, 0.55], legend=theme.ABOVE, margin_b=30)
    figure.update_layout(
        title_subtitle_text="a row is one generated feature; a polygon the hull of its row"
    )
    figure.update_layout(height=max(520, figure.layout.height), margin_t=110)
    ground = np.asarray(points, np.float32)
    on = {"xaxis": "x2", "yaxis": "y2"}
    draw = go.Scatter if len(ground) <= SVG_POINTS else go.Scattergl
    x, y = ground[:: max(1, -(-len(ground) // MOST_BEHIND))].T
    behind = {"mode": "markers", "marker": GROUND, "hoverinfo": "skip", "showlegend": False}
    figure.add_trace(draw(x=x, y=y, **behind, **on))
    for c, place, ends in zip(owner, np.asarray(places), np.asarray(parents), strict=True):
        corners = convex_hull(ends)
        x, y = np.r_[corners, corners[:1]].T
        style = {"line": {"color": colours[c], "width": 2}, "fill": "toself", "legendgroup": str(c)}
        figure.add_scatter(
            x=x, y=y, mode="lines", hoverinfo="skip", showlegend=False, **style, **on
        )
        (x, y), marker = place, {"color": colours[c], "symbol": "diamond", "size": 14}
        marker |= {"line": {"color": INK, "width": 2}}
        look = {"name": names[c], "hovertemplate": "%{fullData.name}, generated<extra></extra>"}
        look |= {"legendgroup": str(c)}
        figure.add_scatter(x=[x], y=[y], mode="markers", marker=marker, **look, **on)
    frame = {"showline": True, "mirror": True, "linecolor": theme.FAINT, "showgrid": False}
    frame |= {"showticklabels": False, "zeroline": False}
    figure.update_layout(xaxis2=frame | {"domain": [0.58, 1], "anchor": "y2"})
    head = f"<b>PCA</b>{theme.badge('exact')}"
    place = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    figure.add_annotation(text=head, x=0.58, y=1, showarrow=False, **place)
    return figure.update_layout(yaxis2=frame | {"anchor": "x2", "scaleanchor": "x2"})


def _map(
    figure: go.Figure,
    points: NDArray[Any],
    chosen: NDArray[Any],
    mean: NDArray[Any],
    owner: NDArray[Any],
    class_names: Sequence[str],
) -> None:
    """Adds the map on axes of its own: all features, then the class, neighbours, the one."""
    names, colours = class_labels(class_names), np.array(class_colours(len(class_names)))
    label, near, feature = owner[chosen[0]], chosen[1:], chosen[:1]
    # All of one kind: what WebGL draws would hide what SVG draws.
    draw = go.Scatter if len(points) <= SVG_POINTS else go.Scattergl
    behind = np.arange(0, len(points), math.ceil(len(points) / MOST_BEHIND))
    inside = np.flatnonzero(owner == label)
    last = max(1, len(names) - 1)
    scale = [[c / last, colour] for c, colour in enumerate(colours)]
    ground = GROUND | {"color": owner[behind], "colorscale": scale, "cmin": 0, "cmax": last}
    ring = [BLUE if same else ORANGE for same in owner[near] == label]
    rings = {"size": 12, "color": colours[owner[near]], "line": {"color": ring, "width": 3}}
    for xy, text, marker in (
        (points[behind], [names[c] for c in owner[behind]], ground),
        (points[inside], [names[label]] * len(inside), OWN | {"color": colours[label]}),
        (points[near], [names[c] for c in owner[near]], rings),
        (mean[None], [f"mean of {names[label]}"], CROSS),
        (points[feature], ["this feature"], STAR),
    ):
        x, y = xy.T.astype(np.float32)
        at = {"x": x, "y": y, "text": text, "marker": marker, "xaxis": "x2", "yaxis": "y2"}
        hover = {"hovertemplate": "%{text}<extra></extra>", "showlegend": False}
        figure.add_trace(draw(**at, **hover, mode="markers"))
    own = f'<span style="color:{colours[label]}">●</span> {names[label]}'
    head = f"<b>PCA map of {len(points):,} features</b><br>{own}   ☆ this feature   ✕ mean"
    place = {"x": SPLIT, "y": 1, "xref": "paper", "yref": "paper", "yshift": 5}
    place |= {"xanchor": "left", "yanchor": "bottom", "align": "left", "font_size": 14}
    figure.add_annotation(text=head, showarrow=False, **place)
    frame = {"showline": True, "mirror": True, "linecolor": theme.FAINT, "showgrid": False}
    frame |= {"showticklabels": False}
    figure.update_layout(xaxis2=frame | {"domain": [SPLIT, 1], "anchor": "y2"})
    figure.update_layout(yaxis2=frame | {"anchor": "x2", "scaleanchor": "x2"})
