"""Maps of features side by side, coloured in three ways, and what a generated feature was mixed of.

`charts` offers them under its own name, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, QhullError

from facog_lab.names import as_text
from facog_lab.plots import theme
from facog_lab.plots.images import GENERATED, REAL, SVG_POINTS
from facog_lab.plots.theme import BLUE, FAINT, GREY, INK, ORANGE, class_colours, class_labels

Colouring = Literal["class", "real or generated", "recall gained"]
COLOURINGS: tuple[Colouring, ...] = get_args(Colouring)
MOST_NAMES = 25  # beside a colour bar
# Orange to blue over a grey that is seen on white and on black: for colour-blind readers, too.
DIVERGING = ((0.0, ORANGE), (0.5, "#b4b4b4"), (1.0, "#1f6fb5"))
OTHERS = {"size": 4, "opacity": 0.15, "color": GREY}
MOST_RINGS = 20  # large ones; more points than that have small rings, which hide less
HEIGHT = 450  # with controls above, as much as a laptop shows
HULL = "rgba(63,144,218,0.25)"
TRACES = 4  # of each map: other classes, real, generated, chosen
Floats = NDArray[np.float64]


def atlas(
    maps: Mapping[str, ArrayLike],
    labels: ArrayLike,
    generated: ArrayLike,
    class_names: Sequence[str],
    gained: ArrayLike,
    badges: Mapping[str, str] | None = None,
    by: Colouring = "class",
    only: int | None = None,
    chosen: ArrayLike = (),
    alone: bool = False,
) -> go.Figure:
    """Maps of the same features side by side, in few traces, so that many points are quick.

    `customdata` of a point is its number among all that were given. A point's colour is the number
    of its class, read from a colour axis: another colouring is another axis, not other points.

    Args:
        maps: title to (N, 2) coordinates.
        labels: (N,) classes.
        generated: (N,) bool, whether a feature is generated.
        class_names: C names.
        gained: (C,) recall that phase 2 gained for each class; NaN where it is not known.
        badges: title to what a reader must know of the map, see embedding.Map.badge.
        by: what colours mean.
        only: the class to show; the others are a faint ground. All when None.
        chosen: points to ring.
        alone: whether there is no kernel to answer, so that the figure itself has a button for
            each colouring, and says a point's class where the mouse is.
    """
    owner, made = np.asarray(labels, int), np.asarray(generated, bool)
    ringed = np.asarray(chosen, np.int32)
    names = class_labels(class_names)
    shown = np.full(len(owner), True) if only is None else owner == only
    heads = [
        f"<b>{as_text(title)}</b>{theme.badge((badges or {}).get(title, ''))}" for title in maps
    ]
    figure = theme.subplots(1, max(1, len(maps)), subplot_titles=heads, horizontal_spacing=0.02)
    draw = go.Scatter if len(owner) <= SVG_POINTS else go.Scattergl
    for column, points in enumerate(maps.values(), 1):
        xy = np.asarray(points, np.float32).reshape(-1, 2)
        for rows, look, axis in (
            (np.flatnonzero(~shown), OTHERS, None),
            (np.flatnonzero(shown & ~made), REAL, "coloraxis"),
            (np.flatnonzero(shown & made), GENERATED, "coloraxis2"),
            (ringed, rings(len(ringed)), None),
        ):
            trace: dict[str, Any] = {"x": xy[rows, 0], "y": xy[rows, 1], "marker": look}
            # A selection is shown by rings on both maps, not by fading the rest of one.
            trace |= {"unselected": {"marker": {"opacity": look["opacity"]}}}
            if axis is None:
                trace |= {"hoverinfo": "skip"}
            else:
                kind = "real" if axis == "coloraxis" else "generated"
                trace |= {"marker": look | {"color": owner[rows], "coloraxis": axis}, "name": kind}
                trace |= {"customdata": rows.astype(np.int32)}
                hover = f"{kind}<br>no. %{{customdata}}<extra></extra>"
                if alone:  # the names of many points take longer than their places
                    trace |= {"text": [names[c] for c in owner[rows]]}
                    hover = f"%{{text}}, {hover}"
                trace |= {"hovertemplate": hover}
            figure.add_trace(draw(mode="markers", **trace), 1, column)
        figure.update_yaxes(scaleanchor=f"x{column}", row=1, col=column)
    # Nothing but its colour bar is seen of this one.
    figure.add_scatter(x=[None], y=[None], mode="markers", hoverinfo="skip")
    figure.data[-1].marker = {"color": [0], "coloraxis": "coloraxis3"}
    frame = {"showline": True, "mirror": True, "linecolor": FAINT, "zeroline": False}
    frame |= {"showgrid": False, "showticklabels": False}
    key = "small ●: real     large ◆: generated" if made.any() and not made.all() else ""
    figure.update_xaxes(title_text=key, **frame)
    figure.update_yaxes(**frame)
    figure.update_layout(template=theme.TEMPLATE, height=HEIGHT, margin={"l": 20, "b": 40, "t": 60})
    figure.update_layout(showlegend=False, **colouring(by, class_names, gained))
    if alone:
        figure.update_layout(
            updatemenus=[_menu(by, class_names, gained)], margin_t=110, height=HEIGHT + 50
        )
    return figure


def colouring(
    by: Colouring, class_names: Sequence[str], gained: ArrayLike
) -> dict[str, dict[str, Any]]:
    """The colour axes of an `atlas`: of real points, of generated ones, and of the key beside it.

    Args:
        by: what colours mean.
        class_names: C names.
        gained: (C,) recall that phase 2 gained for each class.
    """
    names, change = class_labels(class_names), np.asarray(gained, float)
    last = len(names) - 1
    key: dict[str, Any] = {"cmin": -0.5, "cmax": last + 0.5}
    bar: dict[str, Any] = {"title": {"text": by}, "thickness": 16, "tickmode": "array"}
    bar |= {"tickformat": ""}  # set, since another colouring may have been there before
    if by == "class":
        real = made = class_colours(len(names))
        listed = range(0, len(names), max(1, math.ceil(len(names) / MOST_NAMES)))
        bar |= {"tickvals": list(listed), "ticktext": [names[c] for c in listed]}
        scale = _bands(real)
    elif by == "real or generated":
        real, made = [BLUE] * len(names), [ORANGE] * len(names)
        key = {"cmin": -0.5, "cmax": 1.5}
        bar |= {"tickvals": [0, 1], "ticktext": ["real", "generated"]}
        scale = _bands([BLUE, ORANGE])
    else:
        most = float(np.nanmax(np.abs(change), initial=0)) or 1.0
        real = made = [_diverging(value / most) for value in change]
        key = {"cmin": -most, "cmax": most}
        bar |= {"title": {"text": "recall gained<br>in phase 2"}, "tickformat": "+.2f"}
        bar |= {"tickmode": "auto"}
        scale = [list(stop) for stop in DIVERGING]
    classes = {"cmin": -0.5, "cmax": last + 0.5, "showscale": False}
    return {
        "coloraxis": classes | {"colorscale": _bands(real)},
        "coloraxis2": classes | {"colorscale": _bands(made)},
        "coloraxis3": key | {"colorscale": scale, "colorbar": bar},
    }


def rings(count: int) -> dict[str, Any]:
    """The marker of so many selected points."""
    size, width = (14, 2) if count <= MOST_RINGS else (8, 1)
    line = {"width": width, "color": INK}
    return {"size": size, "opacity": 1, "color": INK, "symbol": "circle-open", "line": line}


def mixing(
    column: int, point: ArrayLike, parents: ArrayLike, weights: ArrayLike, exact: bool
) -> list[dict[str, Any]]:
    """Shapes that show on one map of an `atlas` what a generated feature was mixed from.

    A line to each parent, the thicker the larger its weight, and on a linear map their convex hull.

    Args:
        column: of the map, from 1.
        point: (2,) the generated feature.
        parents: (n_s, 2) the real ones; NaN where one is not on the map.
        weights: (n_s,) w.
        exact: whether the map is linear, so that the hull means something.
    """
    ends, (x, y) = np.asarray(parents, float), np.asarray(point, float)
    there = np.isfinite(ends).all(1)
    on = {"xref": f"x{column}", "yref": f"y{column}"}
    shapes: list[dict[str, Any]] = []
    if exact and there.any():
        corners = "L".join(f"{a:.6g},{b:.6g}" for a, b in convex_hull(ends[there]))
        line = {"color": BLUE, "width": 2, "dash": "dot"}
        shape = {"type": "path", "path": f"M{corners}Z", "fillcolor": HULL, "line": line}
        shapes.append(shape | on)
    for (a, b), w in zip(ends[there], np.asarray(weights, float)[there], strict=True):
        line = {"color": INK, "width": 1 + 5 * w}
        shapes.append({"type": "line", "x0": x, "y0": y, "x1": a, "y1": b, "line": line} | on)
        dot = {"type": "circle", "line": {"color": INK, "width": 2}, "xanchor": a, "yanchor": b}
        dot |= {"x0": -5, "x1": 5, "y0": -5, "y1": 5, "xsizemode": "pixel", "ysizemode": "pixel"}
        shapes.append(dot | on)
    return shapes


def convex_hull(points: ArrayLike) -> Floats:
    """(K, 2) corners of the convex hull of (N, 2) points, anticlockwise; the ends of a line."""
    ordered = np.unique(np.asarray(points, float), axis=0)  # by x, then by y
    try:
        return ordered[ConvexHull(ordered).vertices]
    except QhullError:  # they have no area
        return ordered[[0, -1]] if len(ordered) > 1 else ordered


def _bands(colours: Sequence[str]) -> list[list[Any]]:
    """A colour scale of equal bands: on an axis from -0.5 to C - 0.5, a whole number is a band."""
    at = np.arange(len(colours) + 1) / max(1, len(colours))
    stops = zip(at[:-1], at[1:], colours, strict=True)
    bands = [[round(float(end), 6), c] for low, high, c in stops for end in (low, high)]
    return bands or [[0, GREY], [1, GREY]]


def _diverging(value: float) -> str:
    """The colour of a value in [-1, 1]; of NaN a class without a recall, faint."""
    if not math.isfinite(value):
        return "#d9d9d9"
    at = [stop for stop, _ in DIVERGING]
    parts = zip(*([int(c[i : i + 2], 16) for i in (1, 3, 5)] for _, c in DIVERGING), strict=True)
    r, g, b = (round(float(np.interp((value + 1) / 2, at, part))) for part in parts)
    return f"#{r:02x}{g:02x}{b:02x}"


def _menu(by: Colouring, class_names: Sequence[str], gained: ArrayLike) -> dict[str, Any]:
    """A button for each colouring."""
    made = [
        {"label": name, "method": "relayout", "args": [colouring(name, class_names, gained)]}
        for name in COLOURINGS
    ]
    place = {"x": 0, "xanchor": "left", "y": 1.1, "yanchor": "bottom", "direction": "right"}
    look = {"type": "buttons", "font": {"size": 14}, "bgcolor": "rgba(0,0,0,0)", "bordercolor": INK}
    return place | look | {"buttons": made, "active": COLOURINGS.index(by), "showactive": True}
