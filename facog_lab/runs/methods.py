"""Rivals that re-weight, re-sample or re-scale, run and kept: on phase-1 features, or as a network.

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
from facog_lab.rivals.heads import head_config, start, train_head
from facog_lab.rivals.networks import with_network
from facog_lab.runs.stages import Lab, Source
from facog_lab.runs.store import Run, StoreError

Level = Literal["feature", "network"]


class Result(NamedTuple):
    """What a rival came to.

    Attributes:
        scores: on the chosen test images.
        level: "feature" if it is a new head on the experiment's phase 1, "network" if it was
            trained from the pixels on.
        chosen: what was chosen on held-out training features, see `heads.Head`.
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
        chosen: what was chosen on held-out training features, see `heads.Head`.
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
    """A rival's own features and its classifier on them, trained from the pixels on.

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


def head_on(given: Source, name: str, epochs: int, seed: int, device: Device = "auto") -> Trained:
    """A head on features that are at hand, trained if it is not yet kept.

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
    run = Run(given.dataset, "head", config, given.key)

    def kept() -> Trained | None:
        if (saved := run.load()) is None:
            return None
        classifier = start(config, given.model, given.features)
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
