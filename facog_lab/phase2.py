"""Phase 2 (§3.3, Eq. 5): learn to mix features, fine-tune the classifier on what is mixed."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import metrics, models, registry
from facog_lab.config import ConfigError, Device
from facog_lab.device import one_thread, pick_device
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import (
    Mix,
    Oversampler,
    figures_of,
    make_optimizer,
    make_oversampler,
    take_step,
)
from facog_lab.metrics import Step, append
from facog_lab.rng import rng_for
from facog_lab.settings import UPDATES, Controls, LabelSelection, Phase2Config, controls_of

ROWS_AT_ONCE = 10_000  # of test features; a layer of all of ImageNet-LT's takes 400 MB
SCORED = ("acsa", "gm", "tail20", "tail20_gm")  # what the history has of every epoch


def label_probabilities(class_counts: Tensor, selection: LabelSelection) -> Tensor:
    """How often each class is generated for the classifier (§3.4, label selection).

    Args:
        class_counts: (C,) training images of each class.
        selection: "gamo" is p_c ∝ N_max - N_c (Mullick et al. 2019; the head class gets none),
            "inverse" is ∝ 1/N_c, "uniform" is 1/C, "as_found" is ∝ N_c.

    Returns:
        (C,) float64, summing to 1.

    Raises:
        ConfigError: under "gamo" if all classes are equally large, since none would be chosen.
    """
    counts = class_counts.double()
    if selection == "gamo":
        weights = counts.max() - counts
        if not weights.any():
            raise ConfigError(
                f"all {len(counts)} classes have {int(counts[0])} images, so label_selection = "
                "'gamo' chooses none of them: set it to 'uniform'."
            )
    else:
        power = {"inverse": -1, "uniform": 0, "as_found": 1}[selection]
        weights = counts**power
    return weights / weights.sum()


class Phase2:
    """The phase-2 loop: an iterator; every `next` trains D, G and the classifier once.

    `controls` may be replaced between steps, by another thread too: a step reads it once, and
    records it with its losses. An oversampler keeps what it learned while another is used.
    Randomness depends on (seed, step) alone and PyTorch's global generator is not touched. The
    classifier's draws do not depend on the oversampler, so all oversamplers are compared on the
    same labels, the same real batches and the same rows to mix.

    Args:
        config: its settings.
        dictionary: features of phase 1.
        model: the networks of phase 1; the classifier is copied before it is fine-tuned.
        device: where to train.

    Attributes:
        classifier: f_cls, fine-tuned.
        controls: what the next step will read.
        scores: of the classifier at the end of the last epoch.
        history: table "steps" with every loss, the entropy of w and the controls; table "epochs"
            with what the classifier scores on the full test set.
    """

    phase = "phase 2"

    def __init__(
        self,
        config: Phase2Config,
        dictionary: FeatureDictionary,
        model: models.Phase1Model,
        device: Device = "auto",
    ) -> None:
        self.config = config
        self.device = pick_device(device)
        self.dictionary = dictionary.to(self.device)
        self.classifier = copy.deepcopy(model.classifier).to(self.device).requires_grad_(True)
        self.optimizer = make_optimizer(self.classifier, "sgd")
        self.projector = model.projector
        self.controls = controls_of(config)
        self._oversamplers: dict[str, Oversampler] = {}
        self._probabilities: dict[LabelSelection, Tensor] = {}
        self._read: tuple[Controls | None, dict[str, Any]] = (None, {})  # by the last step
        self.probabilities(config.label_selection)  # says now if there is no class to choose
        images = int(dictionary.class_counts.sum())
        self.steps_per_epoch = math.ceil(images / config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        self.step = 0
        self.scores = self.evaluate()
        self.history: metrics.History = {"steps": {}, "epochs": {}}

    def __iter__(self) -> Phase2:
        return self

    def __next__(self) -> Step:
        if self.step >= self.total_steps:
            raise StopIteration
        return self.take(self.controls)

    def take(self, controls: Controls) -> Step:
        """One step of D, G and the classifier; at an epoch's end the classifier is scored."""
        seed, (epoch, batch) = self.config.seed, divmod(self.step, self.steps_per_epoch)
        with one_thread(self.device):
            figures = self.oversampler_of(controls).train_step(
                controls, rng_for(self.device, seed, "oversampler", self.step)
            )
            figures |= self.classifier_step(
                controls, rng_for(self.device, seed, "classifier", self.step)
            )
            self.step += 1
            row = dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True))
            if controls is not self._read[0]:
                self._read = controls, controls.model_dump()
            append(self.history["steps"], row | self._read[1])
            ends_epoch = batch == self.steps_per_epoch - 1
            if ends_epoch:
                self.scores = self.evaluate()
                scored = {name: getattr(self.scores, name) for name in SCORED}
                append(self.history["epochs"], {"step": self.step} | scored)
        return Step(self.step, epoch, ends_epoch, row)

    def classifier_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of f_cls: cross-entropy on generated features and on as many real ones.

        The real ones are drawn uniformly from all rows, so head classes stay as frequent as they
        are. The option "literal", as the paper's text reads, uses generated features only.
        """
        loss, generated = self.classifier_loss(controls, rng)
        if "classifier" in UPDATES[controls.trains]:
            take_step(self.optimizer, loss, controls.lr_classifier)
        return {"loss_cls": loss.detach()} | figures_of(generated)

    def classifier_loss(self, controls: Controls, rng: torch.Generator) -> tuple[Tensor, Mix]:
        """L_cls of a batch, and the features that were generated for it."""
        size = self.config.batch_size
        chances = self.probabilities(controls.label_selection)
        labels = torch.multinomial(chances, size, replacement=True, generator=rng)
        real = torch.randint(
            len(self.dictionary.labels), (size,), generator=rng, device=self.device
        )
        with torch.no_grad():
            generated = self.oversampler_of(controls).generate(labels, controls, rng)
        features = generated.features
        if self.config.classifier_batches == "mixed":
            features = torch.cat([features, self.dictionary.gather(real)])
            labels = torch.cat([labels, self.dictionary.labels[real]])
        logits = self.classifier(features)
        if self.config.logit_prior == "seen":
            logits = logits + self.seen(controls).log().to(logits.dtype)
        return F.cross_entropy(logits, labels), generated

    def seen(self, controls: Controls) -> Tensor:
        """(C,) float64, how often the classifier sees each class, generated or real; sums to 1."""
        generated = self.probabilities(controls.label_selection)
        if self.config.classifier_batches == "literal":
            return generated
        rows = self.dictionary.starts.diff().double()
        return (generated + rows / rows.sum()) / 2

    @property
    def oversampler(self) -> Oversampler:
        """What makes features at present."""
        return self.oversampler_of(self.controls)

    def oversampler_of(self, controls: Controls) -> Oversampler:
        """The oversampler that controls name, made when it is first asked for."""
        name = controls.oversampler
        if name not in self._oversamplers:
            config = self.config.replace(oversampler=name)
            made = make_oversampler(config, self.dictionary, self.projector, self.classifier)
            self._oversamplers[name] = made
        return self._oversamplers[name]

    def probabilities(self, selection: LabelSelection) -> Tensor:
        """(C,) how often each class is generated for the classifier, see label_probabilities."""
        if selection not in self._probabilities:
            counts = self.dictionary.class_counts
            self._probabilities[selection] = label_probabilities(counts, selection)
        return self._probabilities[selection]

    def evaluate(self, protocol: Tensor | None = None) -> metrics.Metrics:
        """What the classifier scores on the test features, all or those of a protocol."""
        return score(self.classifier, self.dictionary, protocol)

    def parts(
        self, saved: Iterable[str] | None = None
    ) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a later session needs to resume from here, apart from the step and the history.

        Args:
            saved: names of tensors that will be put into the parts: the oversamplers that they
                belong to are made, and no others.
        """
        if saved is not None:
            self._oversamplers = {}
            for name in dict.fromkeys(tensor.split(".")[0] for tensor in saved):
                if name in registry.oversamplers:
                    self.oversampler_of(self.controls.replace(oversampler=name))
        own: dict[str, nn.Module | torch.optim.Optimizer] = {
            "classifier": self.classifier, "optimizer": self.optimizer
        }  # fmt: skip
        for name, oversampler in self._oversamplers.items():
            own |= {f"{name}.{part}": module for part, module in oversampler.parts.items()}
        return own

    def resumed(self) -> None:
        """Called after another state was put into the parts."""
        self.scores = self.evaluate()


class Predicted(NamedTuple):
    """What a classifier makes of test images.

    Attributes:
        classes: (M,) int64, those with the largest logits.
        confidences: (M,) their softmax probabilities.
        labels: (M,) int64, the true classes.
    """

    classes: Tensor
    confidences: Tensor
    labels: Tensor


@torch.no_grad()
def predict(
    classifier: nn.Module, dictionary: FeatureDictionary, protocol: Tensor | None = None
) -> Predicted:
    """What a classifier makes of a dictionary's test features, on the CPU.

    Args:
        classifier: features to logits.
        dictionary: whose test features are used, moved to the classifier's device.
        protocol: (K,) int64, the test images to use; all when None.
    """
    tensors = itertools.chain(classifier.parameters(), classifier.buffers())
    device = next((tensor.device for tensor in tensors), dictionary.test_features.device)
    features, labels = dictionary.test_features.to(device), dictionary.test_labels
    if protocol is not None:
        features, labels = features[protocol.to(device)], labels[protocol.to(labels.device)]
    found, sure = [], []
    for part in features.split(ROWS_AT_ONCE):
        logits = classifier(part.float())
        found.append(logits.argmax(1))
        sure.append((logits.amax(1) - logits.logsumexp(1)).exp())
        if dictionary.release:
            dictionary.release()
    return Predicted(torch.cat(found).cpu(), torch.cat(sure).cpu(), labels.cpu())


def score(
    classifier: nn.Module, dictionary: FeatureDictionary, protocol: Tensor | None = None
) -> metrics.Metrics:
    """What a classifier scores on a dictionary's test features, see `predict`."""
    found = predict(classifier, dictionary, protocol)
    counts = dictionary.class_counts
    return metrics.evaluate(found.classes, found.labels, counts, found.confidences)
