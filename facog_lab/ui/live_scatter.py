"""A plotly widget that is cheap to bring up to date.

When data change plotly draws the whole figure anew, and most of the time that takes goes into axes
and labels that are what they were. Here traces move and the rest is left alone, so the axes need
ranges: each is set with room to grow, and set again when its data have outgrown it.

A FigureWidget takes four messages to say what one can say; each wakes the kernel, the server and
the page, on the cores that train. So here it is one.

Plotly takes all marks out of a subplot of which a move names no trace. So every move names every
trace, also those that stay where they are: all of a figure is there after each one, whatever was
taken away, or went missing, before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import plotly.graph_objects as go

from facog_lab.ui.figure_widget import FigureWidget

ROOM = 0.25  # of the data's span that is left free when a range is set
LEAST = 0.4  # of its axis that the data must fill, or its range is set again
# With these Plotly.animate draws traces once, at once, and neither axes nor labels.
AT_ONCE = {"mode": "immediate", "transition": {"duration": 0}}
AT_ONCE |= {"frame": {"duration": 0, "redraw": False}}


class MovingFigure(FigureWidget):
    """A widget whose `batch_animate` moves its traces, at once, and draws nothing else.

    Its traces are scatters: plotly places a bar by the others beside it.

    It sets the ranges of the axes that have none. A range that the user has set in the page is left
    alone until a double click gives the axis back.
    """

    # "Reset" would go back to the range of the first drawing, not to one that follows the data.
    CONFIG: ClassVar[dict[str, Any]] = FigureWidget.CONFIG | {
        "doubleClick": "autosize",
        "modeBarButtonsToRemove": ["resetScale2d"],
    }

    def __init__(self, figure: go.Figure) -> None:
        super().__init__(figure)
        axes = {
            (number, letter): f"{letter}axis{(trace[f'{letter}axis'] or letter)[1:]}"
            for number, trace in enumerate(self.data)
            for letter in "xy"
        }
        free = [
            name
            for name in dict.fromkeys(axes.values())
            if self.layout[name].range is None and self.layout[name].type != "category"
        ]
        self._axes = {at: name for at, name in axes.items() if name in free}
        self._log = {name: self.layout[name].type == "log" for name in free}
        self._from_zero = {name: self.layout[name].rangemode == "tozero" for name in free}
        self._ranges: dict[str, tuple[float, float] | None] = dict.fromkeys(free)
        self._extents = {
            (number, letter): self._extent(name, self.data[number][letter])
            for (number, letter), name in self._axes.items()
        }
        self._fit()

    def _perform_batch_animate(self, animation_opts: dict[str, Any]) -> None:
        super()._perform_batch_animate(AT_ONCE)
        self._fit()

    def _send_animate_msg(
        self,
        styles_data: Sequence[dict[str, Any]],
        relayout_data: dict[str, Any],
        trace_indexes: Sequence[int],
        animation_opts: dict[str, Any],
    ) -> None:
        for number, style in zip(trace_indexes, styles_data, strict=True):
            for letter, values in style.items():
                if (number, letter) in self._axes:
                    name = self._axes[number, letter]
                    self._extents[number, letter] = self._extent(name, values)
        moved = dict(zip(trace_indexes, styles_data, strict=True))
        every = [
            {"x": trace.x, "y": trace.y} | moved.get(number, {})
            for number, trace in enumerate(self.data)
        ]
        with self.hold_sync():
            self._last_trace_edit_id += 1
            self._last_layout_edit_id += 1
            self._py2js_animate = {
                **{"style_data": every, "style_traces": list(range(len(every)))},
                **{"layout_data": relayout_data, "animation_opts": animation_opts},
                **{"trace_edit_id": self._last_trace_edit_id, "source_view_id": None},
                "layout_edit_id": self._last_layout_edit_id,
            }

    def _fit(self) -> None:
        """Sets the ranges that do not suit their data."""
        with self.batch_update():
            for name, ours in self._ranges.items():
                extents = [self._extents[at] for at, own in self._axes.items() if own == name]
                low, high = min(low for low, _ in extents), max(high for _, high in extents)
                if low > high:  # no data
                    low, high = 0.0, 1.0
                low = min(low, 0.0) if self._from_zero[name] else low
                high = high if low < high else low + 1
                span, axis = high - low, self.layout[name]
                if ours is not None and not axis.autorange:
                    a, b = ours
                    if a <= low and high <= b and span >= LEAST * (b - a):
                        continue
                    if tuple(axis.range) != ours:
                        continue  # the user has set it
                below = 0.0 if self._from_zero[name] else ROOM / 2 * span
                self._ranges[name] = low - below, high + ROOM * span - below
                axis.update(range=self._ranges[name], autorange=False)

    def _extent(self, name: str, values: Any) -> tuple[float, float]:
        """The least and the largest of a trace's coordinates, in the units of their axis."""
        data = np.asarray(() if values is None else values, float)
        if self._log[name]:
            data = np.log10(data[data > 0])
        data = data[np.isfinite(data)]
        return (float(data.min()), float(data.max())) if len(data) else (np.inf, -np.inf)
