"""The settings in use as a table: what a notebook has set, what its preset decides, what is left.

A parameter that is None at a notebook's top means "as the preset says"; this shows what it became.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, NamedTuple

from facog_lab import presets
from facog_lab.config import Config

if TYPE_CHECKING:
    from facog_lab.parameters import Settings

STAGES = {"data": "data", "phase1": "phase 1", "dictionary": "dictionary", "phase2": "phase 2"}
TOP = "text-align:left;vertical-align:top"


class InUse(NamedTuple):
    """The fields of a config, as ``epochs=60``, by who decided them.

    Attributes:
        stage: in words.
        here: the notebook's parameters.
        usual: the preset, for this data set.
        default: neither: the config's own defaults.
    """

    stage: str
    here: list[str]
    usual: list[str]
    default: list[str]


def rows(settings: Settings) -> Iterator[InUse]:
    """A row for each stage up to the notebook's own, and one for what belongs to no stage."""
    given, usual = settings.given, presets.decided(settings.preset, settings.data.dataset)
    seed = given.get("", {}).keys() & {"seed"}
    for stage, name in STAGES.items():
        here = given.get(stage, {}).keys() | seed
        yield _sorted(name, getattr(settings, stage), here, usual[stage].keys())
        if stage == settings.main:
            break
    if settings.extra is not None:
        yield _sorted("this notebook", settings.extra, given.get("extra", {}).keys(), set())


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
    here, usual, default = (f"<small>{head}:</small> " for head in _heads(settings))
    body = ""
    for row in rows(settings):
        parts = [f"{here}{_codes(row.here)}"] if row.here else []
        parts += [f"{usual}{_codes(row.usual)}"] if row.usual else []
        folded = f"<details><summary>{default}</summary>{_codes(row.default)}</details>"
        cell = "<br>".join(parts) + (folded if row.default else "")
        body += (
            f'<tr><th scope="row" style="{TOP}">{row.stage}</th><td style="{TOP}">{cell}</td></tr>'
        )
    return f"<table><tbody>{body}</tbody></table>"


def _sorted(stage: str, config: Config, here: Set[str], usual: Set[str]) -> InUse:
    by: InUse = InUse(stage, [], [], [])
    for field, value in config:
        whose = by.here if field in here else by.usual if field in usual else by.default
        whose.append(f"{field}={value!r}")
    return by


def _heads(settings: Settings) -> tuple[str, str, str]:
    family = settings.data.dataset.split(":")[0]
    preset = presets.resolved(settings.preset, settings.data.dataset)
    return "set in this notebook", f"usual for {family}, preset {preset}", "default of the lab"


def _codes(fields: list[str]) -> str:
    return ", ".join(f"<code>{html.escape(field)}</code>" for field in fields)
