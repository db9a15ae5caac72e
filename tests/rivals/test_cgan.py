import pytest
import tiny
import torch
import torch.nn.functional as F

from facog_lab import models
from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase2 import Phase2
from facog_lab.rivals.cgan import CGAN, GAMO, LR, fooled
from facog_lab.rivals.safa import SAFA
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import Controls, Phase2Config

COUNTS = (60, 40, 20, 6, 3)


def rng(*keys):
    return rng_for("cpu", "rivals", *keys)


def positive(counts=COUNTS):
    """A dictionary as after a ReLU."""
    of = tiny.dictionary(counts)
    return FeatureDictionary.build(
        of.features.relu(), of.labels, of.image_index, of.class_names, of.test_features.relu(),
        of.test_labels,
    )  # fmt: skip


def made(kind, dictionary, *rest):
    with seeded("rivals"):
        return kind(dictionary, *rest)


def trained(oversampler, steps, **controls):
    return [oversampler.train_step(Controls(**controls), rng("t", step)) for step in range(steps)]


def gamo(dictionary, discriminator=False):
    with seeded("rivals"):
        classifier = models.head(dictionary.feature_dim, dictionary.num_classes)
        d = models.Discriminator(dictionary.num_classes, dictionary.feature_dim)
    return made(GAMO, dictionary, d if discriminator else None, classifier)


def test_gamo_mixes_all_features_of_the_class_by_a_layer_of_its_own():
    dictionary = tiny.dictionary((7, 4, 2, 1))
    oversampler, labels = gamo(dictionary), torch.tensor([1, 3, 0, 2, 1])
    mixed = oversampler.generate(labels, Controls(), rng("g"))
    noise = torch.randn(5, 100, generator=rng("g"))
    for i, label in enumerate(labels.tolist()):
        one_hot = torch.zeros(4)
        one_hot[label] = 1
        *shared, last = oversampler.generator
        hidden = torch.cat([noise[i], one_hot])
        for layer in shared:
            hidden = layer(hidden)
        own = slice(*dictionary.starts[label : label + 2].tolist())
        weights = (last.weight[own] @ hidden + last.bias[own]).softmax(0)
        assert torch.allclose(mixed.features[i], weights @ dictionary.features[own], atol=1e-5)
        size = len(weights)
        assert torch.allclose(mixed.weights[i, :size], weights, atol=1e-6)
        assert mixed.rows[i, :size].tolist() == list(range(own.start, own.stop))
        assert not mixed.weights[i, size:].any()


def test_fooled_against_a_double_loop():
    logits, labels = torch.randn(6, 4, generator=rng("f")), torch.tensor([0, 1, 2, 3, 0, 1])
    total = 0.0
    for row, label in zip(logits.softmax(1).tolist(), labels.tolist(), strict=True):
        for c, p in enumerate(row):
            total += (p - (0 if c == label else 1)) ** 2
    assert fooled(logits, labels).item() == pytest.approx(total / 24, rel=1e-5)


@pytest.mark.parametrize("discriminator", [False, True])
def test_gamo_makes_features_that_the_classifier_doubts(discriminator):
    oversampler = gamo(tiny.dictionary(COUNTS), discriminator)
    classifier, data = oversampler.classifier, oversampler.dictionary
    fit = torch.optim.Adam(classifier.parameters(), 0.01)
    for _ in range(100):
        fit.zero_grad()
        F.cross_entropy(classifier(data.features), data.labels).backward()
        fit.step()
    before = [p.detach().clone() for p in classifier.parameters()]
    labels = torch.arange(4).repeat(50)  # a class of one feature cannot be made to lie elsewhere

    def doubt():
        features = oversampler.generate(labels, Controls(), rng("g")).features
        return fooled(classifier(features), labels).item()

    first = doubt()
    figures = trained(oversampler, 300)
    assert doubt() < first
    assert ("loss_d" in figures[-1]) is discriminator
    pairs = zip(before, classifier.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)  # it is only looked at


@pytest.mark.parametrize("name", ["gamo", "gamo_without_d", "safa"])
def test_it_is_the_classifier_that_phase_2_trains(name):
    dictionary = tiny.dictionary()
    config = Phase2Config(oversampler=name, epochs=1, batch_size=16)
    loop = Phase2(config, dictionary, tiny.model(dictionary), "cpu")
    assert loop.oversampler.classifier is loop.classifier


def test_rates_are_the_papers_whatever_the_controls_say():
    oversampler = gamo(tiny.dictionary(COUNTS), True)
    trained(oversampler, 1, lr_generator=0.5, lr_discriminator=0.5)
    for optimizer in (oversampler.generator_optimizer, oversampler.discriminator_optimizer):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"][0]) == (LR, 0.5)


def test_cgan_learns_where_the_classes_are():
    dictionary = tiny.dictionary((80, 80, 80))
    means = torch.stack([dictionary.features[dictionary.labels == c].mean(0) for c in range(3)])
    with seeded("d"):
        discriminator = models.Discriminator(3, 6)
    oversampler = made(CGAN, dictionary, discriminator)
    labels = torch.arange(3).repeat(100)

    def distance():
        features = oversampler.generate(labels, Controls(), rng("g")).features
        return (torch.stack([features[labels == c].mean(0) for c in range(3)]) - means).norm()

    first = distance()
    trained(oversampler, 1500)
    assert distance() < 0.75 * first


def test_features_after_a_relu_are_never_negative():
    dictionary = positive()
    with seeded("heads"):
        classifier, discriminator = models.head(6, 5), models.Discriminator(5, 6)
    for oversampler in (
        made(CGAN, dictionary, discriminator),
        made(SAFA, dictionary, classifier),
    ):
        trained(oversampler, 20)
        labels = torch.arange(5).repeat(20)
        assert (oversampler.generate(labels, Controls(), rng("g")).features >= 0).all()
    signed = made(CGAN, tiny.dictionary(COUNTS), discriminator)
    assert (signed.generate(torch.arange(5), Controls(), rng("g")).features < 0).any()


def safa(counts=COUNTS):
    dictionary = tiny.dictionary(counts)
    with seeded("rivals"):
        classifier = models.head(6, len(counts))
    return made(SAFA, dictionary, classifier)


def test_safa_against_its_formulas():
    oversampler = safa()
    dictionary, e, t = oversampler.dictionary, oversampler.encoder, oversampler.translator
    labels = torch.tensor([4, 3, 0, 4])
    real = dictionary.features[dictionary.starts[labels]]
    terms = oversampler.losses(labels, real, rng("s"))

    def code(f):
        return e(f) / e(f).norm()

    def moved(f, z):
        return f + t(torch.cat([f, z]))

    draw = rng("s")
    size = len(oversampler.heads)
    picks = [oversampler.heads[torch.randint(size, (4,), generator=draw)] for _ in range(2)]
    one, other = ([code(dictionary.features[r]) for r in pick] for pick in picks)
    first = [moved(f, z) for f, z in zip(real, one, strict=True)]
    second = [moved(f, z) for f, z in zip(real, other, strict=True)]
    back = [moved(m, code(f)) for m, f in zip(first, real, strict=True)]
    recycle = sum((b - f).abs().sum() for b, f in zip(back, real, strict=True)) / 24
    contrast = 0.0
    for i, m in enumerate(first):
        likeness = torch.stack([code(m) @ z / 0.1 for z in one])
        contrast -= likeness.log_softmax(0)[i] / 4
    apart = sum((a - b).abs().sum() for a, b in zip(first, second, strict=True)) / 24
    codes = sum((a - b).abs().sum() for a, b in zip(one, other, strict=True)) / (4 * len(one[0]))
    logits = torch.stack([oversampler.classifier(m) for m in first])
    expected = {
        "loss_recycle": recycle,
        "loss_contrast": contrast,
        "loss_seek": 1 / (apart / codes + 1e-5),
        "loss_keep": F.cross_entropy(logits, labels),
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_safa_takes_directions_from_head_classes_alone_and_learns():
    oversampler = safa()
    assert oversampler.dictionary.labels[oversampler.heads].unique().tolist() == [0, 1]
    figures = trained(oversampler, 300)
    for name in ("loss_g", "loss_recycle", "loss_contrast"):
        assert figures[-1][name] < figures[0][name], name
    mixed = oversampler.generate(torch.arange(5).repeat(4), Controls(), rng("g"))
    assert mixed.added.norm(dim=1).min() > 0
