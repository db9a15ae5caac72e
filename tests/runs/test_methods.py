import json

import pytest
import torch

from facog_lab import phase2, registry, runs
from facog_lab.config import ConfigError
from facog_lab.rivals import heads
from facog_lab.runs import methods, stages
from facog_lab.runs.presets import experiment


@pytest.fixture
def settings(outputs):
    return experiment(phase1={"epochs": 4, "warmup_epochs": 1}, phase2={"epochs": 5})  # digits


def test_a_head_is_made_once_and_says_its_level(settings, outputs, monkeypatch):
    first = methods.run(runs.open(settings, "cpu"), "tau_norm")
    assert first.level == "feature"
    assert first.chosen["tau"] in heads.TAUS
    found = sorted(p.name for p in (outputs / "digits").iterdir())
    assert found == ["dictionary", "head", "phase1"]
    (folder,) = (outputs / "digits" / "head").iterdir()
    record = json.loads((folder / "manifest.json").read_text())["record"]
    assert record["method"] == "tau_norm"
    assert record["chosen"] == first.chosen
    monkeypatch.setattr(methods, "train_head", None)
    assert methods.run(runs.open(settings, "cpu"), "tau_norm") == first


@pytest.mark.parametrize("name", ["ldam_drw", "linear", "lws", "crt", "cb_focal"])
def test_a_saved_head_is_the_trained_one(name, settings):
    made = methods.run(runs.open(settings, "cpu"), name)
    assert methods.run(runs.open(settings, "cpu"), name) == made
    features = runs.open(settings, "cpu").dictionary
    model = runs.open(settings, "cpu").phase1.finish().model
    config = heads.head_config(name, epochs=5, seed=0)
    head = heads.train_head(config, features, model, "cpu")
    assert phase2.score(head.classifier, features) == made.scores


def test_a_network_has_a_phase_1_of_its_own_and_all_epochs(settings, outputs):
    result = methods.run(runs.open(settings, "cpu"), "balanced_softmax", "network")
    assert (result.level, result.chosen) == ("network", {})
    changed = methods.with_network(settings, "balanced_softmax")
    trained = runs.open(changed, "cpu").phase1
    assert trained.complete
    assert trained.loop.config.objective == "balanced_softmax"
    assert trained.loop.config.epochs == 4 + 5
    assert result.seconds == trained.seconds
    assert not stages.run_of(settings, "phase1").folder.exists()
    features = runs.open(changed, "cpu").dictionary
    assert phase2.score(trained.loop.model.classifier, features) == result.scores


def test_a_network_with_a_head_after_it(settings):
    result = methods.run(runs.open(settings, "cpu"), "kcl", "network")
    changed = methods.with_network(settings, "kcl")
    assert result.seconds > runs.open(changed, "cpu").phase1.seconds
    assert result.scores.acsa > 0.15  # chance is 0.1, and these are nine epochs


def test_levels_differ(settings):
    of_head, of_network = (
        methods.run(runs.open(settings, "cpu"), "ce_drw", level) for level in ("feature", "network")
    )
    assert of_head.scores != of_network.scores


def test_the_settings_of_every_network(outputs):
    base = experiment("paper", data={"dataset": "cifar100"})
    for name in registry.networks:
        made = methods.with_network(base, name).phase1
        assert made.epochs == 200
        assert made.reweighting == ("drw" if "drw" in name else "cb" if "cb" in name else "none")
    bcl = methods.with_network(base, "bcl").phase1
    assert (bcl.lambda_ce, bcl.lambda_sc, bcl.views) == (2.0, 0.6, 3)
    big = experiment("paper", data={"dataset": "imagenet_lt"})
    lade, bcl = (methods.with_network(big, name).phase1 for name in ("lade", "bcl"))
    assert (lade.lade_lambda, lade.lade_alpha) == (0.5, 0.05)
    assert (bcl.lambda_ce, bcl.lambda_sc) == (1.0, 0.35)
    heads_after = {entry.facts["head"] for entry in registry.networks.values()}
    assert heads_after - {None} <= set(registry.heads)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bcl", "feature"), "no rival at level 'feature' named 'bcl'"),
        (("ldam_drv", "network"), "Did you mean 'ldam_drw'"),
        (("ce", "feature", "gamo"), r"protocol = 'gamo'.*\['full'\]"),
    ],
)
def test_errors_come_before_any_training(arguments, message, settings, outputs):
    with pytest.raises(ConfigError, match=message):
        methods.run(runs.open(settings), *arguments)
    assert not outputs.exists()


def test_the_global_generator_is_left_alone(settings):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    methods.run(runs.open(settings, "cpu"), "crt")
    assert torch.equal(before, torch.random.get_rng_state())
