"""Adding a thing is one file: it is written, and the lab's lists, checks and runs know it."""

import importlib
import sys

import pytest
import tiny
import torch

import facog_lab.data
import facog_lab.rivals
from facog_lab import registry, runs
from facog_lab.config import ConfigError
from facog_lab.data.load import load
from facog_lab.dictionary import class_means
from facog_lab.generator import make_oversampler
from facog_lab.names import label
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import Phase2, score
from facog_lab.rivals.heads import head_config, train_head
from facog_lab.runs import methods, presets
from facog_lab.settings import DataConfig, Phase1Config, Phase2Config
from facog_lab.study import grid
from facog_lab.ui import parameters
from facog_lab.ui.inputs import CHOICES

OVERSAMPLER = """
import torch

from facog_lab.dictionary import class_means
from facog_lab.generator import Mix, Unlearned
from facog_lab.registry import register_oversampler


class ClassMean(Unlearned):
    def __init__(self, given):
        self.means = class_means(given.dictionary)

    def generate(self, labels, controls, rng):
        return Mix(self.means[labels])


@register_oversampler("class_mean", label="Class mean", family="own", about="the mean")
def class_mean(given):
    return ClassMean(given)
"""
LOSS = """
import torch.nn.functional as F

from facog_lab.rivals.objectives import register_loss


@register_loss("smooth", label="Smoothed labels", about="a tenth of every label on the others")
def smooth(logits, labels, given):
    return F.cross_entropy(logits, labels, given.weights, label_smoothing=0.1)
"""
HEAD = """
import torch
from torch import nn

from facog_lab.registry import register_head


def two_layers(dictionary, classifier):
    return nn.Sequential(classifier, nn.Linear(dictionary.num_classes, dictionary.num_classes))


@register_head("turned", label="Turned", family="FAMILY", about="one more layer",
               skeleton=two_layers)
def turned(dictionary, classifier, seed):
    made = two_layers(dictionary, classifier)
    with torch.no_grad():
        made[1].weight.copy_(torch.eye(dictionary.num_classes).roll(1, 0))
        made[1].bias.fill_(seed)
        classifier[-1].weight.zero_()  # a copy: phase 1's stays as it is
    return made
"""
DATASET = """
import torch

from facog_lab.data.decode import Source
from facog_lab.registry import register_dataset


@register_dataset("stripes", label="Stripes", about="lines of two directions", family="own",
                  data={"profile": "as_found"}, phase1={"augmentation": "standard"})
def stripes(config, report):
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    images[:30, :, ::2], images[30:, :, :, ::2] = 255, 255
    labels = (torch.arange(40) >= 30).long()
    return Source(("flat", "upright"), images, labels, images, labels)
"""


@pytest.fixture
def one_file(tmp_path, monkeypatch):
    """Puts a file into one of the package's folders, as whoever adds something does."""

    def put(package, text):
        (tmp_path / "added.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        importlib.invalidate_caches()
        registry._discover.cache_clear()

    kinds = [x for x in vars(registry).values() if isinstance(x, registry.Registry)]
    before = [dict(kind._entries) for kind in kinds if list(kind)]
    yield put
    for kind, entries in zip(kinds, before, strict=True):
        kind._entries.clear()
        kind._entries.update(entries)
    for name in ("facog_lab.rivals.added", "facog_lab.data.added"):
        sys.modules.pop(name, None)
    registry._discover.cache_clear()


def test_an_oversampler_is_one_file(one_file):
    with pytest.raises(ConfigError, match="class_mean"):
        Phase2Config(oversampler="class_mean")
    one_file(facog_lab.rivals, OVERSAMPLER)
    assert CHOICES["oversampler"]()["class_mean"] == label("class_mean") == "Class mean"
    assert parameters.from_values({"oversampler": "class_mean"}, "phase2")
    assert grid.Cell("class_mean") in grid._comparison()
    of = tiny.dictionary((20, 9, 5, 3))
    loop = Phase2(Phase2Config(oversampler="class_mean", epochs=1), of, tiny.model(of), "cpu")
    for _ in loop:
        pass
    assert loop.evaluate().acsa > 0
    labels = torch.arange(4)
    made = loop.oversampler.generate(labels, loop.controls, torch.Generator())
    assert torch.equal(made.features, class_means(of)[labels])


def test_a_loss_is_one_file_that_heads_and_networks_follow(one_file):
    with pytest.raises(ConfigError, match="smooth"):
        Phase1Config(objective="smooth")
    one_file(facog_lab.rivals, LOSS)
    assert label("smooth") == "Smoothed labels"
    assert {grid.Cell("smooth"), grid.Cell("smooth", "network")} <= set(grid._comparison())
    of = tiny.dictionary((20, 9, 5, 3))
    head = train_head(head_config("smooth", epochs=2), of, tiny.model(of), "cpu")
    usual = train_head(head_config("ce", epochs=2), of, tiny.model(of), "cpu")
    assert head.history["epochs"]["loss"] != usual.history["epochs"]["loss"]
    settings = Phase1Config(architecture="small", feature_dim=0, objective="smooth", epochs=1,
                            warmup_epochs=0)  # fmt: skip
    loop = Phase1(settings, tiny.long_tailed(), "cpu")
    for _ in loop:
        pass
    assert loop.step == loop.total_steps


@pytest.mark.parametrize("family", ["trained", "free"])
def test_a_head_is_one_file_that_is_listed_run_kept_and_restored(
    family, one_file, outputs, monkeypatch
):
    with pytest.raises(ConfigError, match="turned"):
        head_config("turned")
    one_file(facog_lab.rivals, HEAD.replace("FAMILY", family))
    assert label("turned") == "Turned"
    assert grid.Cell("turned") in grid._comparison()
    brief = {"phase1": {"epochs": 2, "warmup_epochs": 1}, "phase2": {"epochs": 1}}
    settings = presets.experiment(**brief, seed=3)
    lab = runs.open(settings, "cpu")
    made = methods.head_on(lab.source, "turned", 1, 3, "cpu")
    before = lab.model.classifier
    assert torch.equal(made.classifier[0][0].weight, before[0].weight)
    assert before[-1].weight.abs().sum() > 0
    assert made.classifier[1].bias.tolist() == [3.0] * 10
    folders = list((outputs / "digits").glob("head/*/manifest.json"))
    assert len(folders) == (family == "trained")
    if family == "trained":
        monkeypatch.setattr(methods, "train_head", None)
    again = methods.head_on(runs.open(settings, "cpu").source, "turned", 1, 3, "cpu")
    for name, tensor in made.classifier.state_dict().items():
        assert torch.equal(tensor, again.classifier.state_dict()[name])
    task = grid.Task(grid.Cell("turned"), settings)
    (row,) = grid.measure(task, {"seed": 3}, "cpu")
    assert (row["method"], row["acsa"]) == ("turned", round(score_of(again, lab), 5))
    assert ("turned" in runs.open(settings, "cpu").compare()) == (family == "free")


def score_of(trained, lab):
    return score(trained.classifier, lab.dictionary).acsa


def test_a_data_set_is_one_file(one_file, outputs):
    with pytest.raises(ConfigError, match="stripes"):
        DataConfig(dataset="stripes")
    one_file(facog_lab.data, DATASET)
    assert label("stripes") == "Stripes"
    settings = presets.experiment(
        data={"dataset": "stripes"}, phase1={"epochs": 2, "warmup_epochs": 1}, phase2={"epochs": 1}
    )
    assert settings.data.profile == "as_found"
    assert settings.phase1.augmentation == "standard"
    assert load(settings.data).class_counts.tolist() == [30, 10]
    lab = runs.open(settings, "cpu")
    assert lab.phase2.finish().evaluate().acsa >= 0.5
    assert lab.phase1.run.folder.is_relative_to(outputs / "stripes")
    assert parameters.from_values({"dataset": "stripes"}, "phase2").data == settings.data


def test_what_a_cell_registers_is_there_at_once_and_may_be_changed(one_file):
    one_file(facog_lab.rivals, "")
    of = tiny.dictionary((20, 9, 5, 3))
    model = tiny.model(of)
    for factor in (1.0, 2.0):  # the cell is run, changed, and run again
        cell = OVERSAMPLER.replace("self.means[labels]", f"{factor} * self.means[labels]")
        exec(cell, {"__name__": "__main__"})
        made = make_oversampler(
            Phase2Config(oversampler="class_mean"), of, model.projector, model.classifier
        ).generate(torch.tensor([2]), None, torch.Generator())
        assert torch.equal(made.features[0], factor * class_means(of)[2])


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ConfigError, match="There is oversampler 'smote' already"):
        exec(OVERSAMPLER.replace('"class_mean"', '"smote"'), {"__name__": "__main__"})
