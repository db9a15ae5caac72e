"""Figures of images and features: sheets of images, distances, norms, a map.

`charts` offers them under its own name, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from facog_lab.names import as_text
from facog_lab.plots import theme
from facog_lab.plots.theme import BLUE, FAINT, ORANGE, blank, class_colours, class_labels

SVG_POINTS = 3000  # of a map; more go to WebGL, of which a page has a few contexts only
MOST_CELLS = 200  # classes along a side of a heat map
MOST_IN_LEGEND = 20  # classes of a map; more get a colour bar
REAL = {"size": 5, "opacity": 0.6, "symbol": "circle"}
GENERATED = {"size": 9, "opacity": 1, "symbol": "diamond", "line": {"width": 1, "color": "white"}}


def image_grid(
    images: ArrayLike, captions: Sequence[str], columns: int = 10, title: str = ""
) -> go.Figure:
    """(K, C, H, W) uint8 images, C 1 or 3, with a caption under each."""
    return captioned_sheet(np.asarray(images), captions, [""] * len(captions), columns, title)


def neighbours(
    images: ArrayLike,
    names: Sequence[Sequence[str]],
    distances: ArrayLike | None = None,
    title: str = "Nearest neighbours in feature space",
) -> go.Figure:
    """Rows of a query and its k nearest; a neighbour's frame says whether it shares the class.

    Args:
        images: (Q, 1 + k, C, H, W) uint8, the query first.
        names: Q rows of 1 + k class names.
        distances: (Q, 1 + k) from the query, shown under the names.
        title: of the figure.
    """
    array = np.asarray(images)
    columns = array.shape[1]
    flat = array.reshape(-1, *array.shape[2:])
    query = np.arange(len(flat)) % columns == 0
    same = np.array([name == row[0] for row in names for name in row], bool)
    below = ["query" if asked else "" for asked in query]
    if distances is not None:
        far = np.asarray(distances).ravel()
        below = [text or f"{d:#.3g}" for text, d in zip(below, far, strict=True)]
    captions = [name for row in names for name in row]
    return framed_sheet(flat, captions, below, columns, title, same & ~query, ~same)


def framed_sheet(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    below: Sequence[str],
    columns: int,
    title: str,
    same: NDArray[np.bool_],
    other: NDArray[np.bool_],
    unit: float = 130,
) -> go.Figure:
    """A sheet of images in which some are framed as being of the same or of another class.

    Args:
        images: (K, C, H, W) uint8.
        captions: K texts.
        below: K texts, under the captions.
        columns: images in a row.
        title: of the figure.
        same: (K,) which to frame as of the same class.
        other: (K,) which to frame as of another class.
        unit: screen pixels of an image's width, at most.
    """
    figure = captioned_sheet(images, captions, below, columns, title, unit)
    if not len(images):
        return figure
    corners = theme.sheet(images, columns, 2).corners
    frame = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0], [np.nan, np.nan]])
    frame[:, 1] *= images.shape[-2] / images.shape[-1]
    framed = (("same class", same, BLUE, "solid"), ("other class", other, ORANGE, "dot"))
    for name, chosen, colour, dash in framed:
        x, y = (corners[chosen][:, None] + frame).reshape(-1, 2).T
        line = {"color": colour, "width": 4, "dash": dash}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name=name, hoverinfo="skip")
    return figure.update_layout(legend=theme.ABOVE)


def distances(
    matrix: ArrayLike, class_names: Sequence[str], title: str = "Mean distance of features"
) -> go.Figure:
    """Heat map of the (C, C) mean distances between classes, and within them on the diagonal."""
    step = math.ceil(len(class_names) / MOST_CELLS)
    z, names = np.asarray(matrix, np.float32)[::step, ::step], class_labels(class_names)[::step]
    part = "" if step == 1 else f"; one in {step} classes is shown"
    subtitle = f"between classes, and within them on the diagonal{part}"
    figure = blank(title, subtitle, height=720)
    bar = {"title": {"text": "distance"}, "thickness": 16}
    figure.add_heatmap(x=names, y=names, z=z, colorscale="Cividis", colorbar=bar)
    figure.update_traces(hovertemplate="%{x} and %{y}: %{z:.4g}<extra></extra>")
    if len(z) <= 12:
        figure.update_traces(
            text=[["" if np.isnan(v) else f"{v:.3g}" for v in row] for row in z],
            texttemplate="%{text}",
        )
    figure.update_xaxes(type="category", constrain="domain", showgrid=False)
    return figure.update_yaxes(
        type="category", constrain="domain", showgrid=False, scaleanchor="x", autorange="reversed"
    )


def norms(
    norms: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str = "Length of the features",
) -> go.Figure:
    """A box for each class of its features' (N,) norms: quartiles, whiskers at 5% and 95%."""
    figure = blank(title, "box: middle half and median of a class; whiskers: 5% and 95%")
    values, owner, names = np.asarray(norms), np.asarray(labels), class_labels(class_names)
    shares = {"lowerfence": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "upperfence": 0.95}
    for c, colour in enumerate(class_colours(len(names))):
        own = values[(owner == c) & np.isfinite(values)]
        if not len(own):
            continue
        box = {key: [float(np.quantile(own, share))] for key, share in shares.items()}
        figure.add_box(x=[names[c]], **box, marker_color=colour, hoverinfo="skip")
        # A box's own hover calls the ends of the whiskers minimum and maximum.
        text = "{lowerfence[0]:.3g}, {q1[0]:.3g}, {median[0]:.3g}, {q3[0]:.3g}, {upperfence[0]:.3g}"
        text = f"{names[c]}, {len(own):,} features<br>5%, 25%, 50%, 75%, 95%: {text.format(**box)}"
        target = {"x": [names[c]], "y": box["median"], "hovertext": text, "opacity": 0}
        figure.add_scatter(**target, mode="markers", hovertemplate="%{hovertext}<extra></extra>")
    figure.update_layout(showlegend=False)
    figure.update_xaxes(type="category", categoryarray=names)
    return figure.update_yaxes(title_text="Euclidean norm", rangemode="tozero")


def scatter(
    points: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    kind: Sequence[str] | None = None,
    title: str = "",
    badge: str = "",
) -> go.Figure:
    """A map of features, coloured by class, the generated ones large; the legend switches a class.

    Args:
        points: (N, 2) coordinates.
        labels: (N,) classes.
        class_names: C names.
        kind: "real" or "generated" for each point; all real when None.
        title: of the map.
        badge: what a reader must know of the map, see embedding.Map.badge.
    """
    owner, names = np.asarray(labels), class_labels(class_names)
    made = np.asarray(["real"] * len(owner) if kind is None else kind) == "generated"
    figure = blank("", height=640, margin={"l": 20, "b": 40, "t": 60})
    head = f"<b>{as_text(title)}</b>{theme.badge(badge)}"
    place = {"xref": "paper", "yref": "paper", "yanchor": "bottom", "font_size": 16}
    figure.add_annotation(text=head, x=0.5, y=1, showarrow=False, **place)
    xy = np.asarray(points, np.float32).reshape(-1, 2)
    draw = go.Scatter if len(xy) <= SVG_POINTS else go.Scattergl
    for trace in _traces(xy, owner, made, names):
        figure.add_trace(draw(mode="markers", showlegend=False, **trace))
    few = len(names) <= MOST_IN_LEGEND
    for c, colour in enumerate(class_colours(len(names))):
        if few and (owner == c).any():
            entry = {"name": names[c], "legendgroup": names[c], "marker_color": colour}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker_size=11, **entry)
    frame = {"showline": True, "mirror": True, "linecolor": FAINT}
    frame |= {"showgrid": False, "showticklabels": False}
    key = "small ●: real     large ◆: generated" if made.any() and not made.all() else ""
    figure.update_xaxes(title_text=key, **frame)
    figure.update_yaxes(scaleanchor="x", **frame)
    if not few:
        figure.update_layout(coloraxis=_colour_bar(names))
    return figure.update_layout(legend_tracegroupgap=0)


def _traces(
    xy: NDArray[np.float32], owner: NDArray[Any], made: NDArray[np.bool_], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """What a map draws: real points below generated ones, each class on its own if there are few.

    `customdata` is the number of each point among all that were given.
    """
    colours, many = class_colours(len(names)), len(names) > MOST_IN_LEGEND
    for kind, chosen, look in (("real", ~made, REAL), ("generated", made, GENERATED)):
        for c, name in [(-1, kind)] if many else enumerate(names):
            rows = np.flatnonzero(chosen & (many | (owner == c)))
            if not len(rows):
                continue
            trace = {"x": xy[rows, 0], "y": xy[rows, 1], "customdata": rows.astype(np.int32)}
            trace |= {"name": name, "legendgroup": name}
            if many:
                trace |= {"text": [names[k] for k in owner[rows]]}
                trace |= {"marker": look | {"color": owner[rows], "coloraxis": "coloraxis"}}
            else:
                trace |= {"marker": look | {"color": colours[c]}}
            text = "%{text}" if many else name
            yield trace | {"hovertemplate": f"{text}, {kind}<br>no. %{{customdata}}<extra></extra>"}


def _colour_bar(names: Sequence[str]) -> dict[str, Any]:
    """The colours of many classes, with about 25 of their names."""
    last, shown = len(names) - 1, range(0, len(names), math.ceil(len(names) / 25))
    scale = [[c / last, colour] for c, colour in enumerate(class_colours(len(names)))]
    bar = {"tickvals": list(shown), "ticktext": [names[c] for c in shown], "thickness": 16}
    return {"cmin": 0, "cmax": last, "colorscale": scale, "colorbar": bar}


def captioned_sheet(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    below: Sequence[str],
    columns: int,
    title: str,
    unit: float = 130,
) -> go.Figure:
    """Images in rows, each with a caption and perhaps a line below it; hovering shows both."""
    if not len(images):
        return blank(title, "no images to show", height=120)
    columns = min(columns, len(images))
    sheet = theme.sheet(images, columns, 2 if any(below) else 1)
    shape = {"x0": sheet.pixel / 2, "y0": sheet.pixel / 2, "dx": sheet.pixel, "dy": sheet.pixel}
    figure = blank(title)
    figure.add_image(source=sheet.uri, hoverinfo="skip", **shape)
    unit = min(unit, 1050 / sheet.width)  # screen pixels of an image's width
    high = images.shape[-2] / images.shape[-1]
    x, y = sheet.corners.T
    cut = [as_text(caption, int(unit / 6.5)) for caption in captions]
    words = {"mode": "text", "textposition": "bottom center", "textfont_size": 13}
    text = [f"{c}<br>{b}" if b else c for c, b in zip(cut, below, strict=True)]
    figure.add_scatter(x=x + 0.5, y=y + high + 0.07, text=text, hoverinfo="skip", **words)
    marker = {"symbol": "square", "size": 0.9 * unit, "opacity": 0}
    texts = [f"{as_text(c, 200)} {b}" for c, b in zip(captions, below, strict=True)]
    hover = {"hovertext": texts, "hovertemplate": "%{hovertext}<extra></extra>"}
    figure.add_scatter(x=x + 0.5, y=y + high / 2, mode="markers", marker=marker, **hover)
    figure.update_traces(showlegend=False, selector={"type": "scatter"})
    bare = {"visible": False, "constrain": "domain"}
    figure.update_xaxes(range=[-0.05, sheet.width], constraintoward="left", **bare)
    figure.update_yaxes(range=[sheet.height, -0.05], scaleanchor="x", constraintoward="top", **bare)
    top = 80 if title else 10
    return figure.update_layout(
        height=top + unit * sheet.height, margin={"l": 10, "r": 10, "t": top, "b": 0}
    )
