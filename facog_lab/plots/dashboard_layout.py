"""What the figure of phase 2 looks like: its panels, their axes and titles, the map's marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from torch import Tensor

from facog_lab.names import label
from facog_lab.plots import theme
from facog_lab.plots.images import GENERATED, REAL
from facog_lab.plots.theme import BLUE, INK, METHOD_COLOURS, ORANGE, PALETTE, class_colours

NAMED = 20  # classes at most that are named on the map
FONT = 13

# The panels with a time axis, by row and column, and the colour and dash of their curves.
PANELS: dict[tuple[int, int], tuple[str, dict[str, tuple[str, str]]]] = {
    (1, 1): ("Adversarial", {"loss_d": (PALETTE[2], "solid"), "loss_adv": (BLUE, "solid")}),
    (1, 2): ("Losses", {"loss_asc": (BLUE, "solid"), "loss_cls": (ORANGE, "solid")}),
    (2, 1): ("Entropy of w", {"entropy": (BLUE, "solid"), "log n_s": (INK, "dash")}),
    (2, 2): (
        "Test",
        {
            "acsa": (BLUE, "solid"),
            "gm": (ORANGE, "solid"),
            "tail20": (BLUE, "dot"),
            "tail20_gm": (ORANGE, "dot"),
        },
    ),
}
SHORT = {
    "loss_d": "D", "loss_adv": "G", "loss_asc": "G, contrastive", "loss_cls": "classifier",
    "entropy": "now", "log n_s": "uniform", "acsa": "ACSA", "gm": "GM", "tail20": "rarest 20%",
    "tail20_gm": "",
}  # fmt: skip


def empty(names: Sequence[str], shown: Sequence[int], before: Sequence[float]) -> go.Figure:
    """The figure with its curves and bars, without data but for the recall before phase 2.

    Args:
        names: of all classes, as plotly shows them.
        shown: the classes whose recall is shown.
        before: their recall before phase 2.
    """
    titles = [_title(title, curves) for title, curves in PANELS.values()]
    some = "" if len(shown) == len(names) else f", rarest {len(shown)} classes"
    bars = {"phase 1": (METHOD_COLOURS["phase1"], ""), "now": (BLUE, "")}
    titles += [_title(f"Recall{some}", bars), "<b>Map</b> (PCA)  ▪ real  ◆ generated"]
    figure = theme.subplots(
        3, 2, subplot_titles=titles, vertical_spacing=0.115, horizontal_spacing=0.09
    )
    for (row, column), (_, curves) in PANELS.items():
        for name, (colour, dash) in curves.items():
            figure.add_scatter(
                x=[], y=[], name=label(name), row=row, col=column,
                line={"color": colour, "dash": dash, "width": 2},
                mode="lines", meta=name, hovertemplate="%{y:.4g}",
            )  # fmt: skip
    x = [names[c] for c in shown]
    for name, (colour, _) in bars.items():
        hover = f"{name} %{{y:.3f}}<extra></extra>"
        figure.add_bar(
            x=x, y=before, name=name, marker_color=colour,
            meta=name, hovertemplate=hover, row=3, col=1,
        )  # fmt: skip
    figure.update_layout(template=theme.TEMPLATE, showlegend=False, height=640)
    figure.update_layout(font_size=FONT, margin={"l": 45, "r": 10, "t": 30, "b": 40})
    figure.update_layout(bargap=0.15, bargroupgap=0, hovermode="closest", uirevision="kept")
    figure.update_annotations(font_size=FONT, xanchor="left", yshift=2)
    for note, place in zip(figure.layout.annotations, (0, 0.545) * 3, strict=True):
        note.x = place
    figure.update_xaxes(title_font_size=FONT, rangemode="tozero", nticks=6)
    figure.update_yaxes(nticks=5)
    # Without these plotly measures every label at every drawing: half of what it takes.
    figure.update_xaxes(automargin=False, autotickangles=None, tickangle=0)
    figure.update_yaxes(automargin=False, autotickangles=None, tickangle=0)
    figure.update_xaxes(ticklabeloverflow="allow").update_yaxes(ticklabeloverflow="allow")
    figure.update_xaxes(title_text="step", title_standoff=2, row=2)
    figure.update_yaxes(rangemode="tozero", row=1)
    figure.update_yaxes(rangemode="tozero", row=2, col=1)
    figure.update_yaxes(type="log", dtick=1, row=1, col=2)  # they differ a hundredfold
    figure.update_yaxes(range=[0, 1.02], row=2, col=2)
    figure.update_yaxes(range=[0, 1.02], row=3, col=1)
    # When data change plotly looks anew for an axis's type: "3" is a name, not a number.
    figure.update_xaxes(type="category", autotypenumbers="strict", row=3, col=1)
    figure.update_xaxes(dtick=1, tickfont_size=11, row=3, col=1)
    bare = {"showticklabels": False, "showgrid": False, "rangemode": "normal"}
    frame = {"showline": True, "mirror": True, "linecolor": theme.FAINT}
    figure.update_xaxes(**bare, **frame, row=3, col=2)
    return figure.update_yaxes(**bare, **frame, row=3, col=2)


def add_map(
    figure: go.Figure,
    names: Sequence[str],
    points: NDArray[np.float32],
    labels: Tensor,
    owner: Tensor,
) -> None:
    """Adds the traces of the map to an `empty` figure: real features, lines, generated ones.

    Args:
        figure: to be changed.
        names: of all classes, as plotly shows them.
        points: (R, 2) places of real features.
        labels: (R,) their classes.
        owner: (M,) classes of the generated features.
    """
    colours = np.array(class_colours(len(names)))
    # Each real feature is a short thick line, so that a class is one path: at every drawing
    # plotly styles every marker anew, which took a third of the time.
    half = np.array([np.ptp(points[:, 0]) / 220, 0], np.float32)
    marks = np.stack([points - half, points + half, np.full_like(points, np.nan)], 1)
    for group in np.array_split(np.arange(len(names)), min(len(names), NAMED)):
        own = np.isin(labels, group)
        x, y = marks[own].reshape(-1, 2).T
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": colours[group[0]], "width": 4},
            opacity=REAL["opacity"], text=np.repeat([names[c] for c in labels[own]], 3),
            name="real", row=3, col=2, hovertemplate="%{text}, real<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=[], y=[], mode="lines", line={"color": INK, "width": 1}, meta="parents",
        hoverinfo="skip", row=3, col=2,
    )  # fmt: skip
    figure.add_scatter(
        x=[], y=[], mode="markers", marker=GENERATED | {"size": 8, "color": colours[owner]},
        text=[names[c] for c in owner], name="generated", meta="generated", row=3, col=2,
        hovertemplate="%{text}, generated<extra></extra>",
    )  # fmt: skip
    if len(names) <= NAMED:
        of_class = [points[labels == c] for c in range(len(names))]
        above = np.array([[xy[:, 0].mean(), xy[:, 1].max()] for xy in of_class])
        figure.add_scatter(
            x=above[:, 0], y=above[:, 1], mode="text", text=[f"<b>{k}</b>" for k in names],
            textfont={"size": FONT, "color": colours}, textposition="top center",
            hoverinfo="skip", cliponaxis=False, row=3, col=2,
        )  # fmt: skip


def cut(figure: go.Figure, low: float, high: float, top: int, bottom: int) -> go.Figure:
    """What is between two heights of a figure, in its coordinates, as a figure of its own.

    `top` and `bottom` are its margins in pixels.
    """
    layout = figure.layout.to_plotly_json()
    height, span = figure.layout.height - 70, high - low  # 70: the margins of the whole

    def within(y: float) -> bool:
        return low <= y < high or y == high == 1.0

    for name, axis in layout.items():
        if name.startswith("yaxis"):
            axis["domain"] = [min(max((y - low) / span, 0.0), 1.0) for y in axis["domain"]]
    notes = [note for note in layout["annotations"] if within(note["y"])]
    layout["annotations"] = [note | {"y": (note["y"] - low) / span} for note in notes]
    layout["height"] = round(height * span) + top + bottom
    layout["margin"] |= {"t": top, "b": bottom}
    kept = [t for t in figure.data if within(figure.layout[f"yaxis{t.yaxis[1:]}"].domain[0])]
    return go.Figure(kept, layout)


def _title(title: str, entries: Mapping[str, tuple[str, str]]) -> str:
    """A panel's title and, in its line, which colour is what."""
    signs = {"dot": "┅", "dash": "╍", "solid": "━", "": "■"}
    marks = [
        f'<span style="color:{colour}">{signs[dash]}</span> {SHORT.get(name, name)}'
        for name, (colour, dash) in entries.items()
        if SHORT.get(name, name)
    ]
    return f"<b>{title}</b>  " + "  ".join(marks)
