"""The path of ImageNet-LT, on generated files: lists, workers, network, Many / Medium / Few."""

import listed
import pytest
import torch

from facog_lab import models, runs
from facog_lab.data import decode
from facog_lab.phase1 import Phase1
from facog_lab.runs import presets, stages
from facog_lab.runs.views_ahead import ViewsAhead


def test_the_counts_are_of_imagenet_lts_size():
    counts = listed.pareto_counts(115_846, 1280, 5)
    assert (sum(counts), max(counts), min(counts), len(counts)) == (115_846, 1280, 5, 1000)
    assert counts == sorted(counts, reverse=True)
    tenth = listed.pareto_counts(11_585, 128, 1)
    assert (sum(tenth), max(tenth), min(tenth)) == (11_585, 128, 1)


def settings(root, **phase1):
    data = {"dataset": "imagenet_lt", "image_root": str(root), "image_size": 40}
    small = {"crop_size": 32, "epochs": 1, "warmup_epochs": 0, "batch_size": 128, "lr": 0.05}
    return presets.experiment(data=data, phase1=small | phase1, phase2={"epochs": 1})


def test_the_preset_is_the_papers():
    paper = presets.experiment(data={"dataset": "imagenet_lt"})
    assert (paper.phase1.architecture, paper.phase1.projection_dim) == ("resnext50", 1024)
    assert (paper.phase1.epochs, paper.phase2.epochs) == (90, 10)
    assert (paper.phase1.augmentation, paper.phase1.crop_size) == ("imagenet", 224)


@pytest.mark.parametrize("augmentation", ["imagenet", "imagenet_autoaugment"])
def test_steps_of_its_network_on_listed_files(augmentation, tmp_path, monkeypatch):
    """ResNeXt-50 with D_E 2048 and D_P 1024, images decoded by a worker."""
    root = listed.tree(tmp_path / "images", [6, 4, 2])
    monkeypatch.setattr(decode, "DECODE_AT_MOST", 0)
    monkeypatch.setenv("FACOG_WORKERS", "1")
    asked = settings(root, batch_size=6, augmentation=augmentation)
    loop = Phase1(asked.phase1, stages.data(asked.data), "cpu")
    assert ViewsAhead(loop).decoded is not None
    assert loop.feature_dim == 2048
    assert models.parameter_count(loop.model.backbone) == 22_979_904
    before = loop.model.projector[-1].weight.clone()
    assert before.shape == (1024, 2048)
    assert len(list(loop)) == 2
    assert not torch.equal(before, loop.model.projector[-1].weight)


@pytest.mark.long
def test_all_stages_on_a_tenth_of_its_files(outputs, tmp_path, monkeypatch):
    """11,585 files in 1,000 classes, with a small network in the place of ResNeXt-50."""
    counts = listed.pareto_counts(11_585, 128, 1)
    root = listed.tree(tmp_path / "images", counts)
    monkeypatch.setattr(decode, "DECODE_AT_MOST", 0)
    monkeypatch.setenv("FACOG_WORKERS", "1")
    asked = settings(root, architecture="small", views=2, projection_dim=64)
    loop = runs.open(asked, "cpu").phase2.finish()
    assert loop.dictionary.class_counts.tolist() == counts
    scores = loop.evaluate()
    assert scores.acsa > 3 / 1000  # colours tell the classes a little; 1 / 1000 is chance
    groups = [sum(c > 100 for c in counts), sum(20 <= c <= 100 for c in counts)]
    assert min(groups) > 0
    assert all(0 <= s <= 1 for s in (scores.many, scores.medium, scores.few))
