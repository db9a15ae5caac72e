"""The settings per data set, as data: the paper's, and small ones for a laptop without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from facog_lab.config import Config, ConfigError, unknown
from facog_lab.dataset import DataConfig
from facog_lab.dictionary import DictionaryConfig
from facog_lab.phase1 import Phase1Config
from facog_lab.phase2 import Phase2Config

PresetName = Literal["auto", "cpu", "paper"]
Settings = dict[str, Any]

# What each data set is made into, and how its images are augmented, under every preset.
DATA: dict[str, Settings] = {
    "digits": {"profile": "exponential", "imbalance_ratio": 20},
    "mnist": {"profile": "gamo"},
    "fashion_mnist": {"profile": "gamo"},
    "cifar10": {"profile": "exponential", "imbalance_ratio": 100},
    "cifar100": {"profile": "exponential", "imbalance_ratio": 100},
    "imagenet_lt": {"profile": "as_found"},
    "folder": {"profile": "as_found"},
}
AUGMENTATION: dict[str, Settings] = {
    "digits": {"augmentation": "crop"},
    "mnist": {"augmentation": "crop"},
    "fashion_mnist": {"augmentation": "crop_flip"},
    "cifar10": {"augmentation": "autoaugment_cutout"},
    "cifar100": {"augmentation": "autoaugment_cutout"},
    "imagenet_lt": {"augmentation": "imagenet", "crop_size": 224},
    "folder": {"augmentation": "standard"},
}

# A ResNet of one block a stage, both losses on the same two views.
_CPU_PHASE1: Settings = {
    "architecture": "small",
    "feature_dim": 0,
    "projection_dim": 64,
    "views": 2,
    "epochs": 60,
    "warmup_epochs": 3,
}
_CPU: tuple[Settings, Settings] = (_CPU_PHASE1, {"epochs": 20})
_PAPER_100: tuple[Settings, Settings] = ({"epochs": 80}, {"epochs": 20})
_PAPER_200: tuple[Settings, Settings] = ({"epochs": 160}, {"epochs": 40})

# (phase 1, phase 2) for each preset and data set: what differs from the configs' own defaults.
STAGES: dict[str, dict[str, tuple[Settings, Settings]]] = {
    "cpu": {
        # An epoch of phase 2 is 4 steps here: as many epochs as G needs steps to settle.
        "digits": ({**_CPU_PHASE1, "batch_size": 128, "lr": 0.2}, {"epochs": 200}),
        "mnist": _CPU,
        "fashion_mnist": _CPU,
        "cifar10": _CPU,
        "cifar100": _CPU,
        # One's own images are often few: small batches, so that an epoch has some steps.
        "folder": ({**_CPU_PHASE1, "batch_size": 64, "lr": 0.1}, {"epochs": 100, "batch_size": 64}),
    },
    "paper": {
        "digits": _PAPER_100,
        "mnist": _PAPER_100,
        "fashion_mnist": _PAPER_100,
        "cifar10": _PAPER_200,
        "cifar100": _PAPER_200,
        "imagenet_lt": (
            {
                "architecture": "resnext50",
                "feature_dim": 0,
                "projection_dim": 1024,
                "epochs": 90,
            },
            {"epochs": 10},
        ),
        "folder": _PAPER_100,
    },
}
# What "auto" stands for.
AUTO = {"digits": "cpu", "mnist": "cpu", "fashion_mnist": "cpu", "folder": "cpu"}


def resolved(preset: str, dataset: str) -> str:
    """The preset that "auto" stands for; any other is itself."""
    return AUTO.get(dataset.split(":")[0], "paper") if preset == "auto" else preset


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
            set does not have, and for a ratio beside a profile that has none.
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
    """What a preset says for a data set, by stage; for the rest the configs' defaults hold.

    Args:
        preset: its name, or "auto".
        dataset: as in DataConfig.

    Raises:
        ConfigError: for an unknown preset, or one that the data set does not have.
    """
    family, name = dataset.split(":")[0], resolved(preset, dataset)
    if name not in STAGES:
        raise ConfigError(unknown(preset, ("auto", *STAGES), "preset"))
    if family not in STAGES[name]:
        raise ConfigError(
            f"preset = {preset!r}: {family} has none of that name; set preset to 'paper'."
        )
    phase1, phase2 = STAGES[name][family]
    return {
        "data": dict(DATA[family]),
        "phase1": AUGMENTATION[family] | phase1,
        "dictionary": {},
        "phase2": dict(phase2),
    }
