"""The controls of phase 2 as widgets: a slider and a box for a number, a list for a choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import Any

import ipywidgets as widgets

from facog_lab import registry
from facog_lab.config import ConfigError
from facog_lab.names import label
from facog_lab.phase2 import Phase2
from facog_lab.settings import Controls
from facog_lab.ui.sliders import spoken

Set = Callable[[str, Any], None]

# Where sliders end; the boxes beside them take all that Controls allow.
SLIDERS: dict[str, Callable[[], widgets.Widget]] = {
    "lambda_adv": lambda: widgets.FloatSlider(min=0, max=2, step=0.05),
    "lambda_asc": lambda: widgets.FloatSlider(min=0, max=1, step=0.05),
    "n_s": lambda: widgets.IntSlider(min=1, max=20),
    "temperature": lambda: widgets.FloatLogSlider(min=-2, max=1, step=0.1),
    "lr_generator": lambda: widgets.FloatLogSlider(min=-5, max=0, step=0.1),
    "lr_discriminator": lambda: widgets.FloatLogSlider(min=-5, max=0, step=0.1),
    "lr_classifier": lambda: widgets.FloatLogSlider(min=-5, max=0, step=0.1),
}
CHOICES: dict[str, Callable[[], Mapping[str, str]]] = {
    "oversampler": lambda: {name: entry.label for name, entry in registry.oversamplers.items()},
    "label_selection": lambda: {
        "gamo": "GAMO: N_max - N_c",
        "inverse": "1/N_c",
        "uniform": "all classes alike",
        "as_found": "as found: N_c",
    },
    "trains": lambda: {
        "all": "D, G and classifier",
        "d_and_g": "D and G",
        "d": "only D",
        "g": "only G",
        "classifier": "only the classifier",
    },
}


class Knob:
    """A number: a box that names it and takes it to the digit, and a slider beside it.

    Args:
        field: of Controls.
        change: told the field and its new value when a hand has moved it.

    Attributes:
        box: the labelled number box.
        slider: the slider.
        widget: both, side by side.
    """

    def __init__(self, field: str, change: Set) -> None:
        self.field, self.change, self.quiet = field, change, False
        self.value = Controls.model_fields[field].default
        said = Controls.model_fields[field].description or ""
        kind = widgets.IntText if field == "n_s" else widgets.FloatText
        self.box = kind(
            description=label(field), tooltip=said,
            style={"description_width": "78px"}, layout={"width": "152px"},
        )  # fmt: skip
        self.slider = SLIDERS[field]()
        self.slider.set_trait("readout", False)
        self.slider.tooltip, self.slider.layout.width = said, "138px"
        spoken(self.slider, label(field))
        self.box.observe(self._moved, "value")
        self.slider.observe(self._moved, "value")
        self.widget = widgets.HBox([self.box, self.slider])

    def show(self, value: float) -> None:
        """Shows a value; the slider goes to its nearest mark."""
        self.quiet, self.value = True, value
        self.box.value = value
        if not self._shows(self.slider.value):  # else it is left alone: a hand may hold it
            self.slider.value = self._mark()
        self.quiet = False

    def _mark(self) -> float:
        log = isinstance(self.slider, widgets.FloatLogSlider)
        low, high, step = self.slider.min, self.slider.max, self.slider.step
        at = math.log10(self.value) if log else self.value
        at = min(max(round(at / step) * step, low), high)
        return 10**at if log else at

    def _shows(self, value: float) -> bool:
        return math.isclose(value, self._mark(), rel_tol=1e-6, abs_tol=1e-9)

    def _moved(self, event: Any) -> None:
        # A page sends the value of a slider back, rounded to a mark in its own way.
        if self.quiet or (event.owner is self.slider and self._shows(event.new)):
            return
        exact = event.owner is self.box or self.field == "n_s"
        self.change(self.field, event.new if exact else float(f"{event.new:.3g}"))


class Choice:
    """One of a few: a labelled list.

    Args:
        field: of Controls.
        allowed: the values that can be chosen here.
        change: told the field and its new value when a hand has chosen.
    """

    def __init__(self, field: str, allowed: Container[str], change: Set) -> None:
        self.field, self.change, self.quiet = field, change, False
        self.widget = widgets.Dropdown(
            options=[(text, value) for value, text in CHOICES[field]().items() if value in allowed],
            description=label(field), tooltip=Controls.model_fields[field].description,
            style={"description_width": "98px"}, layout={"width": "290px"},
        )  # fmt: skip
        self.widget.observe(self._moved, "value")

    def show(self, value: str) -> None:
        """Shows a value."""
        self.quiet = True
        self.widget.value = value
        self.quiet = False

    def _moved(self, event: Any) -> None:
        if not self.quiet:
            self.change(self.field, event.new)


def knobs(loop: Phase2, change: Set) -> dict[str, Knob | Choice]:
    """A control for each field of Controls, by its name.

    Args:
        loop: which label selections its classes allow is asked now.
        change: told the field and its new value when a hand has changed it.
    """
    made: dict[str, Knob | Choice] = {field: Knob(field, change) for field in SLIDERS}
    for field in CHOICES:
        allowed = list(CHOICES[field]())
        if field == "label_selection":
            allowed = [name for name in allowed if _possible(loop, name)]
        made[field] = Choice(field, allowed, change)
    return made


def _possible(loop: Phase2, selection: Any) -> bool:
    try:
        loop.probabilities(selection)
    except ConfigError:  # classes of equal size have none that GAMO would choose
        return False
    return True
