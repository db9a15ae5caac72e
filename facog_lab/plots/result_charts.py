"""Figures of results over seeds: tables in, plotly figures out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from facog_lab.names import label
from facog_lab.plots import theme
from facog_lab.plots.theme import BLUE, INK, ORANGE, blank
from facog_lab.study.results import Row
from facog_lab.study.significance import name_of

LINE = 27  # pixels between two methods
SIGNIFICANT = 0.05


def ranking(table: pd.DataFrame, title: str, score: str = "acsa", line: str = "") -> go.Figure:
    """Mean ± standard deviation of every method, best above, the paper's figure beside it.

    Args:
        table: of significance.summary.
        title: of the figure.
        score: that the table holds.
        line: a method whose mean is drawn through all, as "random_oversampling".
    """
    run = table[table["seeds"] > 0]
    seeds = f"{run['seeds'].min()} to {run['seeds'].max()} seeds" if len(run) else "not run yet"
    if run["seeds"].nunique() == 1:
        seeds = f"{run['seeds'].iloc[0]} seeds" if run["seeds"].iloc[0] > 1 else "one seed"
    figure = blank(title, f"mean ± standard deviation, {seeds}", legend=theme.ABOVE)
    names = [name_of(key) for key in table.index]
    for level, colour, symbol in (("feature", BLUE, "circle"), ("network", ORANGE, "square")):
        own = table.index.get_level_values("level") == level
        part = table[own & (table["seeds"] > 0)]
        if len(part):
            figure.add_scatter(
                x=part["mean"], y=[name_of(key) for key in part.index], mode="markers",
                error_x={"array": part["sd"].fillna(0), "thickness": 1.5, "width": 4},
                marker={"color": colour, "symbol": symbol, "size": 10},
                name="on phase-1 features" if level == "feature" else "through the whole network",
                customdata=np.stack([part["sd"].fillna(0), part["seeds"]], 1),
                hovertemplate="%{x:.2f} ± %{customdata[0]:.2f}, %{customdata[1]} seeds"
                "<extra></extra>",
            )  # fmt: skip
    if table["paper"].notna().any():
        figure.add_scatter(
            x=table["paper"], y=names, mode="markers", name="the paper",
            marker={"color": INK, "symbol": "diamond-open", "size": 11, "line": {"width": 2}},
            hovertemplate="paper %{x:.2f}<extra></extra>",
        )  # fmt: skip
    key = (line, "feature", "")
    if key in run.index:
        style = {"color": INK, "dash": "dot", "width": 1.5}
        figure.add_vline(x=run.loc[key, "mean"], line=style, layer="below")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], tickfont_size=14)
    figure.update_layout(height=150 + LINE * len(names), showlegend=True, margin_t=100)
    return figure.update_xaxes(title_text=f"{label(score)}, percent")


def gains(
    rows: Sequence[Row], table: pd.DataFrame, title: str, against: str, score: str = "acsa"
) -> go.Figure:
    """What every method gains over another, one dot a seed, on the same split and features.

    Args:
        rows: those that the table was made from.
        table: of significance.summary.
        title: of the figure.
        against: the method that the gains are over.
        score: that the table holds.
    """
    figure = blank(title, "a dot is a seed, a bar their mean; p of the paired t-test, unadjusted")
    tested = table[table["gain"].notna()].sort_values("gain", ascending=False)
    base = {
        row["seed"]: row[score]
        for row in rows
        if (row["method"], row["level"], row["variant"]) == (against, "feature", "")
    }
    names = [name_of(key) for key in tested.index]
    for key, name in zip(tested.index, names, strict=True):
        own = [
            100 * (row[score] - base[row["seed"]])
            for row in rows
            if (row["method"], row["level"], row["variant"]) == key and row["seed"] in base
        ]
        sure = tested.loc[key, "p"] < SIGNIFICANT
        colour = (BLUE if tested.loc[key, "gain"] > 0 else ORANGE) if sure else INK
        figure.add_scatter(
            x=own, y=[name] * len(own), mode="markers", name="single seeds", showlegend=False,
            marker={"color": colour, "size": 8, "opacity": 0.6},
            hovertemplate="%{x:+.2f} points<extra></extra>",
        )  # fmt: skip
    bar = {"symbol": "line-ns", "size": 18, "color": INK, "line": {"width": 2.5, "color": INK}}
    figure.add_scatter(
        x=tested["gain"], y=names, mode="markers", name="mean", showlegend=False, marker=bar,
        hovertemplate="mean %{x:+.2f} points<extra></extra>",
    )  # fmt: skip
    for name, p in zip(names, tested["p"], strict=True):
        text = "" if p != p else f"p {p:.3f}" if p >= 0.001 else "p < 0.001"
        theme.beside(figure, name, text)
    figure.update_annotations(font_size=13)
    figure.add_vline(x=0, line={"color": INK, "width": 1}, layer="below")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], tickfont_size=14)
    figure.update_layout(height=150 + LINE * len(names), margin_r=90)
    return figure.update_xaxes(
        title_text=f"{label(score)} minus that of {label(against).lower()}, points"
    )


def over_n_s(rows: Sequence[Row], title: str, score: str = "acsa") -> go.Figure:
    """Score and time against the number of mixed features (Fig. 5).

    Args:
        rows: of one method, with `n_s`, the score and `seconds`; several seeds of each n_s.
        title: of the figure.
        score: what is shown.
    """
    figure = blank(title, "mean ± standard deviation over seeds; time: median", legend=theme.ABOVE)
    groups = pd.DataFrame(rows, columns=["n_s", score, "seconds"]).groupby("n_s")
    scores, seconds = 100 * groups[score].agg(["mean", "std"]), groups["seconds"].median()
    figure.add_scatter(
        x=scores.index, y=scores["mean"], mode="lines+markers", name=label(score),
        line={"color": BLUE}, error_y={"array": scores["std"].fillna(0), "thickness": 1.5},
        hovertemplate="%{y:.2f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(  # no spread: seeds that ran beside other work, or were paused, took longer
        x=seconds.index, y=seconds, yaxis="y2", mode="lines+markers", name="time of phase 2",
        line={"color": ORANGE, "dash": "dot"}, hovertemplate="%{y:.1f} s<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text="features mixed into one, n_s", tickvals=list(scores.index))
    figure.update_yaxes(title_text=f"{label(score)}, percent")
    of_time = {
        "title": {"text": "seconds"},
        "overlaying": "y",
        "side": "right",
        "rangemode": "tozero",
    }
    figure.update_layout(yaxis2=of_time | {"showgrid": False}, showlegend=True, margin_r=80)
    return figure
