"""The base of every config: frozen, checked when it is made, with errors a person can act on."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)
from pydantic.fields import FieldInfo

# "auto" means CUDA where there is one. Not part of any config: a device changes the speed of a
# run and its last digits, not what was asked for; the manifest records which one was used.
Device = Literal["auto", "cpu", "cuda"]


class LabError(Exception):
    """An error reported by the lab itself: the message names the cause and the remedy."""


class ConfigError(LabError, ValueError):
    """A setting has an unknown name, or a value of the wrong type or outside its range."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message is the whole story, where it was raised is not."""
        return [f"{type(self).__name__}: {self}"]


class DataError(LabError, RuntimeError):
    """A data set is missing, damaged, or unsuitable for the settings."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message is the whole story."""
        return [f"{type(self).__name__}: {self}"]


class TrainingError(LabError, RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite; nothing was saved from it."""


class Config(BaseModel):
    """A frozen set of settings.

    Numbers may come as strings, since papermill's ``-y`` sends ``1e-3`` as one; a boolean is never
    a number, and NaN and infinity are never values.

    Raises:
        ConfigError: naming the field, its value, what is allowed, and the nearest known name.
    """

    # Fields that came after runs had been recorded, each with what those runs did. A field of that
    # value is not written down, and a record without it is read so: old keys and histories stay.
    # A class inherits those of its bases. tests/test_settings.py fails if one is forgotten.
    LATER: ClassVar[dict[str, Any]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(explain(type(self), error)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        bases = [vars(base).get("LATER", {}) for base in reversed(cls.__mro__)]
        cls.LATER = {name: before for later in bases for name, before in later.items()}
        if wrong := cls.LATER.keys() - cls.model_fields.keys():
            raise TypeError(f"{cls.__name__}.LATER: {min(wrong)} is no field.")

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> typing.Self:
        """The settings that were written down, by this version of the lab or an earlier one.

        Args:
            values: what `model_dump` gave then.

        Raises:
            ConfigError: also for a field that is missing and was there from the beginning.
        """
        for name in cls.model_fields:
            if name not in values and name not in cls.LATER:
                raise ConfigError(f"{name} is missing: it must be {allowed(cls, name)}.")
        return cls(**cls.LATER | dict(values))

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_or_bytes_for_a_number(cls, value: Any, info: Any) -> Any:
        boolean = isinstance(value, bool) and bool not in _kinds(cls.model_fields[info.field_name])
        if boolean or isinstance(value, bytes):
            raise ValueError("another type")
        return value

    @model_serializer(mode="wrap")
    def _without_what_was_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            name: value
            for name, value in dump(self).items()
            if name not in self.LATER or getattr(self, name) != self.LATER[name]
        }

    def replace(self, **changes: Any) -> typing.Self:
        """The same settings with some changed, checked again."""
        return type(self)(**{**dict(self), **changes})


def allowed(config: type[BaseModel], name: str) -> str:
    """What a field takes, in words: ``a whole number, at least 1, at most 20``."""
    field = config.model_fields[name]
    words = []
    for kind in _kinds(field):
        if typing.get_origin(kind) is Literal:
            words.append("one of " + ", ".join(map(repr, typing.get_args(kind))))
        else:
            names = {int: "a whole number", float: "a number", bool: "True or False"}
            names |= {str: "a text", types.NoneType: "None"}
            words.append(names.get(kind, str(kind).replace("typing.", "")))
    text = " or ".join(words)
    for rule in field.metadata:
        if isinstance(rule, Mapping):  # a registry, whose names it takes
            text = "one of " + ", ".join(map(repr, rule))
    bounds = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
    for rule in field.metadata:
        for key, phrase in bounds.items():
            if getattr(rule, key, None) is not None:
                text += ", " + phrase.format(getattr(rule, key))
    return text


def explain(config: type[BaseModel], error: ValidationError) -> str:
    """All that is wrong with the values of a config, one line a field."""
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            lines.append(unknown(name, config.model_fields))
        elif name in config.model_fields:
            reason = problem["msg"].removeprefix("Value error, ")
            if problem["type"] != "value_error" or reason == "another type":
                reason = f"not allowed, it must be {allowed(config, name)}."
            lines.append(f"{name} = {problem['input']!r}: {reason}")
        else:
            lines.append(problem["msg"].removeprefix("Value error, "))
    return "\n".join(lines)


def unknown(name: str, known: typing.Iterable[str], kind: str = "setting") -> str:
    """The message for a name that is not known, with the nearest one that is.

    Args:
        name: that was given.
        known: the names that there are.
        kind: what they are names of.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no {kind} named {name!r}.{hint} Known: {', '.join(known)}."


def digest(*parts: Any) -> str:
    """SHA-256, in hex, of values written as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    annotation = field.annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)
