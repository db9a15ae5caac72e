"""A notebook's parameters: nothing but values until they are checked, then one `Settings`.

A notebook has three cells for this:

    from facog_lab.ui import parameters     # A: the imports
    parameters.guard()

    n_s: int = 5  # features mixed          # B: tagged `parameters`, values written out

    settings = parameters.check("phase2")   # C: begins with the check

papermill puts the values of `-p` and `-y` into a cell of its own between B and C, and writes their
names unescaped, so that a name could be code. Therefore `guard` looks at every cell before it runs.

Names say where a value belongs:

    preset, seed, device, live, ...     to all stages, see `Common`
    dataset, imbalance_ratio, ...       to the data: fields of DataConfig
    phase1_epochs, dictionary_views     to that stage: a field of its config
    any other                           to the notebook's main stage, or to its `extra` config

None, or the text "None", means "as the preset says"; settings show what that is, see `in_use`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from typing import Any, Literal

import torch
from IPython import get_ipython
from pydantic import Field, field_validator

from facog_lab.config import Config, ConfigError, Device, unknown
from facog_lab.runs import presets
from facog_lab.runs.experiment import CONFIGS
from facog_lab.runs.progress import Live
from facog_lab.settings import DataConfig
from facog_lab.study.literals import assigned
from facog_lab.ui.settings_table import Settings, Stage

STAGES = CONFIGS
WITH_GAMO_PROTOCOL = ("mnist", "fashion_mnist")


class ParameterError(ConfigError):
    """A parameter has an unknown name or a bad value, or a cell must not run before the check."""


class Common(Config):
    """Parameters that belong to no single stage."""

    preset: presets.PresetName = Field("auto", description="cpu, paper, or auto")
    seed: int = Field(0, ge=0, lt=2**31, description="of every stage")
    device: Device = Field("auto", description="where to train")
    devices: int = Field(
        1, ge=1, le=64, description="processes that train phase 1, each on a GPU or CPU of its own"
    )
    protocol: Literal["full", "gamo"] = Field("full", description="the test images")
    live: Live = Field("auto", description="controls: in a live front end, always, never")

    @field_validator("device")
    @classmethod
    def _is_there(cls, device: Device) -> Device:
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("PyTorch sees no GPU; use 'auto' or 'cpu'.")
        return device


def guard() -> None:
    """From now on only plain values run, until they are checked; does nothing outside IPython.

    Until `check` has passed, a cell runs if it is the parameters cell, sets parameters that it has,
    begins with `check` or ends with `guard`; any other ends in a ParameterError before it is run.
    """
    shell = get_ipython()
    if shell is not None:
        hooks = shell.input_transformers_post
        hooks[:] = [hook for hook in hooks if not _is_guard(hook)] + [Guard()]


def check(
    main: Stage, extra: type[Config] | None = None, namespace: dict[str, Any] | None = None
) -> Settings:
    """The notebook's settings, made of its parameters; has to be the first call of its cell.

    Checked values are written back: a number that came as a text is a number afterwards, and None
    is the preset's value where the parameters cell has a value.

    Args:
        main: the stage that the notebook is about, to which names without a prefix belong.
        extra: a config for parameters that belong to no stage.
        namespace: where the parameters are; the notebook's variables, or the caller's globals.

    Raises:
        ParameterError: naming every unknown name and bad value, what is allowed, and the remedy.
    """
    shell = get_ipython()
    hooks = shell.input_transformers_post if shell else []
    cells: Guard | None = next(filter(_is_guard, hooks), None)
    if namespace is None:
        namespace = shell.user_ns if shell else sys._getframe(1).f_globals
    if cells is None:  # no guard: whatever has the name of a parameter
        defaults = {name: namespace[name] for name in _places(main, extra) if name in namespace}
    else:
        cells.armed, defaults = True, cells.defaults
        if not defaults:
            raise ParameterError("There are no parameters yet: run the parameters cell first.")
    given = {name: namespace[name] for name in defaults if name in namespace}
    settings = from_values(given, main, extra)
    for name, value in given.items():
        stage, place = _places(main, extra)[name]
        made = getattr(getattr(settings, stage) if stage else settings, place)
        namespace[name] = None if _left(value) and _left(defaults[name]) else made
    if cells is not None:
        cells.armed = False
    return settings


def from_values(
    values: Mapping[str, Any], main: Stage, extra: type[Config] | None = None
) -> Settings:
    """Settings from parameters by name; see `check`."""
    places = _places(main, extra)
    problems = [unknown(name, places) for name in values if name not in places]
    given = {k: v for k, v in values.items() if k in places and not _left(v)}
    configs: dict[str, type[Config]] = {"": Common, **STAGES}
    if extra is not None:
        configs["extra"] = extra
    fields: dict[str, dict[str, Any]] = {}
    made: dict[str, Any] = {}
    for group, config in configs.items():
        names = {places[name][1]: name for name in given if places[name][0] == group}
        fields[group] = {field: given[name] for field, name in names.items()}
        try:
            made[group] = config(**fields[group])
        except ConfigError as error:
            problems += _renamed(error, names)
    dataset = fields["data"].get("dataset", "digits")
    if fields[""].get("protocol") == "gamo" and dataset not in WITH_GAMO_PROTOCOL:
        problems.append(f"protocol = 'gamo': {dataset} has none of that name; use 'full'.")
    if problems:
        raise ParameterError("\n".join(problems))
    common: Common = made[""]
    stages = {stage: fields[stage] for stage in STAGES}
    try:
        experiment = presets.experiment(common.preset, **stages, seed=common.seed)
    except ConfigError as error:
        raise ParameterError(str(error)) from None
    about: dict[str, Any] = {**vars(experiment), **dict(common), "extra": made.get("extra")}
    left = {places[name] for name in values if _left(values[name])}
    return Settings(**about, main=main, given=fields, left=left)


def _left(value: Any) -> bool:
    """Whether a parameter is left to the preset; the text comes from shells and sweeps."""
    return str(value) == "None"


def _renamed(error: ConfigError, names: Mapping[str, str]) -> list[str]:
    """The lines of an error about a config's fields, with the names of the parameters."""
    lines = [line.partition(" = ") for line in str(error).splitlines()]
    return [names.get(field, field) + equals + rest for field, equals, rest in lines]


def _places(main: Stage, extra: type[Config] | None) -> dict[str, tuple[str, str]]:
    """The stage ("" for all, "extra") and field of every parameter that there can be."""
    groups: list[tuple[str, str, type[Config]]] = [  # prefix of the parameters, stage, config
        ("", main, STAGES[main]),
        ("", "data", DataConfig),
        ("", "", Common),
        *([("", "extra", extra)] if extra else []),
        *((f"{stage}_", stage, STAGES[stage]) for stage in ("phase1", "dictionary", "phase2")),
    ]
    return {
        prefix + field: (group, field)
        for prefix, group, config in groups
        for field in config.model_fields
    }


class Guard:
    """Looks at the source of every cell before IPython runs it.

    Only a cell that begins with a comment can be papermill's, which always writes one above its
    values. So cells that begin otherwise were written by whoever wrote the notebook, and may
    hold the calls of `guard` and `check`.

    Attributes:
        armed: whether parameters wait to be checked.
        defaults: the values in the parameters cell, by name; empty until it is run.
    """

    def __init__(self) -> None:
        self.armed = True
        self.defaults: dict[str, Any] = {}

    def __call__(self, lines: list[str]) -> list[str]:
        """The lines of a cell as they are.

        Raises:
            ParameterError: if it must not run.
        """
        own = not lines or not lines[0].startswith("#")
        try:
            body = ast.parse("".join(lines)).body
        except (SyntaxError, ValueError) as error:
            if self.armed and not own:
                line = getattr(error, "lineno", None) or 1
                raise self._refusal(lines[min(line, len(lines)) - 1], own) from None
            return lines  # for IPython to report
        if own and body and (_calls(body[-1], "guard") or _calls(body[0], "check")):
            return lines
        values: dict[str, Any] = {}
        for statement in body:
            try:
                name, value = assigned(statement)
            except (ValueError, TypeError):
                if self.armed:
                    raise self._refusal(lines[statement.lineno - 1], own) from None
                return lines
            values[name] = value
        annotated = all(isinstance(statement, ast.AnnAssign) for statement in body)
        again = own and annotated and not values.keys().isdisjoint(self.defaults)
        if again or (self.armed and not self.defaults):
            self.armed, self.defaults = True, values
        elif self.armed:
            wrong = [name for name in values if name not in self.defaults]
            if wrong:
                raise ParameterError("\n".join(unknown(name, self.defaults) for name in wrong))
        return lines

    def _refusal(self, line: str, own: bool) -> ParameterError:
        line = line.strip()[:200]
        if not own:
            name = line.rpartition(" = ")[0] or line
            return ParameterError(
                f"{unknown(name, self.defaults)} Nothing was run: until parameters.check(), a cell "
                "that begins with a comment, as papermill's does, may only set parameters."
            )
        return ParameterError(
            f"Not run: {line}\n"
            "Until the parameters are checked, a cell may hold nothing but `name: type = value`, "
            "with the value written out: a number, a text in quotes, True, False, None, or a list "
            "of these (10, not 2 * 5). To run anything else, first run the parameters cell and "
            "then the one that begins with parameters.check()."
        )


def _is_guard(hook: Any) -> bool:
    return type(hook).__name__ == Guard.__name__  # by name: this module may have been reloaded


def _calls(statement: ast.stmt, function: str) -> bool:
    """Whether a statement is `parameters.function(...)`, or assigns what that returns."""
    called = getattr(getattr(statement, "value", None), "func", None)
    return isinstance(called, ast.Attribute) and called.attr == function
