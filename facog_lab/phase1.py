"""Phase 1 (§3.2, Eq. 2): backbone, classifier and projector from cross-entropy and L_sc.

The loop takes steps and reports them. Whoever saves it, resumes it, watches for NaN or runs it in
several processes does so from outside (`runs`); other objectives than the paper's are in `rivals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import losses, models, registry
from facog_lab.config import Device
from facog_lab.dataset import LongTailed
from facog_lab.device import check_compiler, fast_bf16, faster_format, pick_device
from facog_lab.metrics import History, Step, append
from facog_lab.registry import register_objective
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import Phase1Config
from facog_lab.views import make_views


class Terms(NamedTuple):
    """A batch's loss, its two terms without their λ (0 for one there is not), (B, C) logits."""

    loss: Tensor
    terms: tuple[Tensor, Tensor]
    logits: Tensor


@register_objective("facog", label="FACoG", family="FACoG", about="cross-entropy and L_sc, Eq. 2")
class Objective(nn.Module):
    """L_ph1 = λ_ce L_ce + λ_sc L_sc (Eq. 2); what a rival has for the two terms is derived from it.

    A module of the (C,) class counts and D, since some rivals learn or remember something.
    """

    contrastive = True  # whether the projector learns; if not, no views are made for it
    detach_features = False  # whether the classifier's gradient stops at the features
    class_weights: Tensor

    def __init__(self, config: Phase1Config, class_counts: Tensor, feature_dim: int) -> None:
        super().__init__()
        self.config = config
        weights = losses.effective_number_weights(class_counts, config.effective_number_beta)
        # They follow from the data, so they are no part of a run's state.
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def recipes(self) -> list[str]:
        """How the views of an image are made: for the classifier first, two for the contrast."""
        regular = self.config.augmentation
        if not self.contrastive:
            return [regular]
        if self.config.views == 2:
            return [regular, regular]
        return ["simaugment"] * 2 if self.detach_features else [regular, "simaugment", "simaugment"]

    def forward(
        self, model: models.Phase1Model, features: Tensor, labels: Tensor, epoch: int,
        rng: torch.Generator,
    ) -> Terms:  # fmt: skip
        """The loss of a batch in an epoch, from 0; `rng` is for contrasts that draw.

        Args:
            model: its classifier and projector are used.
            features: (V, B, D) float32, of as many views as there are recipes.
            labels: (B,) int64.
            epoch: class weights and curriculum depend on it.
            rng: on the device of the features.
        """
        # Two views serve both losses; of three, the first serves L_ce and the others L_sc.
        for_ce, for_sc = (features[:1], features[1:]) if len(features) == 3 else (features,) * 2
        if self.detach_features:
            for_ce = for_ce.detach()
        logits = model.classifier(for_ce)  # (1 or 2, B, C)
        ce = self.classification(logits.flatten(0, 1), labels.repeat(len(logits)), epoch)
        lambda_ce, lambda_sc = self.lambdas(epoch)
        loss, sc = lambda_ce * ce, torch.zeros_like(ce)
        if self.contrastive:
            sc = self.contrast(model, model.embed(for_sc.flatten(0, 1)), labels.repeat(2), rng)
            loss = loss + lambda_sc * sc
        return Terms(loss, (ce, sc), logits[0].detach())

    def lambdas(self, epoch: int) -> tuple[float, float]:
        """λ_ce and λ_sc in an epoch, from 0."""
        return self.config.lambda_ce, self.config.lambda_sc

    def classification(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """L_ce of (B, C) logits; with "Rew.", weighted by effective numbers in the last 20%."""
        return F.cross_entropy(logits, labels, self.weights(epoch))

    def weights(self, epoch: int) -> Tensor | None:
        """(C,) the class weights of an epoch; None for none."""
        late = epoch >= math.ceil(0.8 * self.config.epochs)
        how = self.config.reweighting
        return self.class_weights if how == "cb" or (how == "drw" and late) else None

    def contrast(
        self, model: models.Phase1Model, embeddings: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """L_sc of (2B, D_P) embeddings of length 1."""
        return losses.supervised_contrastive(embeddings, labels, self.config.temperature)

    def start_epoch(self) -> None:
        """Called before each epoch, for objectives that remember."""

    @staticmethod
    def prepare(classifier: nn.Sequential) -> None:
        """Makes a new classifier what the objective needs."""


class World(NamedTuple):
    """How processes share a training; the defaults are those of one process, `runs` has others."""

    # this process's part of a batch's (B,) index
    share: Callable[[Tensor], Tensor] = lambda index: index
    # from its (V, B', D) features to the (V, B, D) of the whole batch of B
    gather: Callable[[Tensor, int], Tensor] = lambda own, total: own
    # the network whose gradients are those of the whole batch
    wrap: Callable[[Network], nn.Module] = lambda network: network


class Network(nn.Module):
    """From the views of this process's part of a batch to the loss of the whole batch."""

    def __init__(self, model: models.Phase1Model, objective: Objective, world: World) -> None:
        super().__init__()
        self.model, self.objective, self.world = model, objective, world

    def forward(
        self, images: Tensor, views: int, labels: Tensor, epoch: int, rng: torch.Generator
    ) -> Terms:
        """The loss, from (V·B', channels, H, W) images, V views one after the other."""
        device = images.device
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device)):
            features = self.model.backbone(images)
        features = features.to(images.dtype).unflatten(0, (views, -1))  # losses in float32
        features = self.world.gather(features, len(labels))  # (V, B, D)
        return self.objective(self.model, features, labels, epoch, rng)


ALONE = World()


class Phase1:
    """The phase-1 loop: an iterator that takes one step of SGD at every `next`.

    Randomness depends on (seed, epoch, image) alone: a loop that is given the state of an epoch's
    end resumes as the one that made it, and several processes agree with one up to the last digits.

    Args:
        config: its settings.
        data: the long-tailed training images.
        device: where to train; the images live there too if they fit in memory at all.
        world: the processes that share the training.

    Attributes:
        model: the three networks.
        measured: (3,) the loss and its two terms of the last step, on the device.
        history: table "epochs" with the mean losses, accuracy, mean class recall, learning rate.
        batch_views: makes the views of a batch, by epoch and batch; `runs` makes some ahead.
    """

    phase = "phase 1"

    def __init__(
        self, config: Phase1Config, data: LongTailed, device: Device = "auto", world: World = ALONE
    ) -> None:
        self.config, self.data, self.world = config, data, world
        self.device = pick_device(device)
        kind: Any = registry.objectives[config.objective].make
        with seeded(config.seed, "phase1", "weights"):
            shape = config.architecture, data.channels, config.width, config.embedding_dim
            backbone = models.backbone(*shape)
            self.model = models.Phase1Model(backbone, data.num_classes, config.projection_dim)
            kind.prepare(self.model.classifier)
        self.feature_dim = int(backbone.feature_dim)  # type: ignore[arg-type]
        self.objective = kind(config, data.class_counts, self.feature_dim).to(self.device)
        self.memory_format = faster_format(config.crop_size or data.side)
        self.model.to(self.device).to(memory_format=self.memory_format)
        if config.torch_compile:
            check_compiler(self.device)
            backbone.compile()  # in place, so that its state keeps its names
        self.network = self.world.wrap(Network(self.model, self.objective, self.world))
        learned = [*self.model.parameters(), *self.objective.parameters()]
        how: Any = {"weight_decay": config.weight_decay, "fused": self.device.type == "cuda"}
        self.optimizer = torch.optim.SGD(learned, config.lr, config.momentum, **how)
        images = data.images
        self.images = images.to(self.device) if isinstance(images, Tensor) else images
        self.labels = data.labels.to(self.device)
        # An epoch is cut into batches of nearly equal size, so that none is too small for its
        # contrasts and its batch norm, and every image is seen once.
        self.steps_per_epoch = math.ceil(len(self.labels) / config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        self.batch_views: Callable[[int, int], Tensor] = self._views_of
        self.step = 0
        self._order: tuple[int, tuple[Tensor, ...]] = (-1, ())  # an epoch and its batches
        self.history: History = {"epochs": {}}
        self._start_epoch()

    def __iter__(self) -> Phase1:
        return self

    def __next__(self) -> Step:
        if self.step >= self.total_steps:
            raise StopIteration
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        if batch == 0:
            self._start_epoch()
        labels = self.labels[self.order[batch]]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step, self.steps_per_epoch)
        self.model.train()
        loss, terms, logits = self.loss(self.batch_views(epoch, batch), labels, epoch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        # Added up on the device while the epoch lasts: to read it is to wait.
        self.measured = torch.stack([loss, *terms]).detach()
        self.sums += self.measured * len(labels)
        self.right.index_add_(0, labels, (logits.argmax(1) == labels).float())
        self.step += 1
        ends_epoch = batch == self.steps_per_epoch - 1
        return Step(self.step, epoch, ends_epoch, self._end_epoch() if ends_epoch else {})

    def loss(self, views: Tensor, labels: Tensor, epoch: int) -> Terms:
        """L_ph1 (Eq. 2), or a rival's, of (V, B', channels, H, W) views and (B,) labels."""
        rng = rng_for(self.device, self.config.seed, "objective", self.step)
        images = views.flatten(0, 1).contiguous(memory_format=self.memory_format)
        return self.network(images, len(views), labels, epoch, rng)

    def views(self, index: Tensor, epoch: int, images: Tensor | None = None) -> Tensor:
        """(V, B, channels, H, W) normalised float32 views of the images at (B,) `index`.

        `images` are these images, where they are decoded already.
        """
        images = self.images[index] if images is None else images
        images = images.to(self.device, non_blocking=True)
        size = self.config.crop_size or None
        scale: Any = {"mean": self.data.mean, "std": self.data.std}
        of_what: Any = {"seed": self.config.seed, "epoch": epoch, "index": index, "size": size}
        recipes = enumerate(self.objective.recipes)
        return torch.stack([make_views(images, r, view=v, **of_what, **scale) for v, r in recipes])

    def _views_of(self, epoch: int, batch: int) -> Tensor:
        return self.views(self.world.share(self.order[batch]), epoch)

    def parts(self, saved: Any = None) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """The state at an epoch's end, apart from step and history; `saved` changes nothing."""
        return {"model": self.model, "objective": self.objective, "optimizer": self.optimizer}

    def resumed(self) -> None:
        """Called after another state was put into the parts; all else follows from the step."""

    @property
    def order(self) -> tuple[Tensor, ...]:
        """The images of each batch of the present epoch, wherever the loop's state came from."""
        epoch = min(self.step, self.total_steps - 1) // self.steps_per_epoch
        if self._order[0] != epoch:
            self._order = epoch, self.batches(epoch)
        return self._order[1]

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """The images of each batch of an epoch, from 0."""
        rng = rng_for("cpu", self.config.seed, "order", epoch)
        order = torch.randperm(len(self.labels), generator=rng)
        return order.to(self.device).tensor_split(self.steps_per_epoch)

    def _start_epoch(self) -> None:
        self.objective.start_epoch()
        self.sums = torch.zeros(3, device=self.device)
        self.right = torch.zeros(self.data.num_classes, device=self.device)

    def _end_epoch(self) -> dict[str, float]:
        total, ce, sc = (self.sums / len(self.labels)).tolist()
        recall = self.right.cpu() / self.data.class_counts
        top1 = float(self.right.sum()) / len(self.labels)
        figures = {"loss": total, "ce": ce, "sc": sc, "train_top1": top1}
        figures |= {"train_acsa": recall.mean().item(), "lr": self.optimizer.param_groups[0]["lr"]}
        append(self.history["epochs"], figures)
        return figures


def learning_rate(config: Phase1Config, step: int, steps_per_epoch: int) -> float:
    """Learning rate of a step (from 0): linear warm-up, then ×0.1 at 60% and 80%, or cosine."""
    epoch = step / steps_per_epoch
    if epoch < config.warmup_epochs:
        return config.lr * (step + 1) / (config.warmup_epochs * steps_per_epoch)
    if config.schedule == "cosine":
        after = (epoch - config.warmup_epochs) / max(1, config.epochs - config.warmup_epochs)
        return config.lr * (1 + math.cos(math.pi * after)) / 2
    done = math.floor(epoch) / config.epochs
    return config.lr * (0.01 if done >= 0.8 else 0.1 if done >= 0.6 else 1.0)
