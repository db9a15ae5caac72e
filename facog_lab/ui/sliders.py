"""A widget without looks that tells screen readers what sliders are called, and worth.

ipywidgets gives a slider's handle no name, so that a screen reader would call all of them "slider";
and one on a log axis says the exponent: -2.3 for 0.005.
"""

from __future__ import annotations

import anywidget
import ipywidgets as widgets

from facog_lab.ui import STATIC


class Sliders(anywidget.AnyWidget):
    """To be shown beside sliders that are `spoken`."""

    _esm = STATIC / "sliders.js"


def spoken(slider: widgets.Widget, name: str) -> None:
    """Has a slider say a name, its tooltip, and its value.

    Args:
        slider: it stands in one box with the box of its number.
        name: what the number is called.
    """
    slider.tooltip = f"{name}: {slider.tooltip}" if slider.tooltip else name
    slider.add_class("facog-slider")
    if isinstance(slider, widgets.FloatLogSlider):
        slider.add_class("facog-log")
