"""A number with a slider, and a widget without looks that tells screen readers about sliders.

ipywidgets gives a slider's handle no name, so that a screen reader would call all of them "slider";
and one on a log axis says the exponent: -2.3 for 0.005.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anywidget
import ipywidgets as widgets

from facog_lab.ui import STATIC


class Sliders(anywidget.AnyWidget):
    """Names the sliders of the page; to be shown beside them, see `NumberWithSlider`."""

    _esm = STATIC / "sliders.js"
    _css = STATIC / "sliders.css"


class NumberWithSlider(widgets.HBox):
    """A box that names a number and takes it to the digit, and a slider that is kept in step.

    What is in the box counts; the slider is at the mark nearest to it.

    Args:
        box: with the number's name as its description.
        slider: for the same number; what it says is taken to three digits, whole numbers whole.
        change: told the new number when the user has changed it, to have it shown; None: `show`.

    Attributes:
        box: the number box.
        slider: the slider.
    """

    def __init__(self, box: Any, slider: Any, change: Callable[[Any], None] | None = None) -> None:
        self.box, self.slider, self._change, self._quiet = box, slider, change or self.show, False
        self._log = isinstance(slider, widgets.FloatLogSlider)
        slider.readout = False
        slider.tooltip = f"{box.description}: {slider.tooltip or box.tooltip}"  # see sliders.js
        box.add_class("facog-number")
        slider.add_class("facog-slider")
        if self._log:
            slider.add_class("facog-log")
        box.observe(self._typed, "value")
        slider.observe(self._moved, "value")
        super().__init__([box, slider])
        self.show(box.value)

    def show(self, value: float) -> None:
        """Shows a number, as if the user had changed nothing."""
        self._quiet = True
        self.box.value = value
        if not self._shows(self.slider.value):  # else it is left alone: it may be held
            self.slider.value = self._mark()
        self._quiet = False

    def _mark(self) -> float:
        low, high, step = self.slider.min, self.slider.max, self.slider.step
        value = self.box.value
        at = math.log(value, self.slider.base) if self._log else value
        at = min(max(low + round((at - low) / step) * step, low), high)
        return self.slider.base**at if self._log else at

    def _shows(self, value: float) -> bool:
        return math.isclose(value, self._mark(), rel_tol=1e-6, abs_tol=1e-9)

    def _typed(self, event: Any) -> None:
        if not self._quiet:
            self._change(event.new)

    def _moved(self, event: Any) -> None:
        # A page sends the value of a slider back, rounded to a mark in its own way.
        if not self._quiet and not self._shows(event.new):
            whole = isinstance(event.new, int)
            self._change(event.new if whole else float(f"{event.new:.3g}"))
