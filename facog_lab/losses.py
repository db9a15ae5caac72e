"""The losses: pure functions, one equation each. All are means over the batch.

Embeddings z are normalised (length 1); features f are not.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Candidates = Literal["both", "real", "generated"]


def supervised_contrastive(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float = 0.1,
    candidates: Tensor | None = None,
    candidate_labels: Tensor | None = None,
    self_index: Tensor | None = None,
) -> Tensor:
    """L_sc, Eq. 1: pulls the embeddings of a class together and pushes other classes away.

    Every embedding is an anchor i. Its candidates are all other embeddings; its positives P(i) are
    the candidates of its class:

        L_sc = mean_i  -1/|P(i)| Σ_{j in P(i)} log( exp(z_i·z_j/τ) / Σ_{k≠i} exp(z_i·z_k/τ) )

    Differs from Eq. 1: the mean over anchors, not the sum (a learning rate of 0.5 implies it). An
    anchor without a positive counts as 0.

    Args:
        embeddings: (B, D_P), the anchors, of length 1.
        labels: (B,) int64.
        temperature: τ, above 0.
        candidates: (K, D_P), what anchors are compared with; the anchors themselves when None.
            Pass the embeddings gathered from all processes to take the loss over a global batch.
        candidate_labels: (K,) int64, with `candidates`.
        self_index: (B,) int64, each anchor's own row among `candidates`, which is left out of its
            sum; None with `candidates` says that no anchor is among them.

    Returns:
        A scalar; 0 for an empty batch and for one without any positive.

    Raises:
        ValueError: if shapes do not fit or the temperature is not above 0.

    Example:
        >>> z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        >>> round(supervised_contrastive(z, torch.tensor([0, 0, 1]), temperature=1.0).item(), 4)
        0.2088
    """
    if candidates is None:
        candidates, candidate_labels = embeddings, labels
        self_index = torch.arange(len(embeddings), device=embeddings.device)
    if candidate_labels is None:
        raise ValueError("candidates were given without candidate_labels: pass both.")
    _check(embeddings, labels, temperature)
    _check(candidates, candidate_labels, temperature)
    is_candidate = torch.ones(
        len(embeddings), len(candidates), dtype=torch.bool, device=embeddings.device
    )
    if self_index is not None:
        is_candidate = is_candidate.scatter(1, self_index[:, None], False)  # (B, K)
    is_positive = is_candidate & (labels[:, None] == candidate_labels)  # (B, K)
    similarity = embeddings @ candidates.T / temperature  # (B, K)
    return _contrast(similarity, is_candidate, is_positive)


def augmented_supervised_contrastive(
    generated: Tensor,
    labels: Tensor,
    real: Tensor,
    real_labels: Tensor,
    temperature: float = 0.1,
    candidates: Candidates = "both",
) -> Tensor:
    """L_asc, Eq. 4: puts generated features into the clusters of their classes.

    Anchors are the generated embeddings. Candidates are all real embeddings and all other
    generated ones; positives are the candidates of the anchor's class, real or generated. The real
    ones are constants: only the generator learns from this loss.

    Args:
        generated: (B, D_P), embeddings of generated features, of length 1.
        labels: (B,) int64, the classes they were generated for.
        real: (R, D_P), embeddings of real features, of length 1.
        real_labels: (R,) int64.
        temperature: τ, above 0.
        candidates: what anchors are compared with: "both" (the paper), "real" or "generated".

    Returns:
        A scalar, the mean over anchors (Eq. 4 writes the sum); an anchor without a positive
        counts as 0.

    Raises:
        ValueError: if shapes do not fit, the temperature is not above 0, or `candidates` is not
            one of the three.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # one generated embedding of each class
        >>> real = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # and a real one in the same place
        >>> labels = torch.tensor([0, 1])
        >>> loss = augmented_supervised_contrastive(z, labels, real, labels, temperature=1.0)
        >>> round(loss.item(), 4)  # log(e + 2) - 1: its own real one against two of the other class
        0.5514
    """
    own_rows = torch.arange(len(generated), device=generated.device)
    real = real.detach()
    if candidates == "generated":
        return supervised_contrastive(generated, labels, temperature)
    if candidates == "real":
        return supervised_contrastive(generated, labels, temperature, real, real_labels)
    if candidates != "both":
        raise ValueError(f"candidates = {candidates!r}: it must be 'both', 'real' or 'generated'.")
    return supervised_contrastive(
        generated,
        labels,
        temperature,
        torch.cat([generated, real]),
        torch.cat([labels, real_labels]),
        own_rows,
    )


def discriminator_adversarial(real_scores: Tensor, generated_scores: Tensor) -> Tensor:
    """D's part of L_adv, Eq. 3: mean (1 - D(f))² + mean D(f̃)², to be minimised.

    Differs from Eq. 3: written there as min over G and max over D, which would reward D's
    mistakes; this is the least-squares GAN (Mao et al. 2017) that the text cites.

    Args:
        real_scores: (B,), D's scores of real features.
        generated_scores: (B',), D's scores of generated features.

    Returns:
        A scalar, at least 0; 0.5 if D cannot distinguish them and scores all 1/2.

    Example:
        >>> discriminator_adversarial(torch.tensor([0.5]), torch.tensor([0.5])).item()
        0.5
    """
    return (1 - real_scores).square().mean() + generated_scores.square().mean()


def generator_adversarial(generated_scores: Tensor) -> Tensor:
    """G's part of L_adv, Eq. 3: mean (1 - D(f̃))², to be minimised.

    Args:
        generated_scores: (B,), D's scores of generated features.

    Returns:
        A scalar, at least 0.

    Example:
        >>> generator_adversarial(torch.tensor([1.0, 0.0])).item()
        0.5
    """
    return (1 - generated_scores).square().mean()


def effective_number_weights(class_counts: Tensor, effective_number_beta: float) -> Tensor:
    """Class weights (1-b)/(1-b^N_c), scaled to sum to C (Cui et al. 2019).

    Args:
        class_counts: (C,) training images of each class, each at least 1.
        effective_number_beta: b, from 0 (all weights 1) to below 1.

    Returns:
        (C,) float32.

    Raises:
        ValueError: if a class is empty or b is out of range.

    Example:
        >>> effective_number_weights(torch.tensor([100, 1]), 0.9).tolist()
        [0.1818..., 1.8181...]
    """
    if (class_counts < 1).any():
        empty = int((class_counts < 1).nonzero()[0])
        raise ValueError(f"class {empty} has no training image, so it has no weight: remove it.")
    if not 0 <= effective_number_beta < 1:
        raise ValueError(f"effective_number_beta = {effective_number_beta}: it must be in [0, 1).")
    weights = (1 - effective_number_beta) / (1 - effective_number_beta ** class_counts.double())
    return (weights * len(weights) / weights.sum()).float()


def _contrast(similarity: Tensor, is_candidate: Tensor, is_positive: Tensor) -> Tensor:
    """Mean over anchors of minus the mean log-probability of an anchor's positives, all (B, K)."""
    if similarity.numel() == 0:
        return similarity.sum()  # 0, and still part of the graph
    # The lowest finite number rather than -inf, so that an anchor alone in its batch has no NaN.
    lowest = torch.finfo(similarity.dtype).min
    log_norm = similarity.masked_fill(~is_candidate, lowest).logsumexp(1, keepdim=True)  # (B, 1)
    log_probability = (similarity - log_norm).masked_fill(~is_positive, 0)  # (B, K)
    positives = is_positive.sum(1).clamp(min=1)
    return -(log_probability.sum(1) / positives).mean()


def _check(embeddings: Tensor, labels: Tensor, temperature: float) -> None:
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)} do not fit: "
            "expected (B, D_P) and (B,)."
        )
    if not temperature > 0:
        raise ValueError(f"temperature = {temperature}: it must be above 0.")
