"""All of phase 2 in one figure: losses, entropy, scores, recall, and a map that moves.

It belongs to `figures`: a loop's history and features in, a plotly figure out; drawn once at the
end of a run, or again and again while one goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from facog_lab import alarms, draws, embedding, steering, theme
from facog_lab.controls import MAX_N_S
from facog_lab.metrics import Metrics, rarest_classes
from facog_lab.oversamplers import Mix
from facog_lab.phase2 import SCORED, Phase2, controls_of
from facog_lab.pictures import GENERATED, REAL
from facog_lab.theme import BLUE, INK, METHOD_COLOURS, ORANGE, PALETTE, class_colours, class_labels

BINS = 256  # points of a curve at most, whatever the length of the run
SHOWN = 500  # real features on the map at most
MAPPED = 4000  # real features that the map is fitted on at most
GENERATED_SHOWN = 120  # generated features on the map, shared by the classes
SEARCHED = 20_000  # real features at most among which the nearest one is looked for
TRACED = 3  # rarest classes of which one generated feature is tied to its parents
NAMED = 20  # classes at most that are named on the map
MARKS = 12  # changes of a control, the last ones, that are marked on the axes
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
MEASURED = ("loss_d", "loss_adv", "loss_asc", "loss_cls", "entropy", "log n_s")  # at every step
SHORT = {
    "loss_d": "D", "loss_adv": "G", "loss_asc": "G, contrastive", "loss_cls": "classifier",
    "entropy": "now", "log n_s": "uniform", "acsa": "ACSA", "gm": "GM", "tail20": "rarest 20%",
    "tail20_gm": "",
}  # fmt: skip


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


class Dashboard:
    """One figure of a phase-2 loop, brought up to date as often as one likes.

    The generated features on the map come from the same noise and the same parents every time, so
    that what moves them is what G learned. PCA is linear: each stays within its parents' hull.

    Args:
        loop: the loop.
        before: what its classifier scored before phase 2.

    Attributes:
        changes: of the controls, so far.
        alarms: what is wrong at present, in words.
    """

    def __init__(self, loop: Phase2, before: Metrics) -> None:
        self.before = before
        self._at = {name: i for i, name in enumerate(n for _, c in PANELS.values() for n in c)}
        self.follow(loop)
        data = loop.dictionary
        device, seed = data.labels.device, loop.config.seed
        rng = draws.generator(device, seed, "dashboard")
        order = torch.randperm(len(data.labels), generator=rng, device=device)
        self._map = embedding.fit_map(data.features[order[:MAPPED]].cpu(), "pca", seed=seed)
        self._searched = order[:SEARCHED]
        # As many of each class as there are, up to an equal share, so that rare ones are seen.
        share = max(2, SHOWN // data.num_classes)
        per_class = [order[data.labels[order] == c][:share] for c in range(data.num_classes)]
        self._real = torch.cat(per_class)
        each = max(1, GENERATED_SHOWN // data.num_classes)
        self._wanted = torch.arange(data.num_classes, device=device).repeat_interleave(each)
        tail = rarest_classes(data.class_counts, 1.0)[-TRACED:].to(device)
        self._traced = (self._wanted[None] == tail[:, None]).int().argmax(1)  # the first of each
        counts = data.class_counts.cpu()
        self._shown = rarest_classes(counts, 0.2 if len(counts) > 30 else 1.0).tolist()

    def follow(self, loop: Phase2) -> None:
        """Forgets what was drawn and shows another loop, on the same dictionary, from now on."""
        self.loop = loop
        self.changes: list[steering.Change] = []
        self.alarms: list[str] = []
        self._curves = {name: Curve() for name in self._at if name in MEASURED}
        self._steps = 0  # rows of the history that are drawn
        self._last = controls_of(loop.config)

    def figure(self) -> go.Figure:
        """The figure, up to date."""
        figure = self._empty()
        self.update(figure)
        return figure

    def update(self, figure: go.Figure) -> None:
        """Brings a figure that `figure` gave, or a widget of it, up to date with the loop."""
        marked = len(self.changes)
        self._catch_up()
        generated = self._generate()
        with figure.batch_update():
            for name, curve in self._curves.items():
                figure.data[self._at[name]].x, figure.data[self._at[name]].y = curve.points()
            for name in SCORED:
                trace = figure.data[self._at[name]]
                trace.x = np.array([0, *self.loop.history["epochs"].get("step", [])], np.float32)
                values = [getattr(self.before, name), *self.loop.history["epochs"].get(name, [])]
                trace.y = np.array(values, np.float32)
            figure.data[self._at["now"]].y = self._recall(self.loop.scores)
            points = self._map.place(generated.features.cpu())
            figure.data[self._at["generated"]].x, figure.data[self._at["generated"]].y = points.T
            ties = figure.data[self._at["parents"]]
            ties.x, ties.y = self._ties(generated, points).T
            marks = self._marks()
            if len(self.changes) != marked or len(marks) != len(figure.layout.shapes):
                figure.layout.shapes = marks

    def _catch_up(self) -> None:
        """Takes what is new in the history."""
        history = self.loop.history
        rows = len(history["steps"].get("n_s", []))
        if rows == self._steps:
            return
        new = {name: column[self._steps : rows] for name, column in history["steps"].items()}
        for name, curve in self._curves.items():
            if name == "log n_s":
                curve.extend([math.log(n) for n in new["n_s"]])
            else:
                curve.extend(new.get(name, [None] * (rows - self._steps)))
        self.changes += [
            replace(change, step=change.step + self._steps)
            for change in steering.changes(new, self._last)
        ]
        self._steps, self._last = rows, steering.controls_at(history["steps"], rows)

    def _generate(self) -> Mix:
        """The generated features of the map, and the alarms that follow from them."""
        loop, data = self.loop, self.loop.dictionary
        rng = draws.generator(data.labels.device, loop.config.seed, "map")
        with torch.no_grad():
            generated = loop.oversampler.generate(self._wanted, loop.controls, rng)
        nearest = alarms.nearest_classes(
            generated.features, data.features[self._searched], data.labels[self._searched]
        )
        self.alarms = alarms.alarms(loop.history["steps"], nearest, self._wanted)
        return generated

    def _ties(self, generated: Mix, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lines from some generated features to their parents, with gaps between."""
        if generated.rows is None or generated.weights is None:
            return np.empty((0, 2), np.float32)
        rows, weights = generated.rows[self._traced], generated.weights[self._traced]
        heaviest = weights.topk(min(MAX_N_S, weights.shape[1])).indices  # GAMO mixes whole classes
        features = self.loop.dictionary.features[rows.gather(1, heaviest)]  # (T, n, D)
        parents = self._map.place(features.flatten(0, 1).cpu()).reshape(*features.shape[:2], 2)
        ends = np.broadcast_to(points[self._traced.cpu().numpy()][:, None], parents.shape)
        gap = np.full_like(parents, np.nan)
        return np.stack([ends, parents, gap], 2).reshape(-1, 2)

    def _recall(self, scores: Metrics) -> list[float]:
        return [scores.per_class[c] for c in self._shown]

    def _marks(self) -> list[dict[str, Any]]:
        """A line on every time axis at each of the last changes, numbered as in `changes`."""
        steps: dict[int, list[int]] = {}
        for number, change in list(enumerate(self.changes, 1))[-MARKS:]:
            steps.setdefault(change.step, []).append(number)
        line = {"color": INK, "dash": "dot", "width": 1}
        return [
            {
                **{"type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1, "line": line},
                **{"xref": f"x{axis}", "yref": f"y{axis} domain", "layer": "below"},
                "label": {
                    **{"text": ",".join(map(str, numbers)), "textposition": "start"},
                    **{
                        "textangle": 0,
                        "font": {"size": 11},
                        "xanchor": "left",
                        "yanchor": "bottom",
                    },
                },
            }
            for step, numbers in steps.items()
            for axis in ("", "2", "3", "4")
        ]

    def _empty(self) -> go.Figure:
        """The figure with all its traces, those that never change with their data."""
        names = class_labels(self.loop.dictionary.class_names)
        titles = [_title(title, curves) for title, curves in PANELS.values()]
        some = "" if len(self._shown) == len(names) else f", rarest {len(self._shown)} classes"
        bars = {"phase 1": (METHOD_COLOURS["phase1"], ""), "now": (BLUE, "")}
        titles += [_title(f"Recall{some}", bars), "<b>Map</b> (PCA)  ● real  ◆ generated"]
        figure = make_subplots(
            3, 2, subplot_titles=titles, vertical_spacing=0.115, horizontal_spacing=0.09
        )
        for (row, column), (_, curves) in PANELS.items():
            for name, (colour, dash) in curves.items():
                figure.add_scatter(
                    x=[], y=[], name=theme.LABELS.get(name, name), row=row, col=column,
                    line={"color": colour, "dash": dash, "width": 2}, marker_size=3,
                    mode="lines+markers" if name in SCORED else "lines",
                    hovertemplate="%{y:.4g}",
                )  # fmt: skip
        x = [names[c] for c in self._shown]
        for name, (colour, _) in bars.items():
            self._at[name] = len(figure.data)
            hover = f"{name} %{{y:.3f}}<extra></extra>"
            figure.add_bar(
                x=x, y=self._recall(self.before), name=name, marker_color=colour,
                hovertemplate=hover, row=3, col=1,
            )  # fmt: skip
        self._add_map(figure, names)
        figure.update_layout(template=theme.TEMPLATE, showlegend=False, height=640)
        figure.update_layout(font_size=FONT, margin={"l": 45, "r": 10, "t": 30, "b": 40})
        figure.update_layout(bargap=0.15, bargroupgap=0, hovermode="closest", uirevision="kept")
        figure.update_annotations(font_size=FONT, xanchor="left", yshift=2)
        for note, place in zip(figure.layout.annotations, (0, 0.545) * 3, strict=True):
            note.x = place
        figure.update_xaxes(title_font_size=FONT, rangemode="tozero", nticks=6)
        figure.update_yaxes(nticks=6)
        figure.update_xaxes(title_text="step", title_standoff=2, row=2)
        figure.update_yaxes(rangemode="tozero", row=1)
        figure.update_yaxes(rangemode="tozero", row=2, col=1)
        figure.update_yaxes(type="log", dtick=1, row=1, col=2)  # they differ a hundredfold
        figure.update_yaxes(range=[0, 1.02], row=2, col=2)
        figure.update_yaxes(range=[0, 1.02], row=3, col=1)
        figure.update_xaxes(type="category", dtick=1, tickfont_size=11, row=3, col=1)
        bare = {"showticklabels": False, "showgrid": False, "rangemode": "normal"}
        frame = {"showline": True, "mirror": True, "linecolor": theme.FAINT}
        figure.update_xaxes(**bare, **frame, row=3, col=2)
        return figure.update_yaxes(**bare, **frame, row=3, col=2)

    def _add_map(self, figure: go.Figure, names: Sequence[str]) -> None:
        colours = np.array(class_colours(len(names)))
        labels = self.loop.dictionary.labels[self._real].cpu()
        points = self._map.place(self.loop.dictionary.features[self._real].cpu())
        self._at["parents"] = len(figure.data)
        line = {"color": INK, "width": 1}
        figure.add_scatter(x=[], y=[], mode="lines", line=line, hoverinfo="skip", row=3, col=2)
        for name, owner, xy, look in (
            ("real", labels, points, REAL | {"size": 4}),
            ("generated", self._wanted.cpu(), np.empty((0, 2)), GENERATED | {"size": 8}),
        ):
            self._at[name] = len(figure.data)
            figure.add_scatter(
                x=xy[:, 0], y=xy[:, 1], mode="markers", marker=look | {"color": colours[owner]},
                text=[names[c] for c in owner], name=name, row=3, col=2,
                hovertemplate=f"%{{text}}, {name}<extra></extra>",
            )  # fmt: skip
        if len(names) <= NAMED:
            of_class = [points[labels == c] for c in range(len(names))]
            above = np.array([[xy[:, 0].mean(), xy[:, 1].max()] for xy in of_class])
            figure.add_scatter(
                x=above[:, 0], y=above[:, 1], mode="text", text=[f"<b>{k}</b>" for k in names],
                textfont={"size": FONT, "color": colours}, textposition="top center",
                hoverinfo="skip", cliponaxis=False, row=3, col=2,
            )  # fmt: skip


def _title(title: str, entries: Mapping[str, tuple[str, str]]) -> str:
    """A panel's title and, in its line, which colour is what."""
    signs = {"dot": "┅", "dash": "╍", "solid": "━", "": "■"}
    marks = [
        f'<span style="color:{colour}">{signs[dash]}</span> {SHORT.get(name, name)}'
        for name, (colour, dash) in entries.items()
        if SHORT.get(name, name)
    ]
    return f"<b>{title}</b>  " + "  ".join(marks)


def overlay(histories: Mapping[str, Mapping[str, Sequence[Any]]], at: int) -> go.Figure:
    """Curves of several branches of a run over each other, and where they part.

    Args:
        histories: the table "steps" of each branch, by its name.
        at: the last step that they share.
    """
    keys = {"loss_d": "Adversarial, D", "loss_adv": "Adversarial, G", "loss_asc": "Contrastive, G",
            "entropy": "Entropy of w"}  # fmt: skip
    figure = make_subplots(
        2, 2, subplot_titles=[f"<b>{title}</b>" for title in keys.values()], vertical_spacing=0.16
    )
    for panel, key in enumerate(keys):
        place = {"row": panel // 2 + 1, "col": panel % 2 + 1}
        for (name, steps), colour in zip(histories.items(), PALETTE, strict=False):
            curve, shown = Curve(), theme.as_text(name)
            curve.extend(steps.get(key, []))
            x, y = curve.points()
            figure.add_scatter(
                x=x, y=y, name=shown, legendgroup=shown, showlegend=panel == 0,
                mode="lines", line={"color": colour, "width": 2}, hovertemplate="%{y:.4g}", **place,
            )  # fmt: skip
        line = {"color": INK, "dash": "dot", "width": 1.5}
        figure.add_vline(x=at + 0.5, line=line, **place)
    figure.update_layout(template=theme.TEMPLATE, height=560, hovermode="x unified")
    figure.update_layout(legend=theme.ABOVE | {"y": 1.06}, margin_t=90)
    figure.update_xaxes(title_text="step", row=2)
    return figure
