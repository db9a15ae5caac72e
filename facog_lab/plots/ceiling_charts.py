"""Figures of the ceiling: tables of `study.ceiling` in, plotly figures out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from facog_lab.names import label
from facog_lab.plots import theme
from facog_lab.plots.theme import BLUE, INK, ORANGE, blank
from facog_lab.study.significance import name_of

LINE = 21  # pixels of a name beside the plot
AROUND = 150  # pixels above and below the plot


def ladder(
    steps: pd.DataFrame, methods: pd.DataFrame, title: str, score: str = "acsa"
) -> go.Figure:
    """Score against real images a class, and methods as marks where they would lie on it.

    Args:
        steps: of `ladder.rungs`.
        methods: of `ladder.equivalents`, those to mark; one below the foot of the ladder is
            marked at its left end.
        title: of the figure.
        score: that both hold.
    """
    figure = blank(
        title,
        "bars: standard deviation over seeds",
        legend=theme.ABOVE,
    )
    figure.add_scatter(
        x=steps["images"], y=steps["mean"], mode="lines+markers", name="real images put back",
        error_y={"array": steps["sd"].fillna(0), "thickness": 1.5, "width": 4},
        line={"color": ORANGE, "width": 2.5}, marker={"size": 8}, customdata=steps["rung"],
        hovertemplate="%{customdata}: %{y:.2f}<extra></extra>",
    )  # fmt: skip
    foot = steps["images"].min() if len(steps) else 1
    shown = methods.sort_values("mean", ascending=False)
    names = [name_of(key) for key in shown.index]
    at = shown["images"].fillna(foot) if "images" in shown else pd.Series(foot, shown.index)
    figure.add_scatter(
        x=at, y=shown["mean"], mode="markers", name="methods", showlegend=bool(len(shown)),
        marker={"symbol": "diamond", "size": 11, "color": BLUE, "line": {"color": INK, "width": 1}},
        customdata=np.stack([names, _way(shown["way"])], 1) if len(shown) else None,
        hovertemplate="%{customdata[0]}: %{y:.2f}%{customdata[1]}<extra></extra>",
    )  # fmt: skip
    height = max(480, AROUND + 60 + LINE * len(names))
    heights = np.concatenate([steps["mean"], shown["mean"]])
    gap = 1.15 * np.ptp(heights) * LINE / (height - AROUND) if len(heights) else 1
    low = np.inf
    for name, mean in zip(names, shown["mean"], strict=True):
        low = min(mean, low - gap)
        theme.beside(figure, low, f"{name}  {mean:.1f}")
    figure.update_xaxes(
        type="log", title_text="real images that every class has at least",
        tickvals=steps["images"].tolist(), ticktext=[f"{n:,}" for n in steps["images"]],
    )  # fmt: skip
    figure.update_layout(height=height, margin_r=230)
    return figure.update_yaxes(title_text=f"{label(score)}, percent")


def _way(shares: pd.Series) -> list[str]:
    return [f", {share:.0f}% of the way" if share == share else "" for share in shares]


def learning_curve(table: pd.DataFrame, title: str) -> go.Figure:
    """ACSA, and the recall of the rarest fifth, against the most images that a class may have.

    Args:
        table: of `ladder.learning_curve`.
        title: of the figure.
    """
    figure = blank(title, "LDA; bars: standard deviation over draws", legend=theme.ABOVE)
    for score, colour, dash in (("acsa", BLUE, "solid"), ("tail20", ORANGE, "dot")):
        figure.add_scatter(
            x=table["at most"], y=table[score], mode="lines+markers", name=label(score),
            error_y={"array": table[f"{score}_sd"].fillna(0), "thickness": 1.5, "width": 4},
            line={"color": colour, "dash": dash}, hovertemplate="%{y:.1f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(
        type="log", title_text="images of a class, at most", tickvals=table["at most"].tolist()
    )
    return figure.update_yaxes(title_text="percent")


def tightness(table: pd.DataFrame, title: str) -> go.Figure:
    """Within-class variance of seen and of unseen images, by group of classes.

    Args:
        table: of `ladder.tightness`.
        title: of the figure.
    """
    figure = blank(
        title, "mean squared distance of a feature to its class's mean", legend=theme.ABOVE
    )
    groups = [f"{g} ({n} classes)" for g, n in zip(table["group"], table["classes"], strict=True)]
    for column, name, colour in (
        ("seen", "images phase 1 was trained on", BLUE),
        ("unseen", "images it has not seen", ORANGE),
    ):
        figure.add_bar(
            x=groups, y=table[column], name=name, marker_color=colour,
            text=table[column].map("{:.3g}".format), textposition="outside", cliponaxis=False,
            hovertemplate="%{y:.4g}<extra></extra>",
        )  # fmt: skip
    return figure.update_yaxes(title_text="variance within a class", rangemode="tozero")
