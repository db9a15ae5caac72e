import pytest
import tiny
import torch

from facog_lab.dictionary import FeatureDictionary, class_means
from facog_lab.generator import make_oversampler
from facog_lab.rivals.facog_attention import TransferGenerator
from facog_lab.rivals.head_classes import head_classes, nearest_heads
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import Controls, Phase2Config

COUNTS = (60, 40, 30, 6, 1)


def rng(*keys):
    return rng_for("cpu", "borrowing", *keys)


def facog_attention(dictionary, **settings):
    config = Phase2Config(oversampler="facog_attention", batch_size=32, **settings)
    return make_oversampler(config, dictionary, *tiny.heads(dictionary))


def test_head_classes_are_at_least_as_large_as_the_mean():
    assert head_classes(
        torch.tensor([4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40])
    ).tolist() == [0, 1, 2]
    cifar = torch.tensor([int(500 * 0.01 ** (i / 99)) for i in range(100)])
    assert head_classes(cifar).tolist() == list(range(33))
    assert head_classes(torch.tensor([5, 5])).tolist() == [0, 1]
    assert head_classes(torch.tensor([1])).tolist() == [0]


def test_nearest_heads_against_a_double_loop():
    dictionary = tiny.dictionary(COUNTS)
    means = [dictionary.features[dictionary.labels == c].mean(0) for c in range(5)]
    assert torch.allclose(class_means(dictionary), torch.stack(means), atol=1e-5)
    found = nearest_heads(dictionary, 2)
    for c in range(5):
        others = [h for h in (0, 1, 2) if h != c]
        others.sort(key=lambda h, c=c: float((means[h] - means[c]).norm()))
        assert found[c].tolist() == others[:2]
    alone = nearest_heads(tiny.dictionary((50, 2, 1)), 5)
    assert alone.tolist() == [[0], [0], [0]]


def test_the_generator_is_equivariant_and_its_gate_invariant():
    with seeded("borrowing"):
        generator = TransferGenerator(5, 6)
        torch.nn.init.normal_(generator.gate[-1].weight)
    draw = rng("e")
    noise = torch.randn(8, generator.noise_dim, generator=draw)
    features = torch.randn(8, 7, 6, generator=draw)
    directions, labels = torch.randn(8, 6, generator=draw), torch.arange(8) % 5
    order = torch.randperm(7, generator=draw)
    weights, gates = generator(noise, labels, features, directions)
    permuted, same = generator(noise, labels, features[:, order], directions)
    assert torch.allclose(permuted, weights[:, order], atol=1e-6)
    assert torch.allclose(same, gates, atol=1e-6)
    assert gates.std() > 0.01
    assert not torch.allclose(generator(noise, labels, features, -directions)[1], gates, atol=1e-3)


def test_what_is_added_is_a_small_step_along_a_difference_of_a_near_head_class():
    dictionary = tiny.dictionary(COUNTS)
    oversampler = facog_attention(dictionary)
    labels = torch.full((60,), 4)
    mixed = oversampler.generate(labels, Controls(), rng("g"))
    lenders = nearest_heads(dictionary, 5)[4]
    rows = torch.isin(dictionary.labels, lenders).nonzero()[:, 0]
    of = dictionary.labels[rows]
    a, b = torch.meshgrid(rows, rows, indexing="ij")
    a, b = a[of[:, None] == of], b[of[:, None] == of]
    steps = 0.1 * (dictionary.features[a] - dictionary.features[b])  # all that there can be
    assert torch.cdist(mixed.added.double(), steps.double()).amin(1).max() < 1e-5
    assert (mixed.added.norm(dim=1) > 0).all()
    assert torch.allclose(mixed.features, dictionary.features[-1] + mixed.added, atol=1e-6)


def test_features_after_a_relu_stay_so():
    of = tiny.dictionary(COUNTS)
    positive = FeatureDictionary.build(
        of.features.relu(),
        of.labels,
        of.image_index,
        of.class_names,
        of.test_features,
        of.test_labels,
    )
    oversampler = facog_attention(positive)
    oversampler.generator.gate[-1].bias.data.fill_(10)  # all of the direction
    mixed = oversampler.generate(torch.arange(5).repeat(40), Controls(), rng("g"))
    assert (mixed.features >= 0).all()
    assert (mixed.features == 0).any()
    signed = facog_attention(of).generate(torch.arange(5).repeat(40), Controls(), rng("g"))
    assert (signed.features < 0).any()


def test_a_closed_gate_leaves_the_mix_in_its_hull():
    oversampler = facog_attention(tiny.dictionary(COUNTS))
    oversampler.generator.gate[-1].bias.data.fill_(-100)
    mixed = oversampler.generate(torch.arange(5), Controls(), rng("g"))
    assert not mixed.added.any()


@pytest.mark.parametrize("weights", [{"lambda_asc": 0.0}, {"lambda_adv": 0.0, "lambda_asc": 1.0}])
def test_both_losses_reach_the_gate(weights):
    oversampler = facog_attention(tiny.dictionary(COUNTS))
    before = oversampler.generator.gate[-1].bias.item()
    oversampler.train_step(Controls(**weights), rng("t"))
    assert oversampler.generator.gate[-1].bias.item() != before
