import doctest
import math

import pytest
import torch
import torch.nn.functional as F
from reference import contrastive

from facog_lab import losses


def batch(n=12, classes=4, width=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    z = F.normalize(torch.randn(n, width, generator=rng, dtype=torch.float64), dim=1)
    return z, torch.randint(classes, (n,), generator=rng)


def test_docstring_examples():
    found = doctest.testmod(losses, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert found.attempted >= 9
    assert found.failed == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tau", [0.05, 0.1, 1.0])
def test_supervised_contrastive_is_the_double_loop(seed, tau):
    z, labels = batch(seed=seed)
    expected = contrastive.supervised_contrastive(z.tolist(), labels.tolist(), tau)
    assert losses.supervised_contrastive(z, labels, tau).item() == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("candidates", ["both", "real", "generated"])
@pytest.mark.parametrize("seed", range(3))
def test_augmented_contrastive_is_the_double_loop(candidates, seed):
    z, labels = batch(10, seed=seed)
    real, real_labels = batch(7, seed=seed + 100)
    loss = losses.augmented_supervised_contrastive(z, labels, real, real_labels, 0.2, candidates)
    expected = contrastive.augmented_supervised_contrastive(
        z.tolist(), labels.tolist(), real.tolist(), real_labels.tolist(), 0.2, candidates
    )
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_supervised_contrastive_agrees_with_pytorch_metric_learning():
    theirs = pytest.importorskip("pytorch_metric_learning.losses")
    rng = torch.Generator().manual_seed(3)
    labels = torch.arange(6).repeat(3)  # every anchor has positives: their mean skips the others
    z = F.normalize(torch.randn(18, 8, generator=rng), dim=1)
    expected = theirs.SupConLoss(temperature=0.1)(z, labels)
    assert losses.supervised_contrastive(z, labels, 0.1).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_gradients_in_float64():
    z, labels = batch(8)
    real, real_labels = batch(6, seed=1)
    z.requires_grad_()

    def sc(raw):
        return losses.supervised_contrastive(F.normalize(raw, dim=1), labels, 0.5)

    def asc(raw):
        return losses.augmented_supervised_contrastive(
            F.normalize(raw, dim=1), labels, real, real_labels, 0.5
        )

    assert torch.autograd.gradcheck(sc, z)
    assert torch.autograd.gradcheck(asc, z)
    scores = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(losses.generator_adversarial, scores)
    assert torch.autograd.gradcheck(
        losses.discriminator_adversarial, (scores, torch.randn_like(scores).requires_grad_())
    )


def test_real_embeddings_are_constants_and_generated_ones_learn():
    z, labels = batch(6)
    real, real_labels = batch(6, seed=1)
    z.requires_grad_()
    real.requires_grad_()
    losses.augmented_supervised_contrastive(z, labels, real, real_labels).backward()
    assert real.grad is None
    assert z.grad.abs().sum() > 0


def test_order_and_names_of_classes_do_not_matter():
    z, labels = batch()
    real, real_labels = batch(9, seed=1)
    order, real_order = torch.randperm(len(z)), torch.randperm(len(real))
    names = torch.tensor([7, 3, 99, 0])
    before = losses.supervised_contrastive(z, labels)
    assert losses.supervised_contrastive(z[order], labels[order]).item() == pytest.approx(
        before.item(), rel=1e-12
    )
    assert losses.supervised_contrastive(z, names[labels]).item() == pytest.approx(before.item())
    before = losses.augmented_supervised_contrastive(z, labels, real, real_labels)
    after = losses.augmented_supervised_contrastive(
        z[order], names[labels[order]], real[real_order], names[real_labels[real_order]]
    )
    assert after.item() == pytest.approx(before.item(), rel=1e-12)


def test_gathered_candidates_give_the_global_loss():
    """Two processes, each with half the anchors, average to the loss of the whole batch."""
    z, labels = batch(12)
    halves = [
        losses.supervised_contrastive(
            z[part], labels[part], 0.1, candidates=z, candidate_labels=labels, self_index=part
        )
        for part in torch.arange(12).chunk(2)
    ]
    whole = losses.supervised_contrastive(z, labels, 0.1)
    assert (sum(halves) / 2).item() == pytest.approx(whole.item(), rel=1e-12)


def test_anchors_without_positives_count_as_zero():
    z = F.normalize(torch.randn(4, 3, dtype=torch.float64), dim=1).requires_grad_()
    loss = losses.supervised_contrastive(z, torch.arange(4))
    assert loss.item() == 0
    loss.backward()
    assert z.grad.isfinite().all()
    pair = losses.supervised_contrastive(z[:3], torch.tensor([0, 0, 1]))
    expected = contrastive.supervised_contrastive(z[:3].tolist(), [0, 0, 1], 0.1)
    assert pair.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_batches_of_none_and_one(n):
    z = F.normalize(torch.randn(n, 3), dim=1).requires_grad_()
    labels = torch.zeros(n, dtype=torch.int64)
    for loss in (
        losses.supervised_contrastive(z, labels),
        losses.augmented_supervised_contrastive(z, labels, z[:0], labels[:0]),
    ):
        assert loss.item() == 0
        loss.backward()
        assert z.grad is None or z.grad.isfinite().all()


def test_low_temperatures_do_not_overflow():
    z, labels = batch()
    loss = losses.supervised_contrastive(z.float().requires_grad_(), labels, 1e-3)
    assert loss.isfinite()


def test_adversarial_losses_are_least_squares_with_the_right_signs():
    real, fake = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.5])
    assert losses.discriminator_adversarial(real, fake).item() == pytest.approx(0.125 + 0.125)
    assert losses.generator_adversarial(fake).item() == pytest.approx((1 + 0.25) / 2)
    perfect = losses.discriminator_adversarial(torch.ones(3), torch.zeros(3))
    assert perfect.item() == 0  # D is rewarded for being right, unlike Eq. 3 read literally


def test_effective_number_weights_against_published_figures():
    """CIFAR-100-LT at ratio 100: from .0449 for the head to 4.378 for the last class."""
    counts = torch.tensor([int(500 * 0.01 ** (i / 99)) for i in range(100)])
    weights = losses.effective_number_weights(counts, 0.9999)
    assert weights.sum().item() == pytest.approx(100, rel=1e-5)
    assert weights[0].item() == pytest.approx(0.0449, abs=5e-5)
    assert weights[-1].item() == pytest.approx(4.378, abs=5e-4)
    assert losses.effective_number_weights(counts, 0.0).tolist() == pytest.approx([1.0] * 100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, y: losses.supervised_contrastive(z, y[:-1]), "do not fit"),
        (lambda z, y: losses.supervised_contrastive(z, y, 0.0), "above 0"),
        (lambda z, y: losses.supervised_contrastive(z, y, math.nan), "above 0"),
        (lambda z, y: losses.supervised_contrastive(z, y, candidates=z), "candidate_labels"),
        (
            lambda z, y: losses.augmented_supervised_contrastive(z, y, z, y, 0.1, "none"),
            "'both', 'real' or 'generated'",
        ),
        (lambda z, y: losses.effective_number_weights(torch.tensor([3, 0]), 0.9), "class 1"),
        (lambda z, y: losses.effective_number_weights(torch.tensor([3, 1]), 1.0), r"\[0, 1\)"),
    ],
)
def test_errors_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(*batch(4))
