"""The second opinion: phase 1's adjusted logits and an LDA that knows how sure it may be (ours).

    log p(c | f)  ∝  log softmax_c( g(f) - log π )  +  a · log softmax_c( -½ ‖W (f/‖f‖ - μ_c)‖² )

The first was fitted to discriminate and remembers its training images; the second says where each
class lies, and has one covariance for all, so that a class of five images has the spread of the
large ones. a is chosen by leave-one-out on the training images, see `weight_of`. No number is set
by hand and nothing is trained.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.closed_forms import (
    Mixed,
    Moments,
    lda,
    logit_adjusted,
    moments,
    oas_shrinkage,
    shares_of,
    whitening,
)
from facog_lab.rivals.head_loop import Head

LARGEST_WEIGHT = 100.0


class Normalised(nn.Module):
    """A classifier of features of length 1.

    Args:
        classifier: of such features.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features of any length to (B, C) logits."""
        return self.classifier(F.normalize(features, dim=-1))


@register_head("second_opinion", label="Second opinion (ours)", family="free",
               about="adjusted logits, and an LDA that knows how sure it may be")  # fmt: skip
def second_opinion(dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int = 0) -> Head:
    """Phase 1's adjusted logits and a tempered LDA on features of length 1.

    Source: ours. Its parts: logit adjustment (Menon et al. 2021), LDA on normalised features (as
    Wang et al. 2024 have it for CLIP), a product of opinions (Hinton 1999).

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's.
        seed: not used; nothing is drawn.
    """
    short = of_length_one(dictionary)
    of = moments(short)
    shrinkage = oas_shrinkage(of)
    weight, nats = weight_of(left_out_logits(short, of, shrinkage), short.labels, of.class_counts)
    first = logit_adjusted(classifier, dictionary.class_counts)
    head = Mixed([first, Normalised(lda(of, shrinkage))], [1.0, weight])
    known = {} if math.isnan(nats) else {"nats": nats}  # JSON has no NaN
    return Head(head, {"weight": weight, "shrinkage": shrinkage} | known)


def of_length_one(dictionary: FeatureDictionary) -> FeatureDictionary:
    """One feature of each image, the first of its rows (the clean view), divided by its length."""
    images = dictionary.image_index.cpu()
    first = torch.full((int(images.max()) + 1,), len(images))
    first.scatter_reduce_(0, images, torch.arange(len(images)), "amin")
    rows = first[first < len(images)].sort()[0].to(dictionary.labels.device)
    return FeatureDictionary.from_tensors(
        {
            "features": F.normalize(dictionary.gather(rows)),
            "labels": dictionary.labels[rows],
            "images": dictionary.image_index[rows],
            "test_features": dictionary.test_features[:0],
            "test_labels": dictionary.test_labels[:0],
        },
        dictionary.class_names,
    )


def left_out_logits(dictionary: FeatureDictionary, of: Moments, shrinkage: float) -> Tensor:
    """(R, C) logits of each training feature by an LDA that was made without it.

    Without feature x, the mean of its class lies further away by N/(N - 1), and the scatter matrix
    A lacks α r rᵀ, r = x - μ_y, α = N/(N - 1): by Sherman and Morrison (1950)

        A'⁻¹ = A⁻¹ + α A⁻¹ r rᵀ A⁻¹ / (1 - α rᵀ A⁻¹ r)

    A class of one image has no mean without it: its own logit is that of an endless distance.

    Args:
        dictionary: with one feature for each image.
        of: its moments.
        shrinkage: s, of the covariance; the mean variance that it is shrunk to stays as it is.
    """
    white, labels = whitening(of, shrinkage), dictionary.labels
    means = (of.means - of.centre) @ white  # (C, r)
    images = of.class_counts.double()[labels]  # (R,)
    logits = []
    for rows in torch.arange(len(labels), device=labels.device).split(2048):
        mine, n = labels[rows], images[rows]
        x = (dictionary.gather(rows).double() - of.centre) @ white
        apart = x - means[mine]
        alpha = (n / (n - 1)).nan_to_num(posinf=torch.inf)
        own = apart.square().sum(1)
        far = torch.cdist(x, means, compute_mode="use_mm_for_euclid_dist").square()
        along = (apart * x).sum(1)[:, None] - apart @ means.T  # rᵀ (x - μ_c)
        far.scatter_(1, mine[:, None], (alpha.square() * own)[:, None])
        along.scatter_(1, mine[:, None], (alpha * own)[:, None])
        kept = (1 - (1 - shrinkage) * alpha * own / of.freedom).clamp(min=1e-3)
        more = (1 - shrinkage) * alpha / of.freedom / kept
        found = (far + more[:, None] * along.square()) * (1 - 1 / of.freedom)
        alone = found.new_full((), -torch.inf)
        own_logit = torch.where(n > 1, -found.gather(1, mine[:, None])[:, 0] / 2, alone)
        logits.append((-found / 2).scatter(1, mine[:, None], own_logit[:, None]))
    return torch.cat(logits)


def weight_of(logits: Tensor, labels: Tensor, class_counts: Tensor) -> tuple[float, float]:
    """The weight a at which a·logits are the most likely, all classes counted alike.

        a = argmax  Σ_i s_i log softmax(a · logits_i)_{y_i}

    It is concave in a; Newton's method from the bottom. Gaussians in many dimensions are far too
    sure of themselves: a is 1 where they are right, and about a third on CIFAR-100-LT.

    Args:
        logits: (R, C), each of an image that its classifier has not seen.
        labels: (R,) int64.
        class_counts: (C,) training images of each class; classes of one image are not counted.

    Returns:
        a, from 0 to 100, and the mean log-likelihood there, in nats.
    """
    counted = class_counts.to(labels.device)[labels] > 1
    if not counted.any():
        return 0.0, float("nan")
    logits, labels = logits[counted], labels[counted]
    shares = shares_of(labels, class_counts)
    apart = (logits - logits.gather(1, labels[:, None])).float()  # to the right class's

    def slope(a: float) -> tuple[float, float]:
        """Of the mean log-likelihood, and how fast it falls."""
        chances = (a * apart).softmax(1)
        mean = (chances * apart).sum(1).double()
        bend = (chances * apart.square()).sum(1).double() - mean.square()
        return -(shares @ mean).item(), (shares @ bend).item()

    low, high, a = 0.0, LARGEST_WEIGHT, 0.1
    if slope(high)[0] >= 0:  # all are told apart: the surer the better
        low = a = high
    while high - low > 1e-6 * high:
        rises, bends = slope(a)
        low, high = (a, high) if rises > 0 else (low, a)
        newton = a + rises / bends if bends > 0 else high
        new = newton if low < newton < high else (low + high) / 2
        if abs(new - a) < 1e-6 * max(a, 1e-3):
            break
        a = new
    nats = -(shares @ (a * apart).logsumexp(1).double()).item()
    return a, nats
