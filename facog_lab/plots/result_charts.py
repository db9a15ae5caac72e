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
from facog_lab.study.significance import KEY, name_of, p_text

LINE = 27  # pixels between two methods
SIGNIFICANT = 0.05
NEAR = 3.0  # points: what gains are looked at; farther ones are marked at the edge


def ranking(table: pd.DataFrame, title: str, score: str = "acsa", line: str = "") -> go.Figure:
    """Mean ± standard deviation of every method, the paper's figure beside it, in table's order.

    Args:
        table: of significance.summary or arranged.arranged; its first line is at the top.
        title: of the figure.
        score: that the table holds.
        line: a method whose mean is drawn through all, as "random_oversampling".
    """
    run = table[table["seeds"] > 0]
    subtitle = "mean ± standard deviation; n: seeds" if len(run) else "not run yet"
    figure = blank(title, subtitle, legend=theme.ABOVE)
    names = [_with_n(key, n) for key, n in table["seeds"].items()]
    places = dict(zip(table.index, names, strict=True))
    for level, colour, symbol in (("feature", BLUE, "circle"), ("network", ORANGE, "square")):
        own = table.index.get_level_values("level") == level
        part = table[own & (table["seeds"] > 0)]
        if len(part):
            figure.add_scatter(
                x=part["mean"], y=[places[key] for key in part.index], mode="markers",
                error_x={"array": part["sd"].fillna(0), "thickness": 1.5, "width": 4},
                marker={"color": colour, "symbol": symbol, "size": 10},
                name="on phase-1 features" if level == "feature" else "through the whole network",
                customdata=np.stack([part["sd"].fillna(0), part["seeds"]], 1),
                hovertemplate="%{x:.2f} ± %{customdata[0]:.2f}, n = %{customdata[1]}"
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

    Gains beyond ± `NEAR` points are marked at the edge by an arrow, with their mean beside it.

    Args:
        rows: those that the table was made from.
        table: of significance.summary or arranged.arranged; its first line is at the top.
        title: of the figure.
        against: the method that the gains are over.
        score: that the table holds.
    """
    figure = blank(
        title, "a dot is a seed, a bar their mean; coloured: Holm's adjusted p below 0.05"
    )
    tested = table[table["gain"].notna()]
    base = {
        row["seed"]: row[score]
        for row in rows
        if tuple(row[name] for name in KEY) == (against, "feature", "")
    }
    names = [_with_n(key, n) for key, n in tested["n"].items()]
    for key, name in zip(tested.index, names, strict=True):
        own = [
            100 * (row[score] - base[row["seed"]])
            for row in rows
            if tuple(row[k] for k in KEY) == key and row["seed"] in base
        ]
        sure = tested.loc[key, "holm"] < SIGNIFICANT
        colour = (BLUE if tested.loc[key, "gain"] > 0 else ORANGE) if sure else INK
        symbols = ["circle" if abs(gain) <= NEAR else _arrow(gain) for gain in own]
        figure.add_scatter(
            x=np.clip(own, -NEAR, NEAR), y=[name] * len(own), mode="markers", name="single seeds",
            marker={"color": colour, "size": 8, "opacity": 0.6, "symbol": symbols},
            customdata=own, showlegend=False, cliponaxis=False,
            hovertemplate="%{customdata:+.2f} points<extra></extra>",
        )  # fmt: skip
    inside = tested["gain"].abs() <= NEAR
    bar = {"symbol": "line-ns", "size": 18, "color": INK, "line": {"width": 2.5, "color": INK}}
    figure.add_scatter(
        x=tested["gain"][inside], y=[n for n, i in zip(names, inside, strict=True) if i],
        mode="markers", name="mean", showlegend=False, marker=bar,
        hovertemplate="mean %{x:+.2f} points<extra></extra>",
    )  # fmt: skip
    facts = tested[["gain", "p", "holm"]].to_numpy()
    for name, (gain, p, holm) in zip(names, facts, strict=True):
        far = f"{gain:+.1f}; " if abs(gain) > NEAR else ""
        text = f"p {p_text(p)}, Holm {p_text(holm)}" if p == p else ""
        theme.beside(figure, name, (far + text).rstrip("; "))
    figure.update_annotations(font_size=13)
    figure.add_vline(x=0, line={"color": INK, "width": 1}, layer="below")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], tickfont_size=14)
    figure.update_layout(height=150 + LINE * len(names), margin_r=200)
    figure.update_xaxes(range=[-NEAR * 1.05, NEAR * 1.05])
    return figure.update_xaxes(
        title_text=f"{label(score)} minus that of {label(against).lower()}, points"
    )


def reliability(rows: Sequence[Row], methods: Sequence[str], title: str) -> go.Figure:
    """How often a classifier is right against how sure it is, for some methods; seeds pooled.

    Args:
        rows: of one data set and protocol; those without bins of confidence are left out.
        methods: names, on features (phase 1: its network).
        title: of the figure.
    """
    figure = blank(title, "on the line: as sure as right; below: too sure", legend=theme.ABOVE)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", showlegend=False, hoverinfo="skip",
        line={"color": INK, "dash": "dot", "width": 1.5},
    )  # fmt: skip
    for k, method in enumerate(methods):
        bins = [
            row["reliability"]
            for row in rows
            if row["method"] == method and row["variant"] == "" and row.get("reliability")
        ]
        if not bins:
            continue
        images, sure, right = (
            np.sum([one[part] for one in bins], axis=0)
            for part in ("images", "confidence", "right")
        )
        there = images > 0
        ece = np.abs(right - sure).sum() / images.sum()
        figure.add_scatter(
            x=sure[there] / images[there], y=right[there] / images[there],
            mode="lines+markers", name=f"{label(method)}, ECE {100 * ece:.1f}",
            line={"color": theme.PALETTE[k % len(theme.PALETTE)]}, customdata=images[there],
            hovertemplate="sure %{x:.2f}, right %{y:.2f}, %{customdata:,} images<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="mean confidence of a bin", range=[0, 1])
    figure.update_layout(showlegend=True)
    return figure.update_yaxes(title_text="share right", range=[0, 1])


def _with_n(key: tuple[str, str, str], seeds: int) -> str:
    return name_of(key) + (f"  n = {seeds}" if seeds else "")


def _arrow(gain: float) -> str:
    return "triangle-right" if gain > 0 else "triangle-left"


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
