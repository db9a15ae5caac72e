"""Whether somebody still looks: a widget without looks, through which the page says it is there."""

from __future__ import annotations

import time
from typing import Any

import anywidget
import traitlets
from IPython import get_ipython

from facog_lab.ui import STATIC

SILENT = 15.0  # seconds without a word after which a page in the foreground is gone
SILENT_HIDDEN = (
    150.0  # the same for one in the background, where browsers let it speak once a minute
)
GRACE = 5.0  # seconds in which a kernel that was busy gets the words that waited for it


class Heartbeat(anywidget.AnyWidget):
    """The page's word that it is there, once a second. It must be shown somewhere in a panel."""

    _esm = STATIC / "heartbeat.js"
    beats = traitlets.Int(0).tag(sync=True, echo_update=False)
    hidden = traitlets.Bool(False).tag(sync=True, echo_update=False)

    def __init__(self, **state: Any) -> None:
        super().__init__(**state)
        self.layout.display = "none"
        self._heard: float | None = None
        self._asked: float | None = None
        self._answered: float | None = None
        self.observe(self._hear, "beats")

    def gone(self) -> bool:
        """Whether the page was there and is no more; asked from the training thread.

        A page that never spoke is not gone: there may be a front end without JavaScript. Nor is one
        whose words wait because the kernel is busy with a cell, so the kernel is asked first.
        """
        now = time.monotonic()
        limit = SILENT_HIDDEN if self.hidden else SILENT
        if self._heard is None or now - self._heard < limit:
            return False
        if self._asked is None or self._asked < self._heard:
            self._asked, self._answered = now, None
            get_ipython().kernel.io_loop.add_callback(self._answer)
        return self._answered is not None and now - self._answered > GRACE

    def _hear(self, change: Any) -> None:
        self._heard = time.monotonic()

    def _answer(self) -> None:
        self._answered = time.monotonic()
