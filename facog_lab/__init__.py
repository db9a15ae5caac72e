"""FACoG Lab: a notebook-first workbench for long-tailed recognition (see README.md).

The names below are what scripts need; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Each name: the module that has it, and what it is called there.
_FACE = {
    "Experiment": ("runs.experiment", "Experiment"),
    "FeatureDictionary": ("dictionary", "FeatureDictionary"),
    "FeatureOversampler": ("estimators.oversampler", "FeatureOversampler"),
    "Lab": ("runs.stages", "Lab"),
    "LabError": ("config", "LabError"),
    "LongTailed": ("dataset", "LongTailed"),
    "Phase1": ("phase1", "Phase1"),
    "Phase2": ("phase2", "Phase2"),
    "experiment": ("runs.presets", "experiment"),
    "make_long_tailed": ("data.arrays", "make_long_tailed"),
    "open_lab": ("runs", "open"),
    "register_dataset": ("registry", "register_dataset"),
    "register_head": ("registry", "register_head"),
    "register_loss": ("rivals.objectives", "register_loss"),
    "register_oversampler": ("registry", "register_oversampler"),
    "run_method": ("runs.methods", "run"),
}
__all__ = list(_FACE)


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'facog_lab' has no attribute {name!r}")
    module, there = _FACE[name]
    return getattr(importlib.import_module(f"facog_lab.{module}"), there)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FACE])
