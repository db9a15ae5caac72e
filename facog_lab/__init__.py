"""FACoG Lab: a notebook-first workbench for long-tailed recognition (see README.md).

The names below are what scripts need; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facog_lab.config import LabError
    from facog_lab.data.arrays import make_long_tailed
    from facog_lab.dataset import LongTailed
    from facog_lab.dictionary import FeatureDictionary
    from facog_lab.estimators.oversampler import FeatureOversampler
    from facog_lab.phase1 import Phase1
    from facog_lab.phase2 import Phase2
    from facog_lab.registry import register_dataset, register_head, register_oversampler
    from facog_lab.rivals.objectives import register_loss
    from facog_lab.runs import open as open_lab
    from facog_lab.runs.methods import run as run_method
    from facog_lab.runs.presets import experiment
    from facog_lab.runs.stages import Lab
    from facog_lab.settings import Experiment

__version__ = "0.1.0"

# Each name: the module that has it, and what it is called there.
_FACE = {
    "Experiment": ("settings", "Experiment"),
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
__all__ = [
    "Experiment",
    "FeatureDictionary",
    "FeatureOversampler",
    "Lab",
    "LabError",
    "LongTailed",
    "Phase1",
    "Phase2",
    "experiment",
    "make_long_tailed",
    "open_lab",
    "register_dataset",
    "register_head",
    "register_loss",
    "register_oversampler",
    "run_method",
]


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'facog_lab' has no attribute {name!r}")
    module, there = _FACE[name]
    return getattr(importlib.import_module(f"facog_lab.{module}"), there)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FACE])
