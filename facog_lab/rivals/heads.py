"""The rivals on phase-1 features: a classifier that is re-weighted, re-sampled or re-scaled.

What a method changes of the usual loop is data, or it is a function of its own file:

    @register_head("name", label="Name", family="trained", about="one line that says what it does")
    def head(dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int) -> Head: ...

It may change the classifier, which is a copy, and may return a bare module. Family "free" is for
heads that cost nothing: null baselines, never kept. Others are kept; where they have another form
than phase 1's classifier, `skeleton=` names a function (dictionary, classifier) -> nn.Module.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from facog_lab import models, registry
from facog_lab.config import Config, Device
from facog_lab.device import pick_device
from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import choice
from facog_lab.rivals.head_loop import Head, own
from facog_lab.rivals.refit import HeadConfig, fit, lengths, scale_classes, start
from facog_lab.rng import rng_for

TAUS = tuple(round(0.1 * i, 1) for i in range(21))  # what τ is chosen from
HELD_OUT = 0.2  # share of the training images that τ is chosen on

_DECOUPLED: dict[str, Any] = {  # the second stage of Kang et al. 2020
    "sampling": "classes",
    "epochs": 10,
    "batch_size": 512,
    "lr": 0.2,
    "schedule": "cosine",
}
# What differs from the defaults, which are those of phase 2's classifier. Losses add their own.
_ADD = registry.heads.add
_ADD("tau_norm", label="τ-norm", family="decoupled", about="weights of equal length",
     changes={"fits": "tau"})  # fmt: skip
_ADD("lws", label="LWS", family="decoupled", about="a factor a class",
     changes={**_DECOUPLED, "fits": "scales", "epochs": 5})  # fmt: skip
_ADD("crt", label="cRT", family="decoupled", about="a new last layer, classes evenly",
     changes={**_DECOUPLED, "fits": "last_layer", "start": "new_last_layer"})  # fmt: skip
_ADD("linear", label="New linear layer", family="decoupled", about="one new layer, classes evenly",
     changes={**_DECOUPLED, "start": "new_linear"})  # fmt: skip


class NamedHead(Config):
    """Settings of a head that a registered function makes: all others are the function's own."""

    head: choice(registry.heads) = Field(..., description="its name")  # type: ignore[valid-type]
    seed: int = Field(0, ge=0, lt=2**31, description="of new layers and all draws")


def free_heads() -> list[str]:
    """The heads that cost nothing, by name: null baselines, computed when they are asked for."""
    return sorted(name for name, entry in registry.heads.items() if entry.family == "free")


def head_config(name: str, **changes: Any) -> HeadConfig | NamedHead:
    """The settings of a method, with some changed.

    Args:
        name: of a registered head.
        changes: fields of HeadConfig; the method's own settings win over them, and a method that
            is a function takes the seed alone.

    Raises:
        ConfigError: for an unknown name, or a value that is not allowed.
    """
    entry = registry.heads[name]
    config = HeadConfig(**{**changes, **entry.facts.get("changes", {})})
    return NamedHead(head=name, seed=config.seed) if entry.make else config


def train_head(
    config: HeadConfig | NamedHead,
    dictionary: FeatureDictionary,
    model: models.Phase1Model,
    device: Device = "auto",
) -> Head:
    """A method's classifier, from phase 1's.

    Randomness depends on (seed, step) alone and PyTorch's global generator is not touched. Test
    features are not looked at.

    Args:
        config: of the method, see `head_config`.
        dictionary: features of phase 1.
        model: the networks of phase 1; the classifier is copied before it is changed.
        device: where to train.

    Raises:
        TrainingError: naming the epoch's steps, if the loss is NaN or infinite.
    """
    on = dictionary.to(pick_device(device))
    if isinstance(config, NamedHead):
        made = registry.heads[config.head].make(on, own(model.classifier, on), config.seed)
        return made if isinstance(made, Head) else Head(made)
    classifier = start(config, model, on)
    if config.fits == "tau":
        tau, scores = choose_tau(config, on, model)
        scale_classes(classifier[-1], lengths(classifier) ** -tau)
        return Head(classifier, {"tau": tau, "held_out_acsa": scores})
    return Head(classifier, history=fit(config, classifier, on))


def skeleton(
    config: HeadConfig | NamedHead, dictionary: FeatureDictionary, model: models.Phase1Model
) -> nn.Module:
    """A classifier of a method's form, into which the weights of one that was kept are loaded.

    Args:
        config: of the method.
        dictionary: features of phase 1.
        model: the networks of phase 1.
    """
    if not isinstance(config, NamedHead):
        return start(config, model, dictionary)
    copied = own(model.classifier, dictionary)
    build = registry.heads[config.head].facts.get("skeleton")
    made: nn.Module = build(dictionary, copied) if build else copied
    return made


def choose_tau(
    config: HeadConfig, dictionary: FeatureDictionary, model: models.Phase1Model
) -> tuple[float, dict[str, float]]:
    """The τ of `TAUS` with the highest mean class recall on held-out training images.

    Phase 1's classifier was fitted to every training image, so it cannot be asked about them: a
    last layer made anew is trained on the others, as phase 2 trains, and τ is chosen for that one.
    The backbone has seen all images, so held-out recall is higher than it would be on new ones;
    where it is perfect for many τ, the middle one of the best is taken.

    Returns:
        τ, and the held-out mean class recall of every τ.
    """
    held = held_out(dictionary, config.seed)
    refit = config.replace(fits="last_layer", start="new_last_layer")
    classifier = start(refit, model, dictionary)
    fit(refit, classifier, dictionary, (~held).nonzero()[:, 0])
    features, labels = dictionary.features[held].float(), dictionary.labels[held]
    with torch.no_grad():
        logits = classifier(features)
    scores = {}
    for tau in TAUS:
        right = ((logits * lengths(classifier) ** -tau).argmax(1) == labels).double()
        sums = torch.zeros(dictionary.num_classes, device=right.device, dtype=right.dtype)
        there = torch.bincount(labels, minlength=len(sums))
        recall = sums.index_add(0, labels, right)[there > 0] / there[there > 0]
        scores[str(tau)] = recall.mean().item()
    best = [tau for tau in TAUS if scores[str(tau)] == max(scores.values())]
    return best[len(best) // 2], scores


def held_out(dictionary: FeatureDictionary, seed: int, share: float = HELD_OUT) -> Tensor:
    """(R,) bool, the rows of the images that are held out, a share of each class's images.

    A class of one image keeps it for training; one of two or more holds out at least one. All
    rows of an image go together.
    """
    rng = rng_for("cpu", seed, "held out")
    labels, images = dictionary.labels.cpu(), dictionary.image_index.cpu()
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in enumerate(dictionary.class_counts.tolist()):
        own = images[labels == label].unique()
        size = max(1, round(share * count)) if count > 1 else 0
        held |= torch.isin(images, own[torch.randperm(count, generator=rng)[:size]])
    return held.to(dictionary.labels.device)
