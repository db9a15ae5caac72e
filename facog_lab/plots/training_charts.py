"""All of phase 2 in one figure: losses, entropy, scores, recall, and a map that moves.

A loop's history and features in, a plotly figure out; drawn once at the end of a run, or again and
again while one goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray

from facog_lab.generator import Mix
from facog_lab.metrics import Metrics, rarest_classes
from facog_lab.phase2 import SCORED, Phase2
from facog_lab.plots import diagnostics, embedding
from facog_lab.plots.dashboard_layout import add_map, cut, empty
from facog_lab.plots.theme import INK, class_labels
from facog_lab.plots.timelines import BINS, Curve
from facog_lab.rng import rng_for
from facog_lab.runs import replay
from facog_lab.runs.experiment import controls_at
from facog_lab.settings import MAX_N_S, controls_of

SHOWN = 500  # real features on the map at most
MAPPED = 4000  # real features that the map is fitted on at most
GENERATED_SHOWN = 80  # generated features on the map, shared by the classes
SEARCHED = 20_000  # real features at most among which the nearest one is looked for
TRACED = 3  # rarest classes of which one generated feature is tied to its parents
CUT = 0.31  # of the figure's height: above it are the panels with a time axis
MARKS = 12  # changes of a control, the last ones, that are marked on the axes

MEASURED = ("loss_d", "loss_adv", "loss_asc", "loss_cls", "entropy", "log n_s")  # at every step


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
        self.follow(loop)
        data = loop.dictionary
        device, seed = data.labels.device, loop.config.seed
        rng = rng_for(device, seed, "dashboard")
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
        self.changes: list[replay.Change] = []
        self.alarms: list[str] = []
        self._curves = {name: Curve() for name in MEASURED}
        self._steps = 0  # rows of the history that are drawn
        self._last = controls_of(loop.config)

    def figure(self) -> go.Figure:
        """The figure, up to date."""
        data, names = self.loop.dictionary, class_labels(self.loop.dictionary.class_names)
        figure = empty(names, self._shown, self._recall(self.before))
        points = self._map.place(data.features[self._real].cpu())
        add_map(figure, names, points, data.labels[self._real].cpu(), self._wanted.cpu())
        self.update(figure)
        return figure

    def halves(self) -> tuple[go.Figure, go.Figure]:
        """The same in two: what has a time axis, and below it recall and map.

        Plotly draws all of a figure when a part of it changes; two can be drawn as often as each
        needs.
        """
        figure = self.figure()
        return cut(figure, CUT, 1.0, 30, 5), cut(figure, 0.0, CUT, 5, 40)

    def update(self, figure: go.Figure) -> None:
        """Brings a figure, a half, or a widget of one, up to date with the loop."""
        self._catch_up()
        traces = {trace.meta: trace for trace in figure.data if trace.meta}
        if "entropy" in traces:
            with figure.batch_animate(0):  # see live_scatter.MovingFigure
                for name, curve in self._curves.items():
                    traces[name].x, traces[name].y = curve.points()
                self._draw_scores(traces)
            marks = self._marks()
            drawn = [(shape.x0, shape.label.text) for shape in figure.layout.shapes]
            if drawn != [(mark["x0"], mark["label"]["text"]) for mark in marks]:
                figure.layout.shapes = marks
        if "generated" in traces:
            with figure.batch_update():  # bars that are moved alone lose their neighbours
                traces["now"].y = self._recall(self.loop.scores)
                generated = self._generate()
                points = self._map.place(generated.features.cpu())
                traces["generated"].x, traces["generated"].y = points.T
                traces["parents"].x, traces["parents"].y = self._ties(generated, points).T

    def _draw_scores(self, traces: Mapping[str, Any]) -> None:
        scored = self.loop.history["epochs"]
        steps = np.array([0, *scored.get("step", [])], np.float32)
        # As many points as a curve has bins: the first, the last, and evenly many between.
        kept = np.unique(np.linspace(0, len(steps) - 1, BINS).round().astype(int))
        for name in SCORED:
            values = np.array([getattr(self.before, name), *scored.get(name, [])], np.float32)
            traces[name].x, traces[name].y = steps[kept], values[kept]

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
            for change in replay.changes(new, self._last)
        ]
        self._steps, self._last = rows, controls_at(history["steps"], rows)

    def _generate(self) -> Mix:
        """The generated features of the map, and the alarms that follow from them."""
        loop, data = self.loop, self.loop.dictionary
        rng = rng_for(data.labels.device, loop.config.seed, "map")
        with torch.no_grad():
            generated = loop.oversampler.generate(self._wanted, loop.controls, rng)
        nearest = diagnostics.nearest_classes(
            generated.features, data.features[self._searched], data.labels[self._searched]
        )
        self.alarms = diagnostics.alarms(loop.history["steps"], nearest, self._wanted)
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
                    **{"textangle": 0, "xanchor": "left", "yanchor": "bottom"},
                    "font": {"size": 11},
                },
            }
            for step, numbers in steps.items()
            for axis in ("", "2", "3", "4")
        ]
