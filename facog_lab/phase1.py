"""Phase 1 (§3.2, Eq. 2): backbone, classifier and projector from cross-entropy and L_sc.

Or from a rival's objective; everything else stays the same.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from facog_lab import models
from facog_lab.config import ConfigError, Device
from facog_lab.data.prefetch import Prefetch, workers_for
from facog_lab.dataset import ImageFiles, LongTailed
from facog_lab.rivals.losses import LossConfig
from facog_lab.rivals.objectives import Objective, ObjectiveName, Terms, classifier_for
from facog_lab.rng import rng_for, seeded
from facog_lab.runs import checkpoint, distributed, store
from facog_lab.runs.divergence import Rewind, bad_figures, bad_gradients
from facog_lab.runs.environment import check_compiler, fast_bf16, faster_format, keep_freed_memory
from facog_lab.runs.memory import Step, append, enough_memory, pick_device
from facog_lab.settings import MIN_TAU
from facog_lab.views import make_views

Recipe = Literal[
    "clean", "crop", "crop_flip", "standard",
    "autoaugment_cutout", "imagenet", "imagenet_autoaugment",
]  # fmt: skip

AHEAD = 8  # steps whose views a GPU makes at once
PIXELS_AHEAD = 2**25  # but no more values than this for one view of each image


class Phase1Config(LossConfig):
    """Settings of phase 1; the defaults are the paper's for CIFAR."""

    LATER: ClassVar[dict[str, Any]] = {
        "objective": "facog", "focal_gamma": 1.0, "lade_alpha": 0.1, "lade_lambda": 0.01,
        "torch_compile": False,
    }  # fmt: skip

    architecture: Literal["small", "resnet32", "resnet34", "resnext50"] = Field(
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
    augmentation: Recipe = Field("autoaugment_cutout", description="the regular view")
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
    objective: ObjectiveName = Field("facog", description="what is minimised: Eq. 2, or a rival's")
    torch_compile: bool = Field(
        False,
        description="compile the backbone: 10 to 60 s at first, then faster steps; figures differ "
        "in last digits",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of initial weights, order and views")

    @model_validator(mode="after")
    def _widths_the_network_has(self) -> Phase1Config:
        fixed = self.architecture in ("resnet34", "resnext50")
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


class Network(nn.Module):
    """From this process's share of the views to the loss of the whole batch, see `processes`."""

    def __init__(self, model: models.Phase1Model, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(
        self, images: Tensor, views: int, labels: Tensor, epoch: int, rng: torch.Generator
    ) -> Terms:
        """The loss of a batch.

        Args:
            images: (V·B', channels, H, W), the V views of the share, one after the other.
            views: V.
            labels: (B,) int64, of the whole batch.
            epoch: see objectives.Objective.
            rng: likewise.
        """
        device = images.device
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device)):
            features = self.model.backbone(images)
        features = features.to(images.dtype).unflatten(0, (views, -1))  # losses in float32
        features = distributed.gather(features, len(labels))  # (V, B, D)
        return self.objective(self.model, features, labels, epoch, rng)


class Phase1:
    """The phase-1 loop: an iterator that takes one step of SGD at every `next`.

    Randomness depends on (seed, epoch, image) alone, so a loop that is given the state of an
    epoch's end goes on as the one that made it would have. So it does with any number of
    processes, each of which has such a loop: what they come to differs in last digits.

    Args:
        config: its settings.
        data: the long-tailed training images.
        device: where to train; the images live there too if they fit in memory at all.

    Attributes:
        model: the three networks.
        history: table "epochs" with the mean losses, accuracy, mean class recall, learning rate.

    Raises:
        loop.TrainingError: at the end of an epoch in which something became NaN or infinite; the
            loop is then as before that step.
        ConfigError: if there are more processes than images in a batch, or nothing to compile with.
    """

    phase = "phase 1"

    def __init__(self, config: Phase1Config, data: LongTailed, device: Device = "auto") -> None:
        self.config, self.data = config, data
        self.device = pick_device(device)
        with seeded(config.seed, "phase1", "weights"):
            backbone = models.backbone(
                config.architecture, data.channels, config.width, config.embedding_dim
            )
            self.model = models.Phase1Model(backbone, data.num_classes, config.projection_dim)
            classifier_for(config.objective, self.model.classifier)
        self.feature_dim = int(backbone.feature_dim)  # type: ignore[arg-type]
        self.objective = Objective(config, data.class_counts, self.feature_dim).to(self.device)
        self.memory_format = faster_format(config.crop_size or data.side)
        self.model.to(self.device).to(memory_format=self.memory_format)
        if config.torch_compile:
            check_compiler(self.device)
            backbone.compile()  # in place, so that its state keeps its names
        self.network: nn.Module = Network(self.model, self.objective)
        if distributed.count() > 1:
            distributed.as_one(backbone)
            contrasts = self.objective.parts.contrast is not None  # else the projector is idle
            self.network = distributed.averaged(self.network, all_used=contrasts)
        self.optimizer = torch.optim.SGD(
            [*self.model.parameters(), *self.objective.parameters()],
            config.lr,
            config.momentum,
            weight_decay=config.weight_decay,
            fused=self.device.type == "cuda",
        )
        self.images = data.images
        if isinstance(data.images, Tensor):
            self.images = data.images.to(self.device)
        self.labels = data.labels.to(self.device)
        # An epoch is cut into batches of nearly equal size, so that none is too small for its
        # contrasts and its batch norm, and every image is seen once.
        self.steps_per_epoch = math.ceil(len(self.labels) / config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        if len(self.labels) // self.steps_per_epoch < distributed.count():
            raise ConfigError(
                f"batch_size = {config.batch_size}: with {distributed.count()} processes a batch "
                f"must have as many images at least. Take fewer processes, or a larger batch."
            )
        # A GPU waits for the CPU to launch the many small operations that make views: launch them
        # for several steps at once. On a CPU the views of one step fit its caches better.
        pixels = data.channels * (config.crop_size or data.side) ** 2
        self.ahead = 1
        if self.device.type == "cuda" and isinstance(data.images, Tensor):
            self.ahead = max(1, min(AHEAD, PIXELS_AHEAD // (config.batch_size * pixels)))
        self._made: dict[tuple[int, int], Tensor] = {}  # views, by epoch and batch
        self.decoded = self._prefetch(data.images) if isinstance(data.images, ImageFiles) else None
        self.step = 0
        self._cut: tuple[int, tuple[Tensor, ...]] = (-1, ())  # an epoch and its batches
        self.history: store.History = {"epochs": {}}
        self.rewind = Rewind(self)
        self._start_epoch()

    def __iter__(self) -> Phase1:
        return self

    def __next__(self) -> Step:
        if self.step >= self.total_steps:
            raise StopIteration
        if self.step % self.steps_per_epoch == 0:
            self._start_epoch()
            self.rewind.keep()
        return self._counted(*self._take())

    def take_again(self, past: store.History) -> list[str]:
        """See rewind.Loop."""
        if self.step % self.steps_per_epoch == 0:
            self._start_epoch()
        taken = self._take()
        measured = dict(zip(("loss", "ce", "sc"), taken[0].tolist(), strict=True))
        culprits = bad_figures(measured) or bad_gradients(self._parts().items())
        if not culprits:
            self._counted(*taken)
        return culprits

    def _take(self) -> tuple[Tensor, Tensor, Tensor]:
        """One step of SGD: (3,) the loss and its terms, the labels, and (B, C) logits."""
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        labels = self.labels[self.batches[batch]]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step, self.steps_per_epoch)

        asked = (
            f"batch_size = {len(labels):,}, views = {self.config.views}, side = {self.data.side}"
        )
        with enough_memory(self.phase, self.step + 1, self.device, asked):
            measured, logits = self._descend(batch, labels, epoch)
        return measured, labels, logits

    def _descend(self, batch: int, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        self.model.train()
        loss, terms, logits = self.loss(self._views_of(batch, epoch), labels, epoch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return torch.stack([loss, *terms]).detach(), logits.detach()

    def _counted(self, measured: Tensor, labels: Tensor, logits: Tensor) -> Step:
        """Adds up what a step gave, on the device while the epoch lasts: to read it is to wait."""
        self.sums += measured * len(labels)
        self.right.index_add_(0, labels, (logits.argmax(1) == labels).float())
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        self.step += 1
        ends_epoch = batch == self.steps_per_epoch - 1
        if batch == 0 or self.step == self.total_steps:  # after a step for which there was enough
            keep_freed_memory(self.device.type == "cpu" and self.step < self.total_steps)
        return Step(self.step, epoch, ends_epoch, self._end_epoch() if ends_epoch else {})

    def loss(self, views: Tensor, labels: Tensor, epoch: int) -> Terms:
        """L_ph1 = λ_ce L_ce + λ_sc L_sc (Eq. 2) of one batch, or what the objective has for it.

        Args:
            views: (V, B', channels, H, W) normalised images, as `Phase1.views` makes them, of this
                process's share of the batch.
            labels: (B,) int64.
            epoch: from 0; deferred re-weighting depends on it.

        Returns:
            The loss, its two terms without their λ, and the (B, C) logits of the first view.
        """
        rng = rng_for(self.device, self.config.seed, "objective", self.step)
        images = views.flatten(0, 1).contiguous(memory_format=self.memory_format)
        return self.network(images, len(views), labels, epoch, rng)

    def views(self, index: Tensor, epoch: int, images: Tensor | None = None) -> Tensor:
        """(V, B, channels, H, W) normalised float32 views of the images at `index`.

        Args:
            index: (B,) int64.
            epoch: from 0.
            images: these images, where they are decoded.
        """
        images = self.images[index] if images is None else images
        images = images.to(self.device, non_blocking=True)
        made = [
            make_views(
                images,
                recipe,
                seed=self.config.seed,
                epoch=epoch,
                index=index,
                view=view,
                size=self.config.crop_size or None,
                mean=self.data.mean,
                std=self.data.std,
            )
            for view, recipe in enumerate(self.objective.recipes)
        ]
        return torch.stack(made)

    def _views_of(self, batch: int, epoch: int) -> Tensor:
        if (epoch, batch) not in self._made:
            batches = [distributed.share(b) for b in self.batches[batch : batch + self.ahead]]
            sizes = [len(index) for index in batches]
            step = epoch * self.steps_per_epoch + batch
            images = self.decoded.take(step) if self.decoded else None
            parts = self.views(torch.cat(batches), epoch, images).split(sizes, dim=1)
            self._made = {(epoch, batch + i): part for i, part in enumerate(parts)}
        return self._made.pop((epoch, batch))

    def state(self) -> dict[str, Tensor]:
        """What an epoch's end leaves behind: weights, momentum, the step."""
        tensors = checkpoint.pack(**self._parts())
        return tensors | {"step": torch.tensor(self.step)}

    def load_state(self, tensors: dict[str, Tensor], history: store.History) -> None:
        """Goes on from what `state` gave at an epoch's end."""
        checkpoint.unpack(tensors, **self._parts())
        self.rewind.forget()
        self.step = int(tensors["step"])
        self.history = history

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"model": self.model, "objective": self.objective, "optimizer": self.optimizer}

    def _start_epoch(self) -> None:
        self.objective.start_epoch()
        self.sums = torch.zeros(3, device=self.device)
        self.right = torch.zeros(self.data.num_classes, device=self.device)

    @property
    def epoch(self) -> int:
        """That of the next step, from 0; the last one when all steps are taken."""
        return min(self.step, self.total_steps - 1) // self.steps_per_epoch

    @property
    def batches(self) -> tuple[Tensor, ...]:
        """The images of each batch of the present epoch, wherever the loop's state came from."""
        if self._cut[0] != self.epoch:
            self._cut = (self.epoch, self._batches(self.epoch))
        return self._cut[1]

    def _batches(self, epoch: int) -> tuple[Tensor, ...]:
        rng = rng_for("cpu", self.config.seed, "order", epoch)
        order = torch.randperm(len(self.labels), generator=rng)
        return torch.tensor_split(order.to(self.device), self.steps_per_epoch)

    def _prefetch(self, images: ImageFiles) -> Prefetch | None:
        """Workers that decode this process's shares of all batches; None for none."""
        workers = workers_for(images, self.device)

        def rows(step: int) -> Tensor:
            epoch, batch = divmod(step, self.steps_per_epoch)
            return distributed.share(self._batches(epoch)[batch])

        on_gpu = self.device.type == "cuda"
        return Prefetch(images, rows, self.total_steps, workers, on_gpu) if workers else None

    def _end_epoch(self) -> dict[str, float]:
        total, ce, sc = (self.sums / len(self.labels)).tolist()
        recall = self.right.cpu() / self.data.class_counts
        figures = {
            "loss": total,
            "ce": ce,
            "sc": sc,
            "train_top1": float(self.right.sum()) / len(self.labels),
            "train_acsa": recall.mean().item(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        if bad := bad_figures(figures):
            raise self.rewind.error(bad)
        append(self.history["epochs"], figures)
        return figures


if __name__ == "__main__":
    from facog_lab.runs.launch import main  # which imports this module by its name

    main()
