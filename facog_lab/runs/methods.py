"""Rivals that re-weight, re-sample or re-scale, run and stored: on phase-1 features, or end to end.

methods.run(lab, "ldam_drw", "feature")  # a new head on the experiment's own phase 1
methods.run(lab, "ldam_drw", "network")  # a phase 1 that minimises it from the start
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

from torch import nn

from facog_lab import metrics, phase2, registry
from facog_lab.config import ConfigError, Device, unknown
from facog_lab.device import pick_device
from facog_lab.rivals import networks
from facog_lab.rivals.heads import free_heads, head_config, skeleton, train_head
from facog_lab.runs.experiment import Experiment
from facog_lab.runs.stages import Lab, Source
from facog_lab.runs.store import Run, StoreError

Level = Literal["feature", "network"]


class Result(NamedTuple):
    """The result of a rival.

    Attributes:
        scores: on the chosen test images.
        level: "feature" if it is a new head on the experiment's phase 1, "network" if it was
            trained end to end.
        chosen: what was chosen on held-out training features, see `head_loop.Head`.
        seconds: of its own training, phase 1 included at level "network".
    """

    scores: metrics.Metrics
    level: Level
    chosen: dict[str, Any]
    seconds: float


class Trained(NamedTuple):
    """A rival's classifier.

    Attributes:
        classifier: features to logits.
        chosen: what was chosen on held-out training features, see `head_loop.Head`.
        seconds: of its own training.
    """

    classifier: nn.Module
    chosen: dict[str, Any]
    seconds: float


def run(lab: Lab, name: str, level: Level = "feature", protocol: str = "full") -> Result:
    """A rival's result; what is missing is trained and kept, as every stage is.

    Args:
        lab: the experiment that it is compared within.
        name: of a registered head, or network.
        level: on the features of the experiment's phase 1, or through the whole network.
        protocol: the test protocol, a key of the data set's `test_protocols`.

    Raises:
        ConfigError: for a name that the level does not have, or an unknown protocol.
    """
    chosen = lab.test_images(protocol)
    known = registry.heads if level == "feature" else registry.networks
    if name not in known:
        raise ConfigError(unknown(name, known, f"rival at level {level!r}"))
    if level == "network":
        given, trained = network(lab, name)
    else:
        given, phase2_config = lab.source, lab.settings.phase2
        trained = head_on(given, name, phase2_config.epochs, phase2_config.seed, lab.device)
    scores = phase2.score(trained.classifier, given.features, chosen)
    return Result(scores, level, trained.chosen, trained.seconds)


def network(lab: Lab, name: str) -> tuple[Source, Trained]:
    """A rival's own features and its classifier on them, trained end to end.

    Args:
        lab: the experiment that it is compared within.
        name: of a registered network.
    """
    own = Lab(with_network(lab.settings, name), lab.device)
    given, head = own.source, registry.networks[name].facts["head"]
    if head is None:
        return given, Trained(given.model.classifier, {}, own.phase1.seconds)
    config = lab.settings.phase2
    after = head_on(given, head, config.epochs, config.seed, lab.device)
    return given, after._replace(seconds=own.phase1.seconds + after.seconds)


def with_network(settings: Experiment, name: str) -> Experiment:
    """The experiment whose phase 1 is a rival's network.

    It trains for as many epochs as phase 1 and phase 2 together, since it has no phase 2.
    """
    changes = dict(registry.networks[name].facts["phase1"])
    if settings.data.dataset == "imagenet_lt":
        changes |= networks.IMAGENET.get(name, {})
    epochs = settings.phase1.epochs + settings.phase2.epochs
    changed = settings.phase1.replace(**changes, epochs=epochs)
    return Experiment(settings.data, changed, settings.dictionary, settings.phase2)


def head_on(given: Source, name: str, epochs: int, seed: int, device: Device = "auto") -> Trained:
    """A head on given features, trained if it is not stored yet; free ones are computed.

    Args:
        given: the features, and the networks that made them.
        name: of a registered head.
        epochs: of phase 2; methods with a number of their own keep it.
        seed: of new layers and all draws.
        device: where to train what is missing.

    Raises:
        StoreError: if what is kept is no such head.
    """
    config = head_config(name, epochs=epochs, seed=seed)
    if name in free_heads():
        began = time.monotonic()
        head = train_head(config, given.features, given.model, device)
        return Trained(head.classifier, head.chosen, time.monotonic() - began)
    run = Run(given.dataset, "head", config, given.key)

    def kept() -> Trained | None:
        if (saved := run.load()) is None:
            return None
        classifier = skeleton(config, given.features, given.model)
        try:
            classifier.load_state_dict(saved.tensors)
            return Trained(classifier, dict(saved.record["chosen"]), float(saved.record["seconds"]))
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            raise StoreError(
                f"{run.folder} holds no head {name!r} of these features ({error}). Remove the "
                "folder to make it again."
            ) from None

    if found := kept():
        return found
    with run.making():
        if found := kept():  # another notebook has made it meanwhile
            return found
        began = time.monotonic()
        trained = train_head(config, given.features, given.model, device)
        seconds = time.monotonic() - began
        record = {
            "split_hash": given.split_hash,
            "method": name,
            "chosen": trained.chosen,
            "seconds": seconds,
            "device": str(pick_device(device)),
        }
        run.save(trained.classifier.state_dict(), trained.history, record, done=True)
    return Trained(trained.classifier, trained.chosen, seconds)
