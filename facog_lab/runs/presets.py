"""The settings per data set, as data: the paper's, and small ones for a laptop without a GPU."""

from __future__ import annotations

from typing import Any, Literal

from facog_lab import registry
from facog_lab.config import ConfigError, unknown
from facog_lab.runs.experiment import Experiment
from facog_lab.settings import DataConfig, DictionaryConfig, Phase1Config, Phase2Config, Settings

PresetName = Literal["auto", "cpu", "paper"]

# (phase 1, phase 2): what differs from the configs' own defaults. What a data set changes is
# given where it is registered, as `presets`; None there means that it has no such preset.
PRESETS: dict[str, tuple[Settings, Settings]] = {
    # A ResNet of one block a stage, both losses on the same two views.
    "cpu": (
        {
            "architecture": "small",
            "feature_dim": 0,
            "projection_dim": 64,
            "views": 2,
            "epochs": 60,
            "warmup_epochs": 3,
        },
        {"epochs": 20},
    ),
    "paper": ({"epochs": 80}, {"epochs": 20}),
}


def resolved(preset: str, dataset: str) -> str:
    """The preset that "auto" stands for; any other is itself."""
    return _facts(dataset).get("auto", "cpu") if preset == "auto" else preset


def _facts(dataset: str) -> Any:
    return registry.datasets[dataset.split(":")[0]].facts


def experiment(
    preset: str = "auto",
    *,
    data: Settings | None = None,
    phase1: Settings | None = None,
    dictionary: Settings | None = None,
    phase2: Settings | None = None,
    seed: int = 0,
) -> Experiment:
    """The settings of a preset with some changed.

    Args:
        preset: "cpu" (a small network, minutes on a laptop), "paper", or "auto": cpu for digits,
            the MNIST family and folders, paper for the others.
        data: fields of DataConfig to set; `dataset` chooses the preset's entry. An
            `imbalance_ratio` without a profile asks for the exponential one.
        phase1: fields of Phase1Config to set.
        dictionary: fields of DictionaryConfig to set.
        phase2: fields of Phase2Config to set.
        seed: of every stage whose own seed is not set here.

    Raises:
        ConfigError: for an unknown name or a value that is not allowed, for a preset that a data
            set does not have, and for a ratio with a profile that has none.
    """
    wanted = data or {}
    # Checked alone first, so that a wrong name of a data set is reported as that.
    dataset = DataConfig(**{k: v for k, v in wanted.items() if k == "dataset"}).dataset
    usual = decided(preset, dataset)
    if "imbalance_ratio" in wanted:
        usual["data"]["profile"] = "exponential"
        if wanted.get("profile", "exponential") != "exponential":
            raise ConfigError(
                f"imbalance_ratio = {wanted['imbalance_ratio']}: profile = {wanted['profile']!r} "
                "has none to choose; leave one of the two out, or set profile to 'exponential'."
            )
    seeded: Settings = {"seed": seed}
    return Experiment(
        data=DataConfig(**usual["data"] | wanted),
        phase1=Phase1Config(**seeded | usual["phase1"] | (phase1 or {})),
        dictionary=DictionaryConfig(**seeded | usual["dictionary"] | (dictionary or {})),
        phase2=Phase2Config(**seeded | usual["phase2"] | (phase2 or {})),
    )


def decided(preset: str, dataset: str) -> dict[str, Settings]:
    """A preset's settings for a data set, by stage; all others are the configs' defaults.

    Args:
        preset: its name, or "auto".
        dataset: as in DataConfig.

    Raises:
        ConfigError: for an unknown preset, or one that the data set does not have.
    """
    name, facts = resolved(preset, dataset), _facts(dataset)
    if name not in PRESETS:
        raise ConfigError(unknown(preset, ("auto", *PRESETS), "preset"))
    own = facts.get("presets", {}).get(name, ({}, {}))
    if own is None:  # as for ImageNet-LT under "cpu"
        raise ConfigError(
            f"preset = {preset!r}: {dataset.split(':')[0]} has none of that name; set preset to "
            "'paper'."
        )
    phase1, phase2 = (usual | differs for usual, differs in zip(PRESETS[name], own, strict=True))
    return {
        "data": dict(facts.get("data", {})),
        "phase1": facts.get("phase1", {}) | phase1,
        "dictionary": {},
        "phase2": phase2,
    }
