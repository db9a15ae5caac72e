"""Plotly's widget as a page can rely on it.

Plotly's own FigureWidget is a module of 5 MB in every figure. A widget whose module is not there
within two seconds hears nothing of its kernel any more (anywidget gives up), so that on a busy
machine figures came up as empty axes and stayed so. Here the module is a few lines, and hears all
whenever it comes; plotly's code comes to the page once, for all figures of a notebook.

A page may still show less than the kernel has: it was loaded anew, words were lost, or a drawing
took marks away. So it says what it shows, and what is missing is sent and drawn again.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from typing import Any, ClassVar

import anywidget
import plotly.graph_objects as go
import traitlets

from facog_lab.plots import theme
from facog_lab.plots.in_words import describe
from facog_lab.ui import STATIC


class Code(anywidget.AnyWidget):
    """Plotly's code for a page, once in a kernel."""

    _esm = STATIC / "plotly_code.js"
    source = traitlets.Unicode().tag(sync=True)
    _shown: Code | None = None

    @classmethod
    def shared(cls) -> str:
        """The model id of the one that the page has."""
        if cls._shown is None or cls._shown.comm is None:
            cls._shown = cls(source=str(go.FigureWidget._esm))
        return cls._shown.model_id


class FigureWidget(go.FigureWidget):
    """A FigureWidget that is there as a whole from its first message on, and stays there.

    Attributes:
        description: what it shows, in words, for those who cannot see it.
    """

    _esm = STATIC / "figure_widget.js"
    _code = traitlets.Unicode().tag(sync=True)
    _own = traitlets.Unicode().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)

    CONFIG: ClassVar[dict[str, Any]] = theme.CONFIG | {"responsive": True}  # see resize_observer

    def __init__(self, figure: go.Figure | None = None) -> None:
        self._whole = False
        super().__init__(figure)
        self._config: dict[str, Any] = self._config | self.CONFIG
        if self.layout.height is None:  # a widget does not look for it in the template
            self.layout.height = theme.TEMPLATE.layout.height
        self._code, self._whole = Code.shared(), True
        self.describe()
        self.open()
        self.on_msg(self._hear)

    def open(self) -> None:
        """Tells the page of it; not before it has its traces, so that they come with it."""
        if self._whole:
            self._own = self._model_id = uuid.uuid4().hex
            self._gather()
            super().open()

    def describe(self) -> None:
        """Puts in words what it shows now."""
        self.description = describe(self)

    def _hear(self, _: Any, content: Any, __: Any) -> None:
        """What the page says that it shows."""
        if content.get("kind") != "shown":
            return
        if content["traces"] >= sum(map(_drawn, self.data)):
            self.send({"kind": "well"})
            return
        self._gather()
        self.send_state(["_widget_data", "_widget_layout"])  # though they may be what they were
        self.send({"kind": "again"})

    def _gather(self) -> None:
        """Puts the present traces and layout where a page gets them from."""
        self._widget_data = deepcopy(self._data)
        self._widget_layout = deepcopy(self._layout_obj._props)


def _drawn(trace: Any) -> bool:
    """Whether a page draws something for a trace."""
    if trace.type not in ("scatter", "scattergl", "bar") or trace.visible is False:
        return False
    return all(values is not None and len(values) for values in (trace.x, trace.y))
