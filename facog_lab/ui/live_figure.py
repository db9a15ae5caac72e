"""A figure that is drawn again while a loop runs in the same cell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
from IPython.display import HTML, display

from facog_lab.plots import in_words, theme
from facog_lab.runs.progress import Live, is_live

PLOTLY = "application/vnd.plotly.v1+json"


def live_widget(figure: go.Figure | None = None, canvas: Any = None) -> Any:
    """The same figure, or none, as a widget whose traces can be changed while it is shown.

    `canvas` is an earlier widget to show it on: with the first, shown or not, a page loads plotly.
    """
    from facog_lab.ui.figure_widget import FigureWidget  # plotly's widgets take seconds to import

    if canvas is None:
        return FigureWidget(figure)
    if figure is not None:
        canvas.data = ()
        canvas.add_traces(figure.data)
        canvas.layout = figure.layout
        canvas.describe()
    return canvas


class LiveFigure:
    """A figure that is drawn again while a loop runs, and once at its end.

    In a live notebook it is a FigureWidget, since JupyterLab does not redraw a plain plotly figure
    that is updated; the data flow to it while the kernel is busy. At the end a plain figure takes
    its place, so that the saved notebook holds that and no widget. Without a front end (papermill,
    nbconvert) nothing is drawn before the end.

    Args:
        draw: makes the figure from what there is by now.
        seconds: between two drawings.
        live: whether a live front end shows it, see progress.is_live.
    """

    def __init__(self, draw: Callable[[], Any], seconds: float = 0.5, live: Live = "auto") -> None:
        self.draw, self.seconds, self.live, self.drawn_at = draw, seconds, live, 0.0
        self.place = Place()
        self.widget: Any = None

    def update(self) -> None:
        """Draws again if someone is looking and the last time is long enough ago."""
        if not is_live(self.live) or time.monotonic() - self.drawn_at < self.seconds:
            return
        figure = self.draw()
        if self.widget is not None and len(self.widget.data) == len(figure.data):
            with self.widget.batch_update():
                for shown, new in zip(self.widget.data, figure.data, strict=True):
                    shown.x, shown.y = new.x, new.y
            self.widget.describe()
        elif figure.data:  # the first time there is something to show
            self._close()
            self.widget = live_widget(figure)
            self.place.show(self.widget)
        self.drawn_at = time.monotonic()

    def finish(self) -> None:
        """Puts a plain figure of the last state in the widget's place."""
        self.place.show_plain(self.draw())
        self._close()

    def _close(self) -> None:
        if self.widget is not None:
            self.widget.close()
            self.widget = None


class Place:
    """An output of a cell that shows a widget for a time, and a plain figure afterwards.

    The plain figure has its text for those who cannot see it in an output of its own.
    """

    def __init__(self) -> None:
        self.handle: Any = None
        self.words: Any = None

    def show(self, widget: Any) -> None:
        """Shows a widget."""
        view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        self._show({"application/vnd.jupyter.widget-view+json": view})

    def show_plain(self, figure: Any) -> None:
        """Shows a figure that needs no kernel."""
        shown = json.loads(figure.to_json()) | {"config": theme.CONFIG}
        self._show({PLOTLY: shown}, in_words.alternative(figure))

    def _show(self, bundle: dict[str, Any], words: str = "") -> None:
        bundle["text/plain"] = "a figure"
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
            self.words = display(HTML(words), display_id=True)
        else:
            self.handle.update(bundle, raw=True)
            self.words.update(HTML(words))
