"""A widget without looks that tells the kernel what a mouse does to the points of a live figure.

FigureWidget has callbacks of its own, but they will not do. It sends events through one traitlet,
where a later one replaces one that waits, so that a lasso is lost behind the next hover; and any
change of a layout that comes from the kernel makes plotly compute all points anew (it carries a
private key, which plotly.js does not know): 0.2 s for 20,000, on every hover.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget

from facog_lab.ui import STATIC


class PointEvents(anywidget.AnyWidget):
    """To be shown in a box of the class `facog-mouse` that has a figure.

    A point is known by its `customdata`, a whole number; others are not heard of.

    Args:
        hear: called with what was done, "hover", "click" or "select", and the points' numbers.
    """

    _esm = STATIC / "point_events.js"
    _css = STATIC / "point_events.css"

    def __init__(self, hear: Callable[[str, list[int]], None]) -> None:
        super().__init__()
        self._hear = hear
        self.on_msg(self._message)

    def _message(self, _: Any, content: Any, __: Any) -> None:
        self._hear(content["kind"], content["points"])
        if content["kind"] == "hover":
            self.send({})  # ready for the next one
