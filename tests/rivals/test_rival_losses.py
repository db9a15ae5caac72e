import doctest

import pytest
import torch
import torch.nn.functional as F
from reference import rivals as reference

from facog_lab.config import ConfigError
from facog_lab.losses import effective_number_weights
from facog_lab.rivals import losses as rival_losses
from facog_lab.rivals.losses import balanced_softmax, focal, lade, ldam, ldam_margins
from facog_lab.rivals.objectives import ClassificationLoss, CosineLinear
from facog_lab.settings import LossConfig

CIFAR100 = torch.tensor([int(500 * 0.01 ** (i / 99)) for i in range(100)])  # at ratio 100
COUNTS = torch.tensor([50, 20, 7, 3, 1])
WEIGHTS = effective_number_weights(COUNTS, 0.99)
MARGINS = ldam_margins(COUNTS)
ALL = {
    "focal": lambda x, y: focal(x, y, 2.0, WEIGHTS),
    "ldam": lambda x, y: ldam(x, y, MARGINS, 4.0, WEIGHTS),
    "balanced_softmax": lambda x, y: balanced_softmax(x, y, COUNTS),
    "lade": lambda x, y: lade(x, y, COUNTS, 0.3, 0.2),
}
LOOPS = {
    "focal": lambda x, y: reference.focal(x, y, 2.0, WEIGHTS.tolist()),
    "ldam": lambda x, y: reference.ldam(x, y, MARGINS.tolist(), 4.0, WEIGHTS.tolist()),
    "balanced_softmax": lambda x, y: reference.balanced_softmax(x, y, COUNTS.tolist()),
    "lade": lambda x, y: reference.lade(x, y, COUNTS.tolist(), 0.3, 0.2),
}


def batch(n=12, seed=0, classes=5):
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=rng, dtype=torch.float64)
    return logits, torch.randint(classes, (n,), generator=rng)


def test_docstring_examples():
    found = doctest.testmod(rival_losses, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert found.attempted >= 10
    assert found.failed == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ALL)
def test_each_is_its_loop(name, seed):
    """Also where the batch lacks a class."""
    logits, labels = batch(seed=seed)
    labels = labels.clamp(max=4 - seed)
    expected = LOOPS[name](logits.tolist(), labels.tolist())
    assert ALL[name](logits, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_gradients_in_float64(name):
    logits, labels = batch(6)
    logits.requires_grad_()

    assert torch.autograd.gradcheck(lambda x: ALL[name](x, labels), logits)


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_a_batch_does_not_matter(name):
    logits, labels = batch()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(5))
    before = ALL[name](logits.float(), labels).item()
    assert ALL[name](logits[order].float(), labels[order]).item() == pytest.approx(before, rel=1e-5)


def test_the_names_of_classes_do_not_matter():
    logits, labels = batch()
    renamed = torch.tensor([3, 0, 4, 1, 2])
    back = renamed.argsort()
    for loss in (balanced_softmax, lade):
        before = loss(logits, labels, COUNTS).item()
        after = loss(logits[:, back], renamed[labels], COUNTS[back]).item()
        assert after == pytest.approx(before, rel=1e-12)


def test_special_cases_are_cross_entropy():
    logits, labels = batch()
    even = torch.full((5,), 8)
    plain = F.cross_entropy(logits, labels).item()
    assert focal(logits, labels, 0.0).item() == pytest.approx(plain, rel=1e-12)
    assert balanced_softmax(logits, labels, even).item() == pytest.approx(plain, rel=1e-12)
    assert ldam(logits, labels, torch.zeros(5)).item() == pytest.approx(plain, rel=1e-12)
    prior_ce = F.cross_entropy(logits + COUNTS.log(), labels).item()
    assert lade(logits, labels, COUNTS, alpha=0.0).item() == pytest.approx(prior_ce, rel=1e-6)


def test_lade_without_its_regulariser_does_not_see_a_shift():
    """λ = 0 leaves a Donsker-Varadhan bound, in which a constant in all logits cancels."""
    logits, labels = batch(40)
    assert len(labels.unique()) == 5
    shifted = [lade(logits + by, labels, COUNTS, 0.5, 0.0).item() for by in (0.0, 3.0)]
    assert shifted[0] == pytest.approx(shifted[1], rel=1e-9)
    shifted = [lade(logits + by, labels, COUNTS, 0.5, 0.1).item() for by in (0.0, 3.0)]
    assert shifted[0] != pytest.approx(shifted[1], rel=1e-3)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_agrees_with_torchvision(gamma):
    """Of two classes, softmax over (0, x) is their sigmoid of x."""
    theirs = pytest.importorskip("torchvision.ops")
    logits, labels = batch(classes=2)
    expected = theirs.sigmoid_focal_loss(
        logits[:, 1] - logits[:, 0], labels.double(), alpha=-1, gamma=gamma, reduction="mean"
    )
    assert focal(logits, labels, gamma).item() == pytest.approx(expected.item(), rel=1e-9)


def test_ldam_with_even_classes_agrees_with_cosface():
    """Where all classes are equally large, LDAM is a cosine margin loss."""
    theirs = pytest.importorskip("pytorch_metric_learning.losses")
    rng = torch.Generator().manual_seed(0)
    layer = CosineLinear(6, 4, 30.0)
    cosface = theirs.CosFaceLoss(num_classes=4, embedding_size=6, margin=0.5, scale=30)
    cosface.W.data = layer.weight.data.T.clone()
    features, labels = torch.randn(9, 6, generator=rng), torch.randint(4, (9,), generator=rng)
    ours = ldam(layer(features), labels, ldam_margins(torch.full((4,), 10)))
    assert ours.item() == pytest.approx(cosface(features, labels).item(), rel=1e-5)


def test_ldam_margins_against_the_published_figures():
    margins = ldam_margins(CIFAR100)
    assert margins[0].item() == pytest.approx(0.158, abs=5e-4)
    assert margins[-1].item() == 0.5
    assert margins.tolist() == sorted(margins.tolist())


def test_balanced_softmax_finds_what_is_likely_for_even_classes():
    """Samples alike, of two classes 9:1: the best logits are equal, for cross-entropy log 9."""
    labels = torch.tensor([0] * 9 + [1])
    found = {}
    for name in ("ce", "balanced_softmax"):
        loss = ClassificationLoss(name, LossConfig(), torch.tensor([9, 1]))
        logits = torch.zeros(2, requires_grad=True)
        for _ in range(500):
            (gradient,) = torch.autograd.grad(loss(logits.expand(10, 2), labels, 0, 1), logits)
            logits.data -= gradient
        found[name] = (logits[0] - logits[1]).item()
    assert found["ce"] == pytest.approx(2.197, abs=0.01)
    assert found["balanced_softmax"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("name", ["ce", "focal", "ldam", "balanced_softmax", "lade"])
def test_class_weights_come_when_they_should(name):
    logits, labels = batch()
    logits = logits.float()
    values = {
        (kind, epoch): ClassificationLoss(name, LossConfig(reweighting=kind), COUNTS)(
            logits, labels, epoch, 10
        ).item()
        for kind in ("none", "drw", "cb")
        for epoch in (7, 8)
    }
    assert values["drw", 7] == values["none", 7] == values["none", 8]
    assert values["drw", 8] == values["cb", 8] == values["cb", 7]
    assert values["cb", 7] != pytest.approx(values["none", 7], rel=1e-3)


def test_names_and_settings_reach_the_functions():
    logits, labels = batch()
    logits = logits.float()
    config = LossConfig(focal_gamma=3.0, lade_alpha=0.7, lade_lambda=0.2)
    expected = {
        "ce": F.cross_entropy(logits, labels),
        "focal": focal(logits, labels, 3.0),
        "ldam": ldam(logits, labels, MARGINS),
        "balanced_softmax": balanced_softmax(logits, labels, COUNTS),
        "lade": lade(logits, labels, COUNTS, 0.7, 0.2),
    }
    for name, value in expected.items():
        assert ClassificationLoss(name, config, COUNTS)(logits, labels, 0, 1) == value


@pytest.mark.parametrize("name", ALL)
def test_degenerate_batches_have_finite_gradients(name):
    sure = torch.tensor([[80.0, -80, 0, 0, 0]])
    for logits, labels in [
        (sure, torch.tensor([0])),  # right beyond doubt
        (sure, torch.tensor([1])),  # wrong beyond doubt
        (sure.repeat(3, 1), torch.tensor([4, 4, 4])),  # a class of one alone
    ]:
        x = logits.clone().requires_grad_()
        loss = ALL[name](x, labels)
        loss.backward()
        assert loss.isfinite()
        assert x.grad.isfinite().all()
    x = sure.clone().requires_grad_()
    focal(x, torch.tensor([0]), 0.5).backward()  # its slope at p = 1 is infinite
    assert x.grad.isfinite().all()
    assert focal(sure[:0], torch.tensor([], dtype=torch.int64)).item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: focal(x, y[:-1]), "do not fit"),
        (lambda x, y: focal(x, y, -1.0), "gamma = -1.0"),
        (lambda x, y: focal(x, y, 1.0, torch.ones(4)), "one for each class"),
        (lambda x, y: ldam(x, y, torch.ones(4)), "one for each class"),
        (lambda x, y: balanced_softmax(x[0], y, COUNTS), "do not fit"),
        (lambda x, y: balanced_softmax(x, y, torch.tensor([1, 2, 0, 1, 1])), "class 2"),
        (lambda x, y: lade(x, y, torch.tensor([1, 2, 0, 1, 1])), "class 2"),
    ],
)
def test_errors_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(*batch(4))


def test_a_config_says_what_it_allows():
    with pytest.raises(ConfigError, match=r"focal_gamma = -1.*at least 0"):
        LossConfig(focal_gamma=-1)
