"""A widget without looks that keeps the live figures beside it as wide as their place."""

from __future__ import annotations

import anywidget

from facog_lab.ui import STATIC


class ResizeObserver(anywidget.AnyWidget):
    """To be shown in the box of a figure whose config says `responsive`."""

    _esm = STATIC / "resize_observer.js"
