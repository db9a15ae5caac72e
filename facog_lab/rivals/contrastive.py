"""KCL, TSC and BCL: their losses as pure functions of embeddings, and the objectives made of them.

Embeddings have length 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import losses, models
from facog_lab.phase1 import Objective
from facog_lab.registry import register_objective
from facog_lab.rivals.objectives import OfLoss
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import Phase1Config

MEMORY = 0.9  # how much of a class's mean embedding stays when a batch has the class (TSC)
K_POSITIVES = 6
SEARCH_STEPS = 500  # for TSC's targets; 100 points in 64 dimensions take 50


def k_positive_contrastive(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float,
    rng: torch.Generator,
    k: int = K_POSITIVES,
    targets: Tensor | None = None,
) -> Tensor:
    """KCL, and with targets TSC: supervised contrast in which no class has more than k positives.

        L = mean_i  -1/|P(i)| Σ_{j in P(i)} log( exp(z_i·z_j/τ) / Σ_{a≠i} exp(z_i·z_a/τ) )

    P(i) is the other view of i's image and up to k embeddings of i's class, drawn at random, so
    that a head class pulls its samples together no harder than a tail class. Candidates a are all
    other embeddings. With targets, these are candidates too and that of i's class is one of P(i).

    Source: Kang et al. 2021, Eq. 3 (KCL); Li et al. 2022, Eq. 4, λ = 1 (TSC). Differs from both:
    candidates are those of the batch; they keep a queue of a momentum encoder's embeddings, from
    which tail classes, too, get k positives.

    Args:
        embeddings: (2B, D_P), z; rows i and i + B are two views of the same image.
        labels: (2B,) int64.
        temperature: τ, above 0.
        rng: draws the positives; on the device of the embeddings.
        k: how many positives in addition to the other view, at least 0.
        targets: (C, D_P), a point of length 1 for each class; none when None.

    Returns:
        A scalar; 0 for an empty batch.

    Raises:
        ValueError: if shapes do not fit, or temperature or k are out of range.

    Example:
        >>> z, rng = torch.tensor([[1.0, 0.0]]).repeat(4, 1), torch.Generator()
        >>> loss = k_positive_contrastive(z, torch.tensor([0, 1, 0, 1]), 1.0, rng)
        >>> round(loss.item(), 4)  # log 3: all three others are equally similar
        1.0986
    """
    losses._check(embeddings, labels, temperature)
    if len(labels) % 2 or k < 0:
        raise ValueError(
            f"{len(labels)} embeddings, k = {k}: there must be two views of every image, and k "
            "must be at least 0."
        )
    rows, device = len(labels), labels.device
    own = torch.eye(rows, dtype=torch.bool, device=device)
    other_view = own.roll(rows // 2, 1)
    of_class = (labels[:, None] == labels) & ~own & ~other_view  # (2B, 2B)
    chance = torch.rand(rows, rows, generator=rng, device=device).masked_fill(~of_class, -1)
    drawn = torch.zeros_like(own).scatter(1, chance.topk(min(k, rows), 1).indices, True)
    is_candidate, is_positive = ~own, other_view | (drawn & of_class)
    candidates = embeddings
    if targets is not None:
        candidates = torch.cat([embeddings, targets])
        of_target = F.one_hot(labels, len(targets)).bool()
        is_candidate = torch.cat([is_candidate, torch.ones_like(of_target)], 1)
        is_positive = torch.cat([is_positive, of_target], 1)
    return losses._contrast(embeddings @ candidates.T / temperature, is_candidate, is_positive)


def balanced_contrastive(
    embeddings: Tensor, labels: Tensor, prototypes: Tensor, temperature: float
) -> Tensor:
    """BCL: supervised contrast in which every class is there, and weighs the same.

        L = mean_i  -1/(|B_y| - 1) Σ_{p in B_y, p≠i} log( exp(z_i·z_p/τ) / E_i )
        E_i = Σ_c 1/|B_c - {i}| Σ_{a in B_c, a≠i} exp(z_i·z_a/τ)

    B_c holds the embeddings of class c in the batch and the prototype of c, so that no class is
    missing (class complement); a class counts with its mean (class averaging). Source: Zhu et al.
    2022, Eq. 6-8; with λ L_LC + μ of it, their objective.

    Args:
        embeddings: (M, D_P), z, the anchors.
        labels: (M,) int64.
        prototypes: (C, D_P), of length 1.
        temperature: τ, above 0.

    Returns:
        A scalar; 0 for an empty batch.

    Raises:
        ValueError: if shapes do not fit or the temperature is not above 0.

    Example:
        >>> z, prototypes = torch.tensor([[1.0, 0.0]]), torch.eye(2)
        >>> loss = balanced_contrastive(z, torch.tensor([0]), prototypes, 1.0)
        >>> round(loss.item(), 4)  # log(e + 1) - 1
        0.3133
    """
    losses._check(embeddings, labels, temperature)
    classes = torch.arange(len(prototypes), device=labels.device)
    all_labels = torch.cat([labels, classes])  # (M + C,)
    similarity = embeddings @ torch.cat([embeddings, prototypes]).T / temperature  # (M, M + C)
    itself = torch.eye(len(labels), len(all_labels), dtype=torch.bool, device=labels.device)
    is_positive = (labels[:, None] == all_labels) & ~itself
    sizes = torch.bincount(all_labels, minlength=len(prototypes))[all_labels]  # (M + C,)
    # An anchor is not one of its own class's candidates, hence the class is one smaller for it.
    others = sizes - (labels[:, None] == all_labels).long()
    lowest = torch.finfo(similarity.dtype).min
    weighed = (similarity - others.clamp(min=1).to(similarity.dtype).log()).masked_fill(
        itself, lowest
    )
    log_probability = similarity - weighed.logsumexp(1, keepdim=True)
    log_probability = log_probability.masked_fill(~is_positive, 0)
    return -(log_probability.sum(1) / is_positive.sum(1)).sum() / max(1, len(labels))


def class_targets(num_points: int, dim: int, rng: torch.Generator) -> Tensor:
    """Points on the unit sphere, spread as evenly as so many can be: TSC's, one for each class.

    Up to dim + 1 points are the corners of a regular simplex, at cosines of -1/(num_points - 1) (Li
    et al. 2022, §3.1), here turned at random. More have no closed form: from random ones, those
    that `uniformity` is smallest for are looked for by L-BFGS.

    Differs from the published code: that takes 10,000 steps of Adam, and ends no lower.

    Args:
        num_points: C, at least 2.
        dim: D_P.
        rng: turns the simplex, or draws the points to start from; on the CPU.

    Returns:
        (num_points, dim) float32.

    Raises:
        ValueError: if there are fewer than two points.

    Example:
        >>> points = class_targets(3, 8, torch.Generator())
        >>> [round(x, 4) for x in (points @ points.T)[0].tolist()]
        [1.0, -0.5, -0.5]
    """
    if num_points < 2:
        raise ValueError(f"{num_points} classes: TSC's targets are made for 2 or more.")
    if num_points <= dim + 1:
        centred = torch.eye(num_points, dtype=torch.float64) - 1 / num_points
        corners = torch.linalg.svd(centred)[0][:, : num_points - 1]  # its rows, in C - 1 dimensions
        turn = torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64))[0]
        return F.normalize(corners @ turn[: num_points - 1], dim=1).float()
    points = torch.randn(num_points, dim, generator=rng, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [points],
        max_iter=SEARCH_STEPS,
        tolerance_grad=0,
        tolerance_change=1e-12,  # of a loss of 14.3
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        loss = uniformity(F.normalize(points, dim=1))
        (points.grad,) = torch.autograd.grad(loss, points)
        return loss

    with torch.enable_grad():
        search.step(closure)
    return F.normalize(points.detach(), dim=1).float()


def uniformity(points: Tensor, temperature: float = 0.07) -> Tensor:
    """How unevenly points lie: L_u = mean_i log Σ_j exp(t_i·t_j / τ) (Li et al. 2022, §3.1).

    Args:
        points: (C, D_P), t, of length 1.
        temperature: τ; 0.07 in their code.

    Example:
        >>> round(uniformity(torch.eye(2), 1.0).item(), 4)  # log(e + 1)
        1.3133
    """
    return (points @ points.T / temperature).logsumexp(1).mean()


class Contrastive(Objective):
    """Contrastive loss only: the classifier is not trained, and a linear head follows."""

    detach_features = True


@register_objective("kcl", label="KCL", family="contrastive", about="K positives an anchor")
class KCL(Contrastive):
    """K-positive contrastive learning (Kang et al. 2021)."""

    def contrast(
        self, model: models.Phase1Model, embeddings: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """L_kcl of (2B, D_P) embeddings."""
        return k_positive_contrastive(embeddings, labels, self.config.temperature, rng)


@register_objective("tsc", label="TSC", family="contrastive", about="KCL, and a target a class")
class TSC(Contrastive):
    """Targeted supervised contrastive learning (Li et al. 2022): KCL, and a target a class."""

    targets: Tensor
    means: Tensor
    target_of: Tensor

    def __init__(self, config: Phase1Config, class_counts: Tensor, feature_dim: int) -> None:
        super().__init__(config, class_counts, feature_dim)
        classes, width = len(class_counts), config.projection_dim
        turn = rng_for("cpu", config.seed, "phase1", "targets")
        self.register_buffer("targets", class_targets(classes, width, turn))  # one each, of nobody
        self.register_buffer("means", torch.zeros(classes, width))
        self.register_buffer("target_of", torch.arange(classes))

    def contrast(
        self, model: models.Phase1Model, embeddings: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """L_tsc of (2B, D_P) embeddings."""
        if self.training:
            self.remember(embeddings.detach(), labels)
        targets, temperature = self.targets[self.target_of], self.config.temperature
        return k_positive_contrastive(embeddings, labels, temperature, rng, targets=targets)

    def remember(self, embeddings: Tensor, labels: Tensor) -> None:
        """Moves the mean embeddings of the classes of a batch towards those in it."""
        sums = torch.zeros_like(self.means).index_add_(0, labels, embeddings)
        there = torch.bincount(labels, minlength=len(sums)) > 0
        moved = MEMORY * self.means + (1 - MEMORY) * F.normalize(sums, dim=1)
        self.means.copy_(torch.where(there[:, None], F.normalize(moved, dim=1), self.means))

    def start_epoch(self) -> None:
        """Gives each class the target that is near its mean, all distances together.

        Differs from Li et al. 2022: once an epoch, not at every step.
        """
        from scipy.optimize import linear_sum_assignment  # slow to import, rarely needed

        nearness = (self.means @ self.targets.T).double().cpu().numpy()
        self.target_of.copy_(torch.from_numpy(linear_sum_assignment(-nearness)[1]))


@register_objective("bcl", label="BCL", family="contrastive", about="classes have equal weight")
class BCL(OfLoss):
    """Balanced contrastive learning (Zhu et al. 2022), with Balanced Softmax for the classifier."""

    loss_name = "balanced_softmax"
    contrastive = True

    def __init__(self, config: Phase1Config, class_counts: Tensor, feature_dim: int) -> None:
        super().__init__(config, class_counts, feature_dim)
        widths = [feature_dim, feature_dim, feature_dim, config.projection_dim]
        with seeded(config.seed, "phase1", "prototypes"):
            self.prototypes = models.mlp(widths, nn.ReLU(), batch_norm=True)

    def contrast(
        self, model: models.Phase1Model, embeddings: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """L_bcl of (2B, D_P) embeddings, with prototypes made of the classifier's weights."""
        prototypes = F.normalize(self.prototypes(model.classifier[-1].weight), dim=1)
        return balanced_contrastive(embeddings, labels, prototypes, self.config.temperature)
