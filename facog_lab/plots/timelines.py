"""Curves over the steps of a run, however long it is, and those of several runs over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from facog_lab.names import as_text
from facog_lab.plots import theme
from facog_lab.plots.theme import INK, PALETTE

BAND, PALE = 9, 0.45  # width and opacity of the first of several branches
DASHES = ("solid", "dash", "dot", "dashdot")  # of those after it, in their order
BINS = 256  # points of a curve at most, whatever the length of the run


class Curve:
    """A curve of at most BINS points: means over equally many steps, over more as it grows."""

    def __init__(self) -> None:
        self.stride = 1  # steps in a full bin
        self.bins: list[tuple[float, int, int]] = []  # of each: sum, values, steps

    def extend(self, values: Sequence[float | None]) -> None:
        """Adds the values of the next steps; None is a step without a value."""
        for value in values:
            if not self.bins or self.bins[-1][2] == self.stride:
                if len(self.bins) == BINS:
                    pairs = zip(self.bins[::2], self.bins[1::2], strict=True)
                    self.bins = [(a[0] + b[0], a[1] + b[1], a[2] + b[2]) for a, b in pairs]
                    self.stride *= 2
                self.bins.append((0.0, 0, 0))
            total, seen, steps = self.bins[-1]
            if value is not None:
                total, seen = total + value, seen + 1
            self.bins[-1] = (total, seen, steps + 1)

    def points(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(K,) steps, the middle of each bin, and (K,) means, NaN where there was no value."""
        if not self.bins:
            return np.empty(0, np.float32), np.empty(0, np.float32)
        sums, seen, steps = np.array(self.bins, float).T
        y = np.divide(sums, seen, out=np.full(len(sums), np.nan), where=seen > 0)
        return (steps.cumsum() - (steps - 1) / 2).astype(np.float32), y.astype(np.float32)


def overlay(histories: Mapping[str, Mapping[str, Sequence[Any]]], at: int) -> go.Figure:
    """Curves of several branches of a run over each other, and where they part.

    The first is a wide pale band below the others, and from the third on they are dashed, so that
    each is seen where another covers it.

    Args:
        histories: the table "steps" of each branch, by its name.
        at: the last step that they share.
    """
    keys = {"loss_d": "Adversarial, D", "loss_adv": "Adversarial, G", "loss_asc": "Contrastive, G",
            "entropy": "Entropy of w"}  # fmt: skip
    figure = theme.subplots(
        2, 2, subplot_titles=[f"<b>{title}</b>" for title in keys.values()], vertical_spacing=0.16
    )
    for panel, key in enumerate(keys):
        place = {"row": panel // 2 + 1, "col": panel % 2 + 1}
        for number, (name, steps) in enumerate(histories.items()):
            curve, shown, banded = Curve(), as_text(name), number == 0 and len(histories) > 1
            curve.extend(steps.get(key, []))
            x, y = curve.points()
            line = {"color": PALETTE[number % len(PALETTE)], "width": BAND if banded else 2}
            line |= {"dash": DASHES[max(0, number - 1) % len(DASHES)]}
            figure.add_scatter(
                x=x, y=y, name=shown, legendgroup=shown, showlegend=panel == 0,
                mode="lines", line=line, opacity=PALE if banded else 1.0,
                hovertemplate="%{y:.4g}", **place,
            )  # fmt: skip
        line = {"color": INK, "dash": "dot", "width": 1.5}
        figure.add_vline(x=at + 0.5, line=line, **place)
    figure.update_layout(template=theme.TEMPLATE, height=560, hovermode="x unified")
    figure.update_layout(legend=theme.ABOVE | {"y": 1.06}, margin_t=90)
    if len(histories) > 1:
        first = as_text(next(iter(histories)))
        figure.update_layout(legend_title_text=f"wide band: {first}   ")
    figure.update_xaxes(title_text="step", row=2)
    return figure
