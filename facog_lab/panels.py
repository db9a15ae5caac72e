"""What a notebook shows while it runs; the only file that knows ipywidgets and live displays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from IPython.display import display

from facog_lab.progress import is_live

PLOTLY = "application/vnd.plotly.v1+json"


class LiveFigure:
    """A figure that is drawn again while a loop runs, and once at its end.

    It updates one display in place, which works in every front end while the kernel is busy, and
    leaves one figure in the saved notebook. Without a front end (papermill, nbconvert) nothing is
    drawn before the end.

    Args:
        draw: makes the figure from what there is by now.
        seconds: between two drawings.
    """

    def __init__(self, draw: Callable[[], Any], seconds: float = 0.5) -> None:
        self.draw, self.seconds, self.drawn_at = draw, seconds, 0.0
        self.handle: Any = None

    def update(self) -> None:
        """Draws again if someone is looking and the last time is long enough ago."""
        if is_live() and time.monotonic() - self.drawn_at > self.seconds:
            self._show()

    def finish(self) -> None:
        """Draws the last state."""
        self._show()

    def _show(self) -> None:
        # A plotly figure shows itself anew at every display; only its bundle can be replaced.
        bundle = {PLOTLY: json.loads(self.draw().to_json()), "text/plain": "a figure"}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)
        self.drawn_at = time.monotonic()
