"""The settings of every stage: one config a concern, each field with its bounds and what it is.

Which oversamplers, objectives and data sets there are is known to `registry`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from facog_lab import registry
from facog_lab.config import Config, unknown
from facog_lab.registry import choice

MAX_N_S = 20  # the largest n_s of Fig. 5
MIN_TAU = 1e-4  # of cosines divided by less, gradients leave the range of float32

Settings = dict[str, Any]  # some fields of a config
Profile = Literal["exponential", "gamo", "as_found"]
Augmentation = Literal[
    "clean", "crop", "crop_flip", "standard",
    "autoaugment_cutout", "imagenet", "imagenet_autoaugment",
]  # fmt: skip


FILE_SETTINGS = ("image_size", "image_root", "train_list", "test_list")


class DataConfig(Config):
    """Which data set, and how its long tail is made."""

    dataset: str = Field("digits", description="a known name, or folder:PATH of a folder or zip")
    profile: Profile = Field(
        "exponential",
        description="exponential: from the largest class down to 1/imbalance_ratio of it; gamo: "
        "4,000 to 40 over ten classes; as_found: every image",
    )
    imbalance_ratio: float = Field(
        20, ge=1, le=10_000, description="largest class / smallest class, of exponential only"
    )
    split_seed: int = Field(0, ge=0, lt=2**31, description="draws the images of each class")
    image_root: str | None = Field(None, description="imagenet_lt: where the lists' paths start")
    train_list: str | None = Field(None, description="imagenet_lt: if not ImageNet_LT_train.txt")
    test_list: str | None = Field(None, description="imagenet_lt: if not ImageNet_LT_test.txt")
    image_size: int | None = Field(
        None,
        ge=8,
        le=512,
        description="folder and imagenet_lt: images are scaled to this shorter side, in pixels, "
        "and cropped to a square; None: their own side if all are equal and square, else 64 "
        "(imagenet_lt: 256)",
    )

    @field_validator("dataset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in ("folder", "folder:", "folder:PATH"):
            raise ValueError("write the path of a folder or a .zip after `folder:`.")
        family = value.split(":")[0]
        if family not in registry.datasets or (":" in value) != (family == "folder"):
            names = ["folder:PATH" if n == "folder" else n for n in registry.datasets]
            raise ValueError(unknown(value, names, "data set"))
        return value

    @model_validator(mode="after")
    def _fits_the_dataset(self) -> DataConfig:
        used = registry.datasets[self.family].facts.get("uses", ())
        for name in FILE_SETTINGS:
            if name not in used and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: {self.family} has no use for it; leave it "
                    "None."
                )
        return self

    @property
    def family(self) -> str:
        """The name in the registry: "folder" for any folder."""
        return self.dataset.split(":")[0]


class LossConfig(Config):
    """Settings of the classification losses; the defaults are those for CIFAR."""

    reweighting: Literal["none", "drw", "cb"] = Field(
        "none",
        description="class weights by effective number. drw: in the last 20% of the epochs; "
        "cb: in all of them",
    )
    effective_number_beta: float = Field(0.9999, ge=0, lt=1, description="b of drw and cb")
    focal_gamma: float = Field(1.0, ge=0, le=100, description="γ of the focal loss")
    lade_alpha: float = Field(0.1, ge=0, le=1000, description="weight of LADE's second term, α")
    lade_lambda: float = Field(0.01, ge=0, le=1000, description="of the regulariser in it, λ")


class Phase1Config(LossConfig):
    """Settings of phase 1; the defaults are the paper's for CIFAR."""

    LATER: ClassVar[dict[str, Any]] = {
        "objective": "facog", "focal_gamma": 1.0, "lade_alpha": 0.1, "lade_lambda": 0.01,
        "torch_compile": False,
    }  # fmt: skip

    architecture: choice(registry.backbones) = Field(  # type: ignore[valid-type]
        "resnet32", description="the backbone"
    )
    width: int = Field(1, ge=1, le=16, description="multiplies the widths 16-32-64")
    feature_dim: int | None = Field(
        None,
        ge=0,
        le=4096,
        description="width of a linear embedding after the pooling, 0 for no embedding; None: 512 "
        "for resnet32 at width 1, as in the paper, and no embedding for the others",
    )
    projection_dim: int = Field(128, ge=2, le=4096, description="D_P, width of an embedding")
    views: int = Field(
        3,
        ge=2,
        le=3,
        description="3: one regular view for L_ce, two SimAugment views for L_sc; "
        "2: both losses on the same two regular views (cheaper)",
    )
    augmentation: Augmentation = Field("autoaugment_cutout", description="the regular view")
    crop_size: int = Field(0, ge=0, le=512, description="side of a view in pixels; 0: the image's")
    epochs: int = Field(160, ge=1, le=10_000, description="passes over the training images")
    batch_size: int = Field(256, ge=2, le=65_536, description="images in a batch, before views")
    lr: float = Field(0.5, gt=0, le=100, description="peak learning rate of SGD")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="of SGD, on every parameter")
    warmup_epochs: int = Field(5, ge=0, le=1000, description="epochs of linear warm-up")
    schedule: Literal["step", "cosine"] = Field(
        "step", description="after the warm-up: ×0.1 at 60% and 80%, or half a cosine to 0"
    )
    lambda_ce: float = Field(1.0, ge=0, le=1000, description="weight of cross-entropy, Eq. 2")
    lambda_sc: float = Field(0.1, ge=0, le=1000, description="weight of L_sc, Eq. 2")
    temperature: float = Field(0.1, ge=MIN_TAU, le=100, description="τ of L_sc, Eq. 1")
    objective: choice(registry.objectives) = Field(  # type: ignore[valid-type]
        "facog", description="what is minimised: Eq. 2, or a rival's"
    )
    torch_compile: bool = Field(
        False,
        description="compile the backbone: 10 to 60 s at first, then faster steps; figures differ "
        "in last digits",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of initial weights, order and views")

    @model_validator(mode="after")
    def _widths_the_network_has(self) -> Phase1Config:
        fixed = registry.backbones[self.architecture].family != "CIFAR"
        if fixed and (self.width != 1 or self.feature_dim):
            raise ValueError(
                f"width = {self.width}, feature_dim = {self.feature_dim}: {self.architecture} has "
                "its own widths; leave width at 1 and feature_dim at None, or take resnet32."
            )
        return self

    @property
    def embedding_dim(self) -> int | None:
        """The width of the linear embedding; None if there is none."""
        if self.feature_dim is None:
            return 512 if self.architecture == "resnet32" and self.width == 1 else None
        return self.feature_dim or None


class DictionaryConfig(Config):
    """Settings of the feature dictionary."""

    views: int = Field(
        0, ge=0, le=100, description="augmented features per image, plus the clean one"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of the augmented views")


LabelSelection = Literal["gamo", "inverse", "uniform", "as_found"]
Updates = Literal["all", "d_and_g", "d", "g", "classifier"]
UPDATES: dict[str, tuple[str, ...]] = {  # what a step changes, by the value of `trains`
    "all": ("d", "g", "classifier"), "d_and_g": ("d", "g"),
    "d": ("d",), "g": ("g",), "classifier": ("classifier",),
}  # fmt: skip


class Controls(Config):
    """What may change while phase 2 runs: a step reads it once."""

    n_s: int = Field(5, ge=1, le=MAX_N_S, description="real features mixed into one, N_s")
    lambda_adv: float = Field(1.0, ge=0, le=1000, description="weight of L_adv, Eq. 5")
    lambda_asc: float = Field(0.1, ge=0, le=1000, description="weight of L_asc, Eq. 5")
    temperature: float = Field(0.1, ge=MIN_TAU, le=100, description="τ of L_asc, Eq. 4")
    lr_generator: float = Field(0.005, gt=0, le=100, description="learning rate of G")
    lr_discriminator: float = Field(0.005, gt=0, le=100, description="learning rate of D")
    lr_classifier: float = Field(0.005, gt=0, le=100, description="learning rate of f_cls")
    oversampler: choice(registry.oversamplers) = Field(  # type: ignore[valid-type]
        "facog", description="what makes the features"
    )
    label_selection: LabelSelection = Field(
        "gamo", description="classes of generated features for the classifier: N_max - N_c, "
        "1/N_c, uniform or as found, N_c"
    )  # fmt: skip
    trains: Updates = Field("all", description="what a step changes; all losses are measured")


class Phase2Config(Controls):
    """Settings of phase 2; the defaults are the paper's. Controls may change while it runs."""

    LATER: ClassVar[dict[str, Any]] = {"logit_prior": "none"}

    references: Literal["fresh", "fixed"] = Field(
        "fresh", description="n_s features drawn for every sample, or one set per class"
    )
    generator: choice(registry.generators) = Field(  # type: ignore[valid-type]
        "mlp", description="G sees noise and class alone (paper), or the features it mixes too"
    )
    generator_hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        (256, 64), min_length=1, max_length=8, description="hidden widths of the mlp generator"
    )
    generator_batch_norm: bool = Field(False, description="batch norm in the mlp generator")
    asc_candidates: Literal["both", "real", "generated"] = Field(
        "both", description="what L_asc compares generated features with"
    )
    classifier_batches: Literal["mixed", "literal"] = Field(
        "mixed", description="generated and real features, or generated alone"
    )
    logit_prior: Literal["none", "seen"] = Field(
        "none",
        description="seen: in training, the log of how often the classifier sees each class is "
        "added to its logits, as in Balanced Softmax",
    )
    epochs: int = Field(40, ge=1, le=10_000, description="passes over as many real features")
    batch_size: int = Field(128, ge=2, le=65_536, description="of G, D and the classifier each")
    optimizer: Literal["sgd", "adam"] = Field(
        "sgd", description="of G and D: SGD (paper) or Adam with β1 0.5 (try lr 2e-4)"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of initial weights and all draws")


def controls_of(config: Controls) -> Controls:
    """The controls that a run begins with."""
    return Controls(**{name: getattr(config, name) for name in Controls.model_fields})
