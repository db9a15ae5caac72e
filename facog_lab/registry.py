"""What can be chosen by name; each is registered in the one file that defines it.

    @register_oversampler("smote", label="SMOTE", family="neighbours", about="between neighbours")
    def smote(given: Given) -> Oversampler: ...

Settings, lists in notebooks and panels, tables, command lines and common tests follow. What is in
the packages of `PLUGINS` is found there; what a notebook registers is there when its cell has run.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

from facog_lab.config import ConfigError, unknown

PLUGINS = ("facog_lab.rivals", "facog_lab.data")  # whose modules may register something
T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """Something that can be chosen.

    Attributes:
        name: as settings have it.
        label: as people read it.
        family: the group that it is listed in.
        about: one line that says what it does.
        make: makes it; its arguments depend on the registry. None where facts say all.
        facts: what else the registry asks for, by name.
    """

    name: str
    label: str
    family: str
    about: str
    make: Any
    facts: Mapping[str, Any] = field(default_factory=dict)


class Registry(Mapping[str, Entry]):
    """Entries by name, family by family, each family in the order of registration.

    Args:
        kind: what its entries are, for messages.
        families: those that come first, in this order.
    """

    def __init__(self, kind: str, *families: str) -> None:
        self.kind, self._families = kind, families
        self._entries: dict[str, Entry] = {}

    def add(
        self,
        name: str,
        *,
        label: str,
        family: str,
        about: str,
        make: Callable[..., Any] | None = None,
        **facts: Any,
    ) -> None:
        """Registers something; see `Entry`.

        Raises:
            ConfigError: if something else has the name already.
        """
        there = self._entries.get(name)
        # The same place again is a cell that was run twice, or a module that was reloaded.
        if there and _place(there.make) != _place(make):
            raise ConfigError(
                f"There is {self.kind} {name!r} already, of {_place(there.make)}: choose another "
                f"name for that of {_place(make)}."
            )
        self._entries[name] = Entry(name, label, family, about, make, facts)

    def register(self, name: str, **entry: Any) -> Callable[[T], T]:
        """A decorator that adds what it decorates as `make`; see `add`."""

        def decorate(make: T) -> T:
            self.add(name, make=make, **entry)
            return make

        return decorate

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            _discover()
        if name not in self._entries:
            raise ConfigError(unknown(name, self, self.kind))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in list(self)

    def __iter__(self) -> Iterator[str]:
        _discover()
        order = (*self._families, *(entry.family for entry in self._entries.values()))
        return iter(sorted(self._entries, key=lambda name: order.index(self[name].family)))

    def __len__(self) -> int:
        return len(list(iter(self)))


def choice(registry: Registry) -> Any:
    """The type of a setting whose value is a name of a registry."""

    def known(name: str) -> str:
        if name not in registry:
            raise ValueError("another type")  # explained by what is allowed
        return name

    return Annotated[str, AfterValidator(known), registry]


def _place(make: Any) -> str:
    return f"{make.__module__}.{make.__qualname__}" if make else "a table of settings"


@functools.cache
def _discover() -> None:
    """Imports every module that may register something; the second time nothing happens."""
    for package in PLUGINS:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            importlib.import_module(f"{package}.{module.name}")


oversamplers = Registry("oversampler", "FACoG", "null", "neighbours", "adversarial", "transfer")
losses = Registry("loss", "loss")
objectives = Registry("objective", "FACoG", "loss", "contrastive")
heads = Registry("head method", "free", "loss", "decoupled", "trained")
networks = Registry("network method", "loss", "decoupled", "contrastive")
datasets = Registry("data set", "known", "own")
backbones = Registry("architecture", "CIFAR", "ImageNet")
generators = Registry("generator", "FACoG")

register_oversampler = oversamplers.register
register_objective = objectives.register
register_head = heads.register
register_dataset = datasets.register
register_backbone = backbones.register
register_generator = generators.register
