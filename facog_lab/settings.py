"""What may change while phase 2 runs: one small frozen config that every step reads once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from facog_lab.config import Config

MAX_N_S = 20  # the largest n_s of Fig. 5
MIN_TAU = 1e-4  # of cosines divided by less, gradients leave the range of float32

# Every oversampler, in the order in which they are listed; all other lists follow from this one.
OversamplerName = Literal[
    "facog",
    "facog_attention",
    "random_oversampling",
    "uniform_weights",
    "dirichlet_weights",
    "smote",
    "borderline_smote",
    "dos",
    "cgan",
    "gamo_without_d",
    "gamo",
    "safa",
    "tailcalib",
]
LabelSelection = Literal["gamo", "inverse", "uniform", "as_found"]
Trained = Literal["all", "d_and_g", "d", "g", "classifier"]
PARTS: dict[Trained, tuple[str, ...]] = {
    "all": ("d", "g", "classifier"),
    "d_and_g": ("d", "g"),
    "d": ("d",),
    "g": ("g",),
    "classifier": ("classifier",),
}


class Controls(Config):
    """What may change while phase 2 runs: a step reads it once."""

    n_s: int = Field(5, ge=1, le=MAX_N_S, description="real features mixed into one, N_s")
    lambda_adv: float = Field(1.0, ge=0, le=1000, description="weight of L_adv, Eq. 5")
    lambda_asc: float = Field(0.1, ge=0, le=1000, description="weight of L_asc, Eq. 5")
    temperature: float = Field(0.1, ge=MIN_TAU, le=100, description="τ of L_asc, Eq. 4")
    lr_generator: float = Field(0.005, gt=0, le=100, description="learning rate of G")
    lr_discriminator: float = Field(0.005, gt=0, le=100, description="learning rate of D")
    lr_classifier: float = Field(0.005, gt=0, le=100, description="learning rate of f_cls")
    oversampler: OversamplerName = Field("facog", description="what makes the features")
    label_selection: LabelSelection = Field(
        "gamo", description="classes of generated features for the classifier: N_max - N_c, "
        "1/N_c, uniform or as found, N_c"
    )  # fmt: skip
    trains: Trained = Field(
        "all", description="what a step changes; the other losses are measured all the same"
    )

    def train(self, part: str) -> bool:
        """Whether a step changes "d", "g" or "classifier"."""
        return part in PARTS[self.trains]


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


def controls_of(config: Controls) -> Controls:
    """The controls that a run begins with."""
    return Controls(**{name: getattr(config, name) for name in Controls.model_fields})
