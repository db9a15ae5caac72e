"""Phase 2 (§3.3, Eq. 5): learn to mix features, fine-tune the classifier on what is mixed."""

from __future__ import annotations

import copy
import math
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from facog_lab import metrics, models
from facog_lab.config import ConfigError, Device
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import Mix, Oversampler, figures_of, make_optimizer, take_step
from facog_lab.makers import make_oversampler
from facog_lab.rng import rng_for
from facog_lab.runs import checkpoint, store
from facog_lab.runs.divergence import Rewind, bad_figures, bad_gradients
from facog_lab.runs.memory import Step, append, enough_memory, one_thread, pick_device
from facog_lab.settings import (
    Controls,
    LabelSelection,
    OversamplerName,
    controls_at,
    controls_of,
)

OF_CLASSIFIER = ("loss_cls", "entropy", "max_weight", "added")  # what its step measures
ROWS_AT_ONCE = 10_000  # of test features; a layer of all of ImageNet-LT's takes 400 MB
SCORED = ("acsa", "gm", "tail20", "tail20_gm")  # what the history has of every epoch


class Phase2Config(Controls):
    """Settings of phase 2; the defaults are the paper's. Controls may change while it runs."""

    LATER: ClassVar[dict[str, Any]] = {"logit_prior": "none"}

    references: Literal["fresh", "fixed"] = Field(
        "fresh", description="n_s features drawn for every sample, or one set per class"
    )
    generator: Literal["mlp", "attention"] = Field(
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

    Raises:
        loop.TrainingError: naming step and term, if one is NaN or infinite; the loop is then as
            before that step.
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
        self._oversamplers: dict[OversamplerName, Oversampler] = {}
        self._probabilities: dict[LabelSelection, Tensor] = {}
        self.probabilities(config.label_selection)  # says now if there is no class to choose
        images = int(dictionary.class_counts.sum())
        self.steps_per_epoch = math.ceil(images / config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        self.step = 0
        self.scores = self.evaluate()
        self.history: store.History = {"steps": {}, "epochs": {}}
        self.rewind, self._read = Rewind(self), self.controls

    def __iter__(self) -> Phase2:
        return self

    def __next__(self) -> Step:
        if self.step >= self.total_steps:
            raise StopIteration
        self.rewind.keep()
        self._read = self.controls
        row = self._take(self._read)
        if bad := bad_figures(row):
            raise self.rewind.error(bad)
        return self._counted(row, self._read)

    def take_again(self, past: store.History) -> list[str]:
        """See rewind.Loop."""
        recorded = self.step < len(past["steps"].get("n_s", []))
        controls = controls_at(past["steps"], self.step + 1) if recorded else self._read
        row = self._take(controls)
        if culprits := self._culprits(row, controls):
            return culprits
        self._counted(row, controls)
        return []

    def _take(self, controls: Controls) -> dict[str, float]:
        """One step of D, G and the classifier: what was measured."""
        seed, size = self.config.seed, self.config.batch_size
        asked = f"batch_size = {size:,}, n_s = {controls.n_s}, D_E = {self.dictionary.feature_dim}"
        with one_thread(self.device), enough_memory(self.phase, self.step + 1, self.device, asked):
            figures = self.oversampler_of(controls).train_step(
                controls, rng_for(self.device, seed, "oversampler", self.step)
            )
            figures |= self.classifier_step(
                controls, rng_for(self.device, seed, "classifier", self.step)
            )
        self.step += 1
        return dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True))

    def _counted(self, row: dict[str, float], controls: Controls) -> Step:
        """Records a step; at an epoch's end, scores the classifier."""
        epoch, batch = divmod(self.step - 1, self.steps_per_epoch)
        append(self.history["steps"], row | controls.model_dump())
        ends_epoch = batch == self.steps_per_epoch - 1
        if ends_epoch:
            with one_thread(self.device):
                self.scores = self.evaluate()
            scored = {name: getattr(self.scores, name) for name in SCORED}
            append(self.history["epochs"], {"step": self.step} | scored)
        return Step(self.step, epoch, ends_epoch, row)

    def _culprits(self, row: dict[str, float], controls: Controls) -> list[str]:
        """What was no number first in a step: D comes before G, and both before f_cls."""
        parts = dict(getattr(self.oversampler_of(controls), "parts", {}))
        of_d = {name: row[name] for name in row if name.startswith(("loss_d", "score_"))}
        of_classifier = {name: row[name] for name in row if name in OF_CLASSIFIER}
        others = {name: row[name] for name in row if name not in {**of_d, **of_classifier}}
        discriminator = [("discriminator", parts.pop("discriminator", None))]
        stages = (
            bad_figures(of_d),
            bad_gradients(discriminator),
            bad_figures(others),
            bad_gradients(parts.items()),
            bad_figures(of_classifier),
            bad_gradients([("classifier", self.classifier)]),
        )
        return next(filter(None, stages), [])

    def classifier_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of f_cls: cross-entropy on generated features and on as many real ones.

        The real ones are drawn from all rows alike, so head classes stay as frequent as they are.
        The paper's sentence, option "literal", has generated features alone.
        """
        loss, generated = self.classifier_loss(controls, rng)
        if controls.train("classifier"):
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

    def state(self) -> dict[str, Tensor]:
        """What a later session needs to go on from here."""
        tensors = checkpoint.pack(classifier=self.classifier, optimizer=self.optimizer)
        for name, oversampler in self._oversamplers.items():
            tensors |= {f"{name}.{k}": v for k, v in oversampler.state().items()}
        return tensors | {"step": torch.tensor(self.step)}

    def load_state(self, tensors: dict[str, Tensor], history: store.History) -> None:
        """Goes on from what `state` gave."""
        checkpoint.unpack(tensors, classifier=self.classifier, optimizer=self.optimizer)
        self.rewind.forget()
        self._oversamplers = {}
        for name in get_args(OversamplerName):
            own = {
                k.removeprefix(f"{name}."): v
                for k, v in tensors.items()
                if k.startswith(f"{name}.")
            }
            if own:
                self.oversampler_of(self.controls.replace(oversampler=name)).load_state(own)
        self.step = int(tensors["step"])
        self.scores = self.evaluate()
        self.history = history


@torch.no_grad()
def score(
    classifier: nn.Module, dictionary: FeatureDictionary, protocol: Tensor | None = None
) -> metrics.Metrics:
    """What a classifier scores on a dictionary's test features.

    Args:
        classifier: features to logits.
        dictionary: whose test features are used, moved to the classifier's device.
        protocol: (K,) int64, the test images to use; all when None.
    """
    device = next(classifier.parameters()).device
    features, labels = dictionary.test_features.to(device), dictionary.test_labels
    if protocol is not None:
        features, labels = features[protocol.to(device)], labels[protocol.to(labels.device)]
    found = []
    for part in features.split(ROWS_AT_ONCE):
        found.append(classifier(part.float()).argmax(1))
        dictionary.release()
    return metrics.evaluate(torch.cat(found), labels, dictionary.class_counts)
