import dataclasses
import itertools

import pytest
import tiny
import torch

from facog_lab import generator as generator_module
from facog_lab import registry
from facog_lab.config import ConfigError
from facog_lab.generator import Mix, figures_of, make_oversampler, take_step
from facog_lab.rng import rng_for
from facog_lab.runs import checkpoint
from facog_lab.settings import MAX_N_S, Controls, Phase2Config

MIXERS = ["facog", "facog_attention", "random_oversampling", "uniform_weights", "dirichlet_weights"]
RIVALS = [name for name in registry.oversamplers if name not in MIXERS]
OPTIONS = [
    {"generator": "attention"},
    {"references": "fixed"},
    {"oversampler": "facog_attention", "references": "fixed"},
    {"generator_batch_norm": True},
    {"optimizer": "adam"},
    {"asc_candidates": "real"},
    {"asc_candidates": "generated"},
    {"generator_hidden": (8,)},
]
# n_s matters to what mixes, and its bounds to FACoG's weights most.
EVERY = [
    *(({"oversampler": name}, n_s) for name in MIXERS[:2] for n_s in (1, 5, MAX_N_S)),
    *(({"oversampler": name}, n_s) for name in MIXERS[2:] for n_s in (1, MAX_N_S)),
    *zip(OPTIONS, itertools.cycle([5, MAX_N_S, 1]), strict=False),
    *(({"oversampler": name}, 5) for name in RIVALS),
]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def controls(**changes):
    return Controls(**changes)


def made(variant, dictionary=None, device="cpu"):
    dictionary = (dictionary or tiny.dictionary()).to(torch.device(device))
    config = Phase2Config(batch_size=16, **variant)
    projector, classifier = (head.to(device) for head in tiny.heads(dictionary))
    return make_oversampler(config, dictionary, projector, classifier), dictionary


def rng(*keys, device="cpu"):
    return rng_for(device, 0, *keys)


LEARNED = ["facog", "facog_attention", "cgan", "gamo_without_d", "gamo", "safa"]


@pytest.mark.parametrize("name", LEARNED)
def test_the_seed_decides_the_initial_weights(name):
    one, same, other = (
        checkpoint.pack(**made({"oversampler": name, "seed": s})[0].parts) for s in (3, 3, 4)
    )
    drawn = [key for key, tensor in one.items() if "weight" in key and tensor.dim() > 1]
    assert len(drawn) > 1
    for key in drawn:
        if not (name == "facog_attention" and key.endswith("gate.2.weight")):  # which begins at 0
            assert torch.equal(one[key], same[key])
            assert not torch.equal(one[key], other[key]), key


def test_the_seed_decides_the_fixed_references():
    one, same, other = (
        made({"references": "fixed", "seed": s})[0].references.sets for s in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("variant", "n_s"), EVERY, ids=str)
class TestEveryOversampler:
    @pytest.mark.parametrize("device", DEVICES)
    def test_what_it_says_of_its_features_is_so(self, variant, n_s, device):
        oversampler, dictionary = made(variant, device=device)
        labels = torch.arange(5, device=device).repeat(8)
        mixed = oversampler.generate(labels, controls(n_s=n_s), rng("a", device=device))
        assert mixed.features.shape == (40, 6)
        assert mixed.features.dtype == torch.float32
        assert {t.device.type for t in mixed if t is not None} == {device}
        assert mixed.features.isfinite().all()
        if mixed.weights is None:
            assert mixed.rows is None
            assert mixed.added is None
            return
        assert mixed.weights.shape == mixed.rows.shape
        if variant.get("oversampler", "facog") in MIXERS:
            assert mixed.rows.shape == (40, n_s)
        assert (mixed.weights >= 0).all()
        assert torch.allclose(mixed.weights.sum(1), torch.ones(40, device=device), atol=1e-6)
        assert (dictionary.labels[mixed.rows] == labels[:, None]).all()
        parents = dictionary.features[mixed.rows]
        by_hand = torch.stack(
            [
                sum(w * f for w, f in zip(mixed.weights[i], parents[i], strict=True))
                for i in range(40)
            ]
        )
        added = 0 if mixed.added is None else mixed.added
        assert torch.allclose(mixed.features, by_hand + added, atol=1e-5)
        if mixed.added is None:  # inside the hull: between the parents along any direction
            direction = torch.randn(6, device=device)
            along = parents @ direction
            assert (mixed.features @ direction <= along.amax(1) + 1e-4).all()
            assert (mixed.features @ direction >= along.amin(1) - 1e-4).all()

    def test_seeds_decide_and_nothing_else(self, variant, n_s):
        labels = torch.arange(5).repeat(4)
        results = []
        for _ in range(2):
            oversampler, _ = made(variant)
            torch.manual_seed(torch.seed() % 1000)  # the global generator must not matter
            before = torch.random.get_rng_state()
            for step in range(3):
                oversampler.train_step(controls(n_s=n_s), rng("train", step))
            results.append(oversampler.generate(labels, controls(n_s=n_s), rng("g")).features)
            assert torch.equal(before, torch.random.get_rng_state())
        assert torch.equal(*results)
        other = oversampler.generate(labels, controls(n_s=n_s), rng("h")).features
        assert not torch.equal(results[0], other) or variant.get("references") == "fixed"

    def test_an_empty_request_and_a_class_of_one(self, variant, n_s):
        oversampler, dictionary = made(variant)
        none = oversampler.generate(torch.empty(0, dtype=torch.int64), controls(), rng("a"))
        assert none.features.shape == (0, 6)
        alone = oversampler.generate(torch.full((4,), 4), controls(n_s=n_s), rng("a"))
        assert alone.features.isfinite().all()
        if alone.weights is not None and alone.added is None:
            only = dictionary.features[dictionary.starts[4]]
            assert torch.allclose(alone.features, only.expand(4, 6), atol=1e-5)

    def test_the_smallest_dictionaries(self, variant, n_s):
        for counts in ((2, 2), (2, 1), (1, 1, 1), (7, 2)):
            self.is_finite_on(counts, variant, n_s)

    def is_finite_on(self, counts, variant, n_s):
        oversampler, dictionary = made(variant, tiny.dictionary(counts))
        for step in range(3):
            figures = oversampler.train_step(controls(n_s=n_s), rng("t", step))
            assert all(value.isfinite() for value in figures.values())
        labels = torch.arange(len(counts)).repeat(10)
        mixed = oversampler.generate(labels, controls(n_s=n_s), rng("g"))
        assert mixed.features.isfinite().all()
        if mixed.rows is not None and mixed.added is None and counts[-1] == 2:
            a, b = dictionary.features[-2:]  # a class of two: on the segment between them
            at = (mixed.features[labels == labels.max()] - a) @ (b - a) / (b - a).square().sum()
            assert ((at > -1e-5) & (at < 1 + 1e-5)).all()
            on = a + at[:, None] * (b - a)
            assert torch.allclose(mixed.features[labels == labels.max()], on, atol=1e-5)

    def test_state_goes_on_exactly(self, variant, n_s):
        first, _ = made(variant)
        for step in range(3):
            first.train_step(controls(n_s=n_s), rng("t", step))
        state = {k: v.clone() for k, v in checkpoint.pack(**first.parts).items()}
        second, _ = made(variant)
        checkpoint.unpack(state, **second.parts)
        for oversampler in (first, second):
            oversampler.train_step(controls(n_s=n_s), rng("t", 3))
        labels = torch.arange(5).repeat(4)
        one, two = (o.generate(labels, controls(n_s=n_s), rng("g")) for o in (first, second))
        assert torch.equal(one.features, two.features)

    def test_only_what_is_trained_changes(self, variant, n_s):
        oversampler, _ = made(variant)
        before = {k: v.clone() for k, v in checkpoint.pack(**oversampler.parts).items()}
        figures = oversampler.train_step(controls(n_s=n_s, trains="classifier"), rng("t"))
        assert figures.keys() == oversampler.train_step(controls(n_s=n_s), rng("t")).keys()
        again, _ = made(variant)
        again.train_step(controls(n_s=n_s, trains="classifier"), rng("t"))
        kept = {
            k: v
            for k, v in checkpoint.pack(**again.parts).items()
            if "running" not in k and "batches" not in k
        }
        assert all(torch.equal(v, before[k]) for k, v in kept.items())


LEARNING = [*({"oversampler": name} for name in LEARNED), *OPTIONS]


@pytest.mark.parametrize("steps", [60, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("variant", LEARNING, ids=str)
def test_no_nan_in_many_steps(variant, steps):
    oversampler, _ = made(variant)
    labels = torch.arange(5).repeat(4)
    for step in range(steps):
        figures = oversampler.train_step(controls(), rng("t", step))
        assert all(value.isfinite() for value in figures.values())
        if step % 100 == 99 or step == steps - 1:
            mixed = oversampler.generate(labels, controls(), rng("g", step))
            assert mixed.features.isfinite().all()
            assert all(value.isfinite() for value in figures_of(mixed).values())


def test_facog_learns_what_it_can():
    """L_asc alone pulls w towards the class mean; L_adv alone away from it (method.md)."""
    entropies = {}
    for name, changes in {
        "asc": {"lambda_adv": 0.0, "lambda_asc": 1.0, "lr_generator": 0.05},
        "adv": {"lambda_adv": 1.0, "lambda_asc": 0.0, "lr_generator": 0.05},
    }.items():
        dictionary = tiny.dictionary((200, 100, 50, 30, 20))
        oversampler, _ = made({}, dictionary)
        for step in range(150):
            oversampler.train_step(controls(**changes, lr_discriminator=0.05), rng("t", step))
        weights = oversampler.generate(torch.arange(5).repeat(40), controls(), rng("g")).weights
        entropies[name] = torch.special.entr(weights).sum(1).mean().item()
    assert entropies["adv"] < entropies["asc"]


def test_fixed_references_stay_and_fresh_ones_change():
    for references, same in (("fixed", True), ("fresh", False)):
        oversampler, _ = made({"references": references})
        rows = [oversampler.generate(torch.zeros(6).long(), controls(), rng(k)).rows for k in "ab"]
        assert torch.equal(*rows) is same
        assert bool((rows[0] == rows[0][0]).all()) is same  # one set for the whole class


def test_fixed_references_differ_as_far_as_the_class_has_features():
    dictionary = tiny.dictionary((40, 12, 6, 3, 1))
    for seed in range(20):
        config = Phase2Config(references="fixed", seed=seed)
        oversampler = make_oversampler(config, dictionary, *tiny.heads(dictionary))
        for n_s in (1, 5, 12, MAX_N_S):
            rows = oversampler.generate(torch.arange(5), controls(n_s=n_s), rng("a")).rows
            for row, size in zip(rows, (40, 12, 6, 3, 1), strict=True):
                assert row.unique().numel() == min(n_s, size)


@pytest.mark.parametrize("references", ["fresh", "fixed"])
def test_random_oversampling_repeats_every_reference_alike(references):
    oversampler, _ = made({"oversampler": "random_oversampling", "references": references})
    mixed = oversampler.generate(torch.zeros(4000, dtype=torch.int64), controls(), rng("a"))
    assert mixed.weights.unique().tolist() == [0, 1]
    counts = mixed.weights.sum(0)
    assert ((counts - 800) ** 2 / 800).sum() < 18.5  # p = 0.001 at 4 degrees


def test_sampling_leaves_a_generator_with_batch_norm_as_it_was():
    oversampler, _ = made({"generator_batch_norm": True})
    oversampler.train_step(controls(), rng("t"))
    before = {k: v.clone() for k, v in checkpoint.pack(**oversampler.parts).items()}
    one = oversampler.generate(torch.tensor([0]), controls(), rng("a"))
    assert one.features.shape == (1, 6)
    assert all(torch.equal(v, checkpoint.pack(**oversampler.parts)[k]) for k, v in before.items())


@pytest.mark.parametrize("changes", [{"n_s": 0}, {"n_s": 21}, {"temperature": 0.0}])
def test_controls_are_checked(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        controls(**changes)


def test_the_frozen_projector_lets_gradients_through_and_does_not_change():
    oversampler, _ = made({})
    before = [p.clone() for p in oversampler.projector.parameters()]
    generator_before = [p.clone() for p in oversampler.generator.parameters()]
    oversampler.generator_step(controls(lambda_adv=0.0, lambda_asc=1.0), rng("t"))
    assert all(
        torch.equal(a, b) for a, b in zip(before, oversampler.projector.parameters(), strict=True)
    )
    pairs = zip(generator_before, oversampler.generator.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_the_candidates_of_the_contrast_are_those_that_the_config_names(monkeypatch):
    seen = []
    true = generator_module.losses.augmented_supervised_contrastive
    monkeypatch.setattr(
        generator_module.losses,
        "augmented_supervised_contrastive",
        lambda *given: seen.append(given[-1]) or true(*given),
    )
    values = []
    for candidates in ("both", "real", "generated"):
        oversampler, _ = made({"asc_candidates": candidates})
        values.append(oversampler.generator_losses(controls(), rng("t"), training=False)[1].item())
    assert seen == ["both", "real", "generated"]
    assert len(set(values)) == 3


def test_each_step_changes_its_own_network_alone():
    oversampler, _ = made({})
    for step, changed, kept in (
        ("discriminator_step", oversampler.discriminator, oversampler.generator),
        ("generator_step", oversampler.generator, oversampler.discriminator),
    ):
        before = [p.clone() for p in kept.parameters()]
        mine = [p.clone() for p in changed.parameters()]
        getattr(oversampler, step)(controls(), rng(step))
        assert all(torch.equal(a, b) for a, b in zip(before, kept.parameters(), strict=True))
        pairs = zip(mine, changed.parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs)


def test_a_step_is_pytorchs_own():
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 3)
    take_step(torch.optim.SGD(ours.parameters(), lr=9.0), ours(x).square().mean(), 0.1)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1)
    theirs(x).square().mean().backward()
    reference.step()
    assert torch.equal(ours.weight, theirs.weight)


def test_what_is_not_known_is_not_logged():
    features, rows = torch.ones(3, 4), torch.zeros(3, 2, dtype=torch.int64)
    assert figures_of(Mix(features)) == {}
    assert figures_of(Mix(features, torch.full((3, 2), 0.5), rows)).keys() == {
        "entropy",
        "max_weight",
    }
    moved = figures_of(Mix(features, torch.ones(3, 1), rows[:, :1], features / 2))
    assert moved["added"].item() == pytest.approx(0.5)


@pytest.mark.parametrize("generator", ["mlp", "attention"])
def test_many_features_made_in_parts_are_those_made_at_once(generator, monkeypatch):
    oversampler, _ = made({"oversampler": "facog", "generator": generator})
    labels = torch.arange(5).repeat(9)
    with torch.no_grad():
        whole = oversampler.generate(labels, controls(), rng("a"))
        monkeypatch.setattr(generator_module, "PART", 7)
        parts = oversampler.generate(labels, controls(), rng("a"))
        half = dataclasses.replace(
            oversampler.dictionary, features=oversampler.dictionary.features.half()
        )
        sums = [of.weighted_sum(parts.rows, parts.weights) for of in (oversampler.dictionary, half)]
    assert torch.allclose(*sums, atol=1e-2)
    assert sums[1].dtype == torch.float32
    assert torch.equal(whole.rows, parts.rows)
    assert torch.allclose(whole.weights, parts.weights, atol=1e-6)
    assert torch.allclose(whole.features, parts.features, atol=1e-5)
