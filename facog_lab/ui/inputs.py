"""The controls of phase 2 as widgets: a slider and a box for a number, a list for a choice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Mapping
from typing import Any

import ipywidgets as widgets

from facog_lab import registry
from facog_lab.config import ConfigError
from facog_lab.names import VALUES, label
from facog_lab.phase2 import Phase2
from facog_lab.settings import Controls
from facog_lab.ui.sliders import NumberWithSlider

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
    "label_selection": lambda: VALUES["label_selection"],
    "trains": lambda: VALUES["trains"],
}


def number(field: str, change: Set) -> NumberWithSlider:
    """A number: a box and a slider.

    Args:
        field: of Controls.
        change: told the field and its new value when the user has changed it.
    """
    slider, about = SLIDERS[field](), Controls.model_fields[field].description or ""
    slider.layout.width = "124px"
    kind = widgets.IntText if isinstance(slider, widgets.IntSlider) else widgets.FloatText
    box = kind(
        Controls.model_fields[field].default, description=label(field), tooltip=about,
        style={"description_width": "92px"}, layout={"width": "166px"},
    )  # fmt: skip
    return NumberWithSlider(box, slider, functools.partial(change, field))


class Choice(widgets.Dropdown):
    """One of a few: a labelled list.

    Args:
        field: of Controls.
        allowed: the values that can be chosen here.
        change: told the field and its new value when the user has chosen.
    """

    def __init__(self, field: str, allowed: Container[str], change: Set) -> None:
        super().__init__(
            options=[(text, value) for value, text in CHOICES[field]().items() if value in allowed],
            description=label(field), tooltip=Controls.model_fields[field].description,
            style={"description_width": "98px"}, layout={"width": "290px"},
        )  # fmt: skip
        self._field, self._change, self._quiet = field, change, False
        self.observe(self._chosen, "value")

    def show(self, value: str) -> None:
        """Shows a value."""
        self._quiet = True
        self.value = value
        self._quiet = False

    def _chosen(self, event: Any) -> None:
        if not self._quiet:
            self._change(self._field, event.new)


def knobs(loop: Phase2, change: Set) -> dict[str, NumberWithSlider | Choice]:
    """A control for each field of Controls, by its name.

    Args:
        loop: which label selections its classes allow is asked now.
        change: told the field and its new value when the user has changed it.
    """
    made: dict[str, NumberWithSlider | Choice] = {field: number(field, change) for field in SLIDERS}
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
