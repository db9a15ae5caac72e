"""The settings in use as a table: what a notebook has set, what its preset decides, what is left.

A parameter that is None at a notebook's top means "as the preset says"; this shows what it became.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from facog_lab.config import Config, Device
from facog_lab.runs import presets
from facog_lab.runs.experiment import Experiment
from facog_lab.runs.progress import Live

Stage = Literal["data", "phase1", "dictionary", "phase2"]

STAGES: dict[Stage, str] = {
    "data": "data",
    "phase1": "phase 1",
    "dictionary": "dictionary",
    "phase2": "phase 2",
}
TOP = "text-align:left;vertical-align:top"
NAME = f"{TOP};white-space:nowrap"


@dataclass(frozen=True, repr=False)
class Settings(Experiment):
    """An experiment, with what a notebook needs to know besides; it shows what is in use.

    Attributes:
        preset: its name.
        seed: of every stage that has none of its own.
        device: where to train.
        devices: on how many of this machine at once.
        protocol: the test protocol.
        live: whether there are interactive controls, see progress.is_live.
        extra: the notebook's own settings, if `check` was given a config for them.
        main: the stage that the notebook is about.
        given: by stage ("" for all, "extra"), the fields that parameters have set.
        left: (stage, field) of the parameters that are left to the preset.
    """

    preset: str
    seed: int
    device: Device
    devices: int
    protocol: str
    live: Live
    extra: Any = None
    main: Stage = "phase2"
    given: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)
    left: set[tuple[str, str]] = field(default_factory=set, compare=False)

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return table(self)


class InUse(NamedTuple):
    """The fields of a config, as ``epochs=60``, by who decided them.

    Attributes:
        stage: in words.
        here: the notebook's parameters.
        usual: the preset, for this data set; and what the notebook's parameters leave open.
        default: neither: the config's own defaults.
    """

    stage: str
    here: list[str]
    usual: list[str]
    default: list[str]


def rows(settings: Settings) -> Iterator[InUse]:
    """A row for each stage up to the notebook's own, and one for what belongs to no stage."""
    usual = presets.decided(settings.preset, settings.data.dataset)
    for stage, name in STAGES.items():
        yield _row(settings, stage, name, getattr(settings, stage), set(usual[stage]))
        if stage == settings.main:
            break
    if settings.extra is not None:
        yield _row(settings, "extra", "this notebook", settings.extra, set())


def text(settings: Settings) -> str:
    """The table in lines."""
    return "\n".join(
        f"{row.stage}, {head}: {', '.join(fields)}"
        for row in rows(settings)
        for head, fields in zip(_heads(settings), row[1:], strict=True)
        if fields
    )


def table(settings: Settings) -> str:
    """The table in HTML; defaults are folded up."""
    here, usual, default = (f"<small>{head}</small>" for head in _heads(settings))
    body = ""
    for row in rows(settings):
        parts = [f"{here} {_codes(row.here)}"] if row.here else []
        parts += [f"{usual} {_codes(row.usual)}"] if row.usual else []
        folded = f"<details><summary>{default}</summary>{_codes(row.default)}</details>"
        cell = "<br>".join(parts) + (folded if row.default else "")
        name = f'<th scope="row" style="{NAME}">{row.stage}</th>'
        body += f'<tr>{name}<td style="{TOP}">{cell}</td></tr>'
    return f"<table><tbody>{body}</tbody></table>"


def _row(settings: Settings, stage: str, name: str, config: Config, usual: set[str]) -> InUse:
    seed = settings.given.get("", {}).keys() & {"seed"}  # of every stage
    here = settings.given.get(stage, {}).keys() | seed
    by = InUse(name, [], [], [])
    for option, value in config:
        # What was left to the preset is shown, also where the preset keeps the default.
        usual_too = (stage, option) in settings.left and value is not None
        whose = by.here if option in here else by.default
        if option not in here and (option in usual or usual_too):
            whose = by.usual
        whose.append(f"{option}={value!r}")
    return by


def _heads(settings: Settings) -> tuple[str, str, str]:
    family = settings.data.dataset.split(":")[0]
    preset = presets.resolved(settings.preset, settings.data.dataset)
    return "set in this notebook", f"usual for {family}, preset {preset}", "the lab's defaults"


def _codes(fields: list[str]) -> str:
    return " ".join(f"<code>{html.escape(field)}</code>" for field in fields)
