"""The settings of all stages together, as they are kept with a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facog_lab.config import Config, ConfigError
from facog_lab.settings import (
    Controls,
    DataConfig,
    DictionaryConfig,
    Phase1Config,
    Phase2Config,
    Settings,
)


@dataclass(frozen=True)
class Experiment:
    """The settings of all stages: what a result is a result of."""

    data: DataConfig
    phase1: Phase1Config
    dictionary: DictionaryConfig
    phase2: Phase2Config

    def written(self) -> dict[str, Settings]:
        """The settings of each stage as JSON values."""
        return {stage: getattr(self, stage).model_dump(mode="json") for stage in CONFIGS}

    @classmethod
    def recorded(cls, values: Any) -> Experiment:
        """What `written` gave, in this version of the lab or an earlier one.

        Raises:
            ConfigError: if it is anything else.
        """
        if not isinstance(values, dict) or values.keys() != CONFIGS.keys():
            raise ConfigError(f"an experiment has the stages {', '.join(CONFIGS)} and no other.")
        for stage, given in values.items():
            if not isinstance(given, dict):
                raise ConfigError(f"{stage} = {given!r}: not allowed, it must be settings by name.")
        made: dict[str, Any] = {k: CONFIGS[k].recorded(given) for k, given in values.items()}
        return cls(**made)


CONFIGS: dict[str, type[Config]] = {
    "data": DataConfig,
    "phase1": Phase1Config,
    "dictionary": DictionaryConfig,
    "phase2": Phase2Config,
}


def controls_at(steps: Mapping[str, Sequence[Any]], step: int) -> Controls:
    """The controls that a step read, counted from 1, by the table "steps" of a history.

    A control that came after the history was recorded is not in it, or None where another step had
    it: it was what all runs did before.

    Raises:
        ConfigError: if the history lacks a control, or has a value that it cannot have had.
    """
    return Controls.recorded(
        {
            name: steps[name][step - 1]
            for name in Controls.model_fields
            if name in steps and steps[name][step - 1] is not None
        }
    )
