import math

import pytest
import tiny
import torch
from conftest import ROOT
from safetensors.torch import load_file

from facog_lab import models, registry
from facog_lab.config import ConfigError, TrainingError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase2 import score
from facog_lab.rivals import heads, refit
from facog_lab.rivals.heads import head_config, held_out, train_head
from facog_lab.rivals.refit import batch, fit, lengths, scale_classes, start
from facog_lab.settings import Phase2Config

COUNTS = (120, 60, 20, 6, 2)


@pytest.fixture(scope="module")
def imbalanced():
    """Overlapping classes, and a classifier that was fitted to them as phase 1 does."""
    dictionary = tiny.dictionary(COUNTS, width=6, seed=3)
    model = tiny.model(dictionary)
    fit(head_config("ce", epochs=60, lr=0.05, batch_size=32), model.classifier, dictionary)
    return dictionary, model


def config(name, **changes):
    return head_config(name, **{"epochs": 20, "batch_size": 64, "lr": 0.02} | changes)


@pytest.mark.parametrize("name", registry.heads)
def test_every_method_beats_chance_and_leaves_phase_1_alone(name, imbalanced):
    dictionary, model = imbalanced
    before = {k: v.clone() for k, v in model.state_dict().items()}
    head = train_head(config(name), dictionary, model, "cpu")
    assert score(head.classifier, dictionary).acsa > 0.4  # chance is 0.2
    assert head.classifier(dictionary.features).shape == (208, 5)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", ["ldam_drw", "balanced_softmax", "lade", "lws", "crt", "linear"])
def test_the_tail_gains(name, imbalanced):
    """Recall of the two rarest classes; losses that only shift or weigh lightly need not gain."""
    dictionary, model = imbalanced
    head = train_head(config(name), dictionary, model, "cpu")
    tail = [
        sum(score(classifier, dictionary).per_class[-2:])
        for classifier in (model.classifier, head.classifier)
    ]
    assert tail[1] > tail[0]


def test_the_tail_of_cifar100_gains():
    """On the features that are kept in the repository: recall of classes of under 20 images."""
    parts = {
        part: load_file(ROOT / f"benchmarks/dictionaries/cifar100_lt_100_seed0_{part}.safetensors")
        for part in ("train", "test", "heads")
    }
    train, test = parts["train"], parts["test"]
    dictionary = FeatureDictionary.build(
        train["features"].float(), train["labels"], train["images"],
        tuple(map(str, range(100))), test["features"].float(), test["labels"],
    )  # fmt: skip
    model = models.Phase1Model(models.backbone("resnet32", 3, feature_dim=512), 100, 128)
    model.load_state_dict(parts["heads"], strict=False)
    before = score(model.classifier, dictionary)
    for name in ("tau_norm", "lws", "crt"):
        head = train_head(head_config(name, epochs=5), dictionary, model, "cpu")
        after = score(head.classifier, dictionary)
        assert after.few > before.few + 0.05
        assert after.top1 > before.top1 + 0.01
        if head.chosen:
            assert 0.5 <= head.chosen["tau"] <= 1.5


def test_the_settings_of_the_papers():
    for name, epochs in (("crt", 10), ("lws", 5)):
        made = head_config(name, epochs=40)
        assert (made.epochs, made.batch_size, made.lr, made.schedule) == (
            epochs,
            512,
            0.2,
            "cosine",
        )
        assert made.sampling == "classes"
    made, second = head_config("ldam_drw"), Phase2Config()
    assert (made.loss, made.reweighting, made.effective_number_beta) == ("ldam", "drw", 0.9999)
    assert (made.epochs, made.batch_size, made.lr) == (
        second.epochs, second.batch_size, second.lr_classifier
    )  # fmt: skip
    assert head_config("focal").focal_gamma == 1
    assert (head_config("lade").lade_alpha, head_config("lade").lade_lambda) == (0.1, 0.01)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"head method named 'crtt'\. Did you mean 'crt'"):
        head_config("crtt")


def test_tau_0_leaves_the_classifier_as_it_was_and_tau_1_makes_lengths_equal(imbalanced):
    dictionary, model = imbalanced
    for tau in (0.0, 0.5, 1.0):
        classifier = start(config("tau_norm"), model, dictionary)
        before = lengths(classifier)
        logits = classifier(dictionary.features)
        scale_classes(classifier[-1], before**-tau)
        after = classifier(dictionary.features)
        if tau == 0:
            assert torch.equal(after, logits)
        assert torch.allclose(after, logits / before**tau, rtol=1e-4, atol=1e-5)
        assert torch.allclose(lengths(classifier), before ** (1 - tau), rtol=1e-5)


def test_tau_is_chosen_without_the_test_set_and_the_choice_is_told(imbalanced):
    dictionary, model = imbalanced
    head = train_head(config("tau_norm"), dictionary, model, "cpu")
    blind = tiny.dictionary(COUNTS, width=6, seed=3)
    blind.test_features.fill_(math.nan)
    again = train_head(config("tau_norm"), blind, model, "cpu")
    assert again.chosen == head.chosen
    scores = head.chosen["held_out_acsa"]
    assert list(scores) == [str(tau) for tau in heads.TAUS]
    assert scores[str(head.chosen["tau"])] == max(scores.values())
    expected = start(config("tau_norm"), model, dictionary)
    factors = lengths(expected) ** -head.chosen["tau"]
    scale_classes(expected[-1], factors)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, head.classifier.state_dict()[name])


def test_what_is_held_out():
    views = 3  # rows of an image go together
    plain = tiny.dictionary((40, 20, 9, 3, 2, 1))
    dictionary = type(plain).build(
        plain.features.repeat(views, 1),
        plain.labels.repeat(views),
        plain.image_index.repeat(views),
        plain.class_names,
        plain.test_features,
        plain.test_labels,
    )
    held = held_out(dictionary, seed=0)
    assert torch.bincount(dictionary.labels[held]).tolist() == [8 * 3, 4 * 3, 2 * 3, 1 * 3, 1 * 3]
    assert not torch.isin(dictionary.image_index[held], dictionary.image_index[~held]).any()
    assert torch.equal(held, held_out(dictionary, seed=0))
    assert not torch.equal(held, held_out(dictionary, seed=1))


def test_held_out_rows_are_not_trained_on(imbalanced, monkeypatch):
    dictionary, model = imbalanced
    seen = []
    draw = refit.batch

    def remember(*arguments):
        seen.append(draw(*arguments))
        return seen[-1]

    monkeypatch.setattr(refit, "batch", remember)
    train_head(config("tau_norm"), dictionary, model, "cpu")
    rows = torch.cat(seen)
    held = held_out(dictionary, 0)
    assert not held[rows].any()
    assert len(rows.unique()) == (~held).sum()


def test_lws_learns_one_factor_a_class(imbalanced):
    dictionary, model = imbalanced
    last = train_head(config("lws"), dictionary, model, "cpu").classifier[-1]
    before = model.classifier[-1]
    factors = last.bias / before.bias
    assert torch.allclose(last.weight, before.weight * factors[:, None], rtol=1e-4, atol=1e-6)
    assert factors[-1] > factors[0]


def test_crt_makes_the_last_layer_anew_and_leaves_the_others(imbalanced):
    dictionary, model = imbalanced
    fresh = start(config("crt"), model, dictionary)
    assert not torch.equal(fresh[-1].weight, model.classifier[-1].weight)
    head = train_head(config("crt"), dictionary, model, "cpu").classifier
    assert torch.equal(head[0].weight, model.classifier[0].weight)
    assert not torch.equal(head[-1].weight, fresh[-1].weight)


def test_batches_of_images_and_of_classes(imbalanced):
    dictionary, _ = imbalanced
    rows = torch.arange(208)
    of_images, of_classes = (
        torch.bincount(
            dictionary.labels[batch(config(name, batch_size=20_000), dictionary, rows, rng)]
        )
        for name, rng in (("ce", torch.Generator()), ("linear", torch.Generator()))
    )
    assert (of_images / 20_000).tolist() == pytest.approx([n / 208 for n in COUNTS], abs=0.02)
    assert (of_classes / 512).tolist() == pytest.approx([0.2] * 5, abs=0.07)


def test_ldam_is_put_on_phase_1s_last_layer(imbalanced):
    dictionary, model = imbalanced
    classifier = start(config("ldam"), model, dictionary)
    hidden = model.classifier[:-1](dictionary.features)
    weight = model.classifier[-1].weight
    expected = 30 * torch.cosine_similarity(hidden[:, None], weight, dim=2)
    assert torch.allclose(classifier(dictionary.features), expected, atol=1e-4)
    of_ldam = models.Phase1Model(model.backbone, 5, 4)
    of_ldam.classifier = classifier
    for name in ("tau_norm", "lws"):
        with pytest.raises(ConfigError, match=r"CosineLinear.*other than ldam"):
            train_head(config(name), dictionary, of_ldam, "cpu")


def test_the_cosine_falls_to_zero(imbalanced):
    dictionary, model = imbalanced
    rates = train_head(config("crt"), dictionary, model, "cpu").history["epochs"]["lr"]
    assert rates[0] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)
    assert rates[5] == pytest.approx(0.1)
    assert set(train_head(config("ce"), dictionary, model, "cpu").history["epochs"]["lr"]) == {0.02}


@pytest.mark.parametrize("name", ["crt", "ldam_drw", "lws", "tau_norm"])
def test_same_seed_same_bytes_and_the_global_generator_is_left_alone(name, imbalanced):
    dictionary, model = imbalanced
    heads = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(global_seed)
        before = torch.random.get_rng_state()
        heads.append(train_head(config(name, seed=seed), dictionary, model, "cpu"))
        assert torch.equal(before, torch.random.get_rng_state())
    one, two, other = (head.classifier.state_dict() for head in heads)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert heads[0].chosen == heads[1].chosen
    if name != "tau_norm":
        assert not all(torch.equal(one[k], other[k]) for k in one)


def test_the_seed_decides_new_layers_and_each_step_has_a_batch_of_its_own(imbalanced, monkeypatch):
    dictionary, model = imbalanced
    one, same, other = (
        start(config("crt", seed=seed), model, dictionary)[-1].weight for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    rows = []
    monkeypatch.setattr(refit, "batch", lambda *given: rows.append(batch(*given)) or rows[-1])
    train_head(config("ce", epochs=2), dictionary, model, "cpu")
    assert len({tuple(chosen.tolist()) for chosen in rows}) == len(rows) > 3


@pytest.mark.parametrize("name", ["focal", "ldam_drw", "balanced_softmax", "lade", "cb_focal"])
def test_a_thousand_steps_without_nan(name):
    """With classes of one and two images, at a learning rate far above the default."""
    dictionary = tiny.dictionary((40, 9, 2, 1))
    head = train_head(
        config(name, epochs=500, batch_size=32, lr=0.2), dictionary, tiny.model(dictionary), "cpu"
    )
    assert all(math.isfinite(loss) for loss in head.history["epochs"]["loss"])
    assert all(p.isfinite().all() for p in head.classifier.parameters())


def test_nan_stops_the_loop(imbalanced):
    dictionary, _ = imbalanced
    model = tiny.model(dictionary)
    with torch.no_grad():
        model.classifier[2].bias.fill_(math.nan)
    with pytest.raises(TrainingError, match="head: loss became NaN or infinite between steps 1"):
        train_head(config("ce"), dictionary, model, "cpu")
