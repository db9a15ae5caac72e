import doctest
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import contrastive as literal
from reference import rivals as reference

from facog_lab import losses
from facog_lab.rivals import contrastive as ours
from facog_lab.rivals.contrastive import (
    balanced_contrastive,
    class_targets,
    k_positive_contrastive,
    uniformity,
)


def unit(n, width=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, width, generator=rng, dtype=torch.float64), dim=1)


def two_views(images=7, classes=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return unit(2 * images, seed=seed), torch.randint(classes, (images,), generator=rng).repeat(2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_docstring_examples():
    found = doctest.testmod(ours, extraglobs={"torch": torch, "np": np})
    assert found.attempted >= 8
    assert found.failed == 0


@pytest.mark.parametrize("seed", range(3))
def test_kcl_with_room_for_all_positives_is_supervised_contrast(seed):
    z, labels = two_views(seed=seed)
    expected = literal.supervised_contrastive(z.tolist(), labels.tolist(), 0.2)
    loss = k_positive_contrastive(z, labels, 0.2, generator(), k=14)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_kcl_without_more_positives_agrees_with_ntxent():
    """k = 0 leaves the other view alone: SimCLR's loss, whose labels are the images."""
    theirs = pytest.importorskip("pytorch_metric_learning.losses")
    z, labels = two_views()
    images = torch.arange(7).repeat(2)
    loss = k_positive_contrastive(z, labels, 0.2, generator(), k=0)
    assert loss.item() == pytest.approx(theirs.NTXentLoss(0.2)(z, images).item(), rel=1e-6)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_kcl_draws_k_positives_and_the_other_view(k, monkeypatch):
    masks = []

    def remember(similarity, is_candidate, is_positive):
        masks.append(is_positive)
        return similarity.sum()

    monkeypatch.setattr(losses, "_contrast", remember)
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2]).repeat(2)
    for seed in range(200):
        k_positive_contrastive(unit(16), labels, 1.0, generator(seed), k)
    drawn = torch.stack(masks)  # (200, 16, 16)
    others = torch.bincount(labels)[labels] - 2  # of the class, without itself and its other view
    assert (drawn.sum(2) == 1 + others.clamp(max=k)).all()
    partner = torch.arange(16).roll(8)
    assert drawn[:, torch.arange(16), partner].all()
    assert not drawn[:, labels[:, None] != labels].any()
    assert not drawn[:, torch.eye(16, dtype=torch.bool)].any()
    if k:  # each of the 8 others of class 0 is as likely
        share = drawn[:, 0, [1, 2, 3, 4, 9, 10, 11, 12]].float().mean(0)
        assert share.tolist() == pytest.approx([k / 8] * 8, abs=0.12)


@pytest.mark.parametrize("seed", range(3))
def test_tsc_is_the_double_loop(seed):
    z, labels = two_views(seed=seed)
    targets = unit(4, seed=9)
    loss = k_positive_contrastive(z, labels, 0.2, generator(), k=14, targets=targets)
    expected = reference.targeted_contrastive(z.tolist(), labels.tolist(), targets.tolist(), 0.2)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_bcl_is_the_double_loop(seed):
    z, labels = two_views(seed=seed)
    prototypes = unit(5, seed=9)  # class 4 is not in the batch
    loss = balanced_contrastive(z, labels, prototypes, 0.2)
    expected = reference.balanced_contrastive(z.tolist(), labels.tolist(), prototypes.tolist(), 0.2)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_order_and_names_do_not_matter():
    z, labels = two_views()
    prototypes = unit(4, seed=9)
    order = torch.randperm(14, generator=generator())
    before = balanced_contrastive(z, labels, prototypes, 0.3).item()
    after = balanced_contrastive(z[order], labels[order], prototypes, 0.3).item()
    assert after == pytest.approx(before, rel=1e-12)
    renamed = torch.tensor([2, 0, 3, 1])
    after = balanced_contrastive(z, renamed[labels], prototypes[renamed.argsort()], 0.3).item()
    assert after == pytest.approx(before, rel=1e-12)
    images = torch.randperm(7, generator=generator())
    order = torch.cat([images, images + 7])
    before, after = (
        k_positive_contrastive(a, b, 0.3, generator(), k=14, targets=prototypes).item()
        for a, b in ((z, labels), (z[order], labels[order]))
    )
    assert after == pytest.approx(before, rel=1e-12)


def test_gradients_in_float64():
    z, labels = two_views(4)
    raw, points = z.clone().requires_grad_(), unit(4, seed=9).requires_grad_()

    def kcl(x):
        return k_positive_contrastive(F.normalize(x, dim=1), labels, 0.5, generator(), 2)

    def tsc(x, targets):
        return k_positive_contrastive(x, labels, 0.5, generator(), 2, targets)

    def bcl(x, prototypes):
        return balanced_contrastive(x, labels, prototypes, 0.5)

    assert torch.autograd.gradcheck(kcl, raw)
    assert torch.autograd.gradcheck(tsc, (raw, points))
    assert torch.autograd.gradcheck(bcl, (raw, points))


@pytest.mark.parametrize("images", [0, 1])
def test_batches_of_none_and_one(images):
    z = unit(2 * images).requires_grad_()
    labels, points = torch.zeros(2 * images, dtype=torch.int64), unit(3, seed=1)
    for loss in (
        k_positive_contrastive(z, labels, 0.1, generator()),
        k_positive_contrastive(z, labels, 0.1, generator(), targets=points),
        balanced_contrastive(z, labels, points, 0.1),
    ):
        loss.backward()
        assert loss.isfinite()
        assert images or loss.item() == 0
        assert z.grad.isfinite().all()


def test_few_targets_are_a_regular_simplex():
    for points, width in ((2, 1), (10, 64), (100, 128), (5, 4)):
        t = class_targets(points, width, generator())
        expected = torch.full((points, points), -1 / (points - 1)).fill_diagonal_(1)
        assert torch.allclose(t @ t.T, expected, atol=1e-5)
    assert not torch.allclose(class_targets(3, 5, generator(0)), class_targets(3, 5, generator(1)))


@pytest.mark.parametrize(
    ("points", "width", "cosine"),
    [(4, 2, 0.0), (7, 2, math.cos(math.tau / 7)), (6, 3, 0.0), (12, 3, 1 / math.sqrt(5))],
    ids=["square", "heptagon", "octahedron", "icosahedron"],
)
def test_more_targets_than_fit_a_simplex_are_the_figures_that_are_known(points, width, cosine):
    """The most even points of so many, where mathematics knows them."""
    for seed in range(3):
        t = class_targets(points, width, generator(seed))
        assert t.dtype == torch.float32
        assert torch.allclose(t.norm(dim=1), torch.ones(points), atol=1e-6)
        nearest = (t @ t.T).fill_diagonal_(-1).amax(1)
        assert torch.allclose(nearest, torch.full((points,), cosine), atol=0.01)


def test_a_hundred_targets_in_64_dimensions():
    """CIFAR-100 and the small network: at right angles, as 2 D points at most can be (Rankin)."""
    t = class_targets(100, 64, generator()).double()
    assert torch.equal(t.float(), class_targets(100, 64, generator()))
    assert (t @ t.T).fill_diagonal_(-1).max() < 0.02
    assert t.mean(0).norm() < 0.01
    assert uniformity(t) < 14.28578  # 10,000 steps of Adam, as published: 14.28577373
    assert uniformity(unit(100, 64)) > 14.2859


def test_uniformity_is_what_the_published_code_says():
    """Values of its own uniform_loss, on points of length 1 (commit c4f15eb)."""
    points = torch.tensor(
        [[-0.037765, 0.19538, 0.636194, -0.393642], [-0.855149, 0.472734, 0.611215, 0.431423],
         [0.452466, -0.679525, 0.254402, -1.54576], [0.654562, 1.312499, -0.280996, 1.089059],
         [1.062075, -0.400743, -0.591638, -0.994326], [-2.04106, 0.511066, 0.901595, 0.168936],
         [0.357927, 2.089458, -1.251196, -0.208384]], dtype=torch.float64,
    )  # fmt: skip
    assert uniformity(F.normalize(points, dim=1), 0.5).item() == pytest.approx(2.78696223125)
    few = F.normalize(points[:2], dim=1)
    one = math.log(math.exp(2) + math.exp(2 * (few[0] @ few[1]).item()))
    assert uniformity(few, 0.5).item() == pytest.approx(one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, y: k_positive_contrastive(z[:3], y[:3], 0.1, generator()), "two views"),
        (lambda z, y: k_positive_contrastive(z, y, 0.1, generator(), -1), "k = -1"),
        (lambda z, y: k_positive_contrastive(z, y, 0.0, generator()), "above 0"),
        (lambda z, y: balanced_contrastive(z, y[:-1], z, 0.1), "do not fit"),
        (lambda z, y: class_targets(1, 4, generator()), "1 classes.*2 or more"),
    ],
)
def test_errors_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(*two_views())
