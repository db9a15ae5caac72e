import math
import re

import pytest
import tiny
import torch

from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase1 import Phase1
from facog_lab.plots.diagnostics import (
    UNDERFIT,
    WINDOW,
    alarms,
    nearest_classes,
    on_training_images,
    underfit,
)
from facog_lab.runs.extract import extract
from facog_lab.settings import DictionaryConfig, Phase1Config

NOTHING = torch.tensor([], dtype=torch.int64)


def history(steps=60, **changes):
    """A healthy one: w between one-hot and uniform, D and G even."""
    usual = {"oversampler": "facog", "n_s": 5, "entropy": 0.8, "max_weight": 0.6}
    usual |= {"score_real": 0.5, "score_generated": 0.5}
    return {name: [value] * steps for name, value in (usual | changes).items()}


def test_silent_where_nothing_is_wrong():
    assert alarms(history(), torch.tensor([0, 1]), torch.tensor([0, 1])) == []
    assert alarms({}, NOTHING, NOTHING) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entropy": 0.05, "max_weight": 0.99}, "w has collapsed to one feature.*0.99"),
        ({"entropy": math.log(5)}, "w is the mean: all 5 features"),
        ({"score_real": 0.97, "score_generated": 0.02}, "D always wins.*0.97.*0.02"),
    ],
)
def test_each_alarm(changes, said):
    (alarm,) = alarms(history(**changes), NOTHING, NOTHING)
    assert re.search(said, alarm)


def test_what_is_not_learned_raises_no_alarm():
    for name in ("random_oversampling", "uniform_weights"):
        assert alarms(history(oversampler=name, entropy=0.0), NOTHING, NOTHING) == []
    assert alarms(history(n_s=1, entropy=0.0), NOTHING, NOTHING) == []


def test_only_the_last_steps_count():
    steps = history(entropy=0.05)
    steps["entropy"] = [0.05] * 35 + [0.8] * WINDOW
    assert alarms(steps, NOTHING, NOTHING) == []
    steps["n_s"] = [5] * 59 + [2]  # the window has two of them, so its entropy says nothing
    steps["entropy"] = [0.0] * 60
    assert alarms(steps, NOTHING, NOTHING) == []


def test_features_that_leave_their_class():
    labels = torch.arange(10).repeat(10)
    nearest = labels.clone()
    nearest[:10] = (labels[:10] + 1) % 10
    assert alarms(history(), nearest, labels) == []  # one in ten is on the border
    nearest[10:15] = 9
    (alarm,) = alarms(history(), nearest, labels)
    assert "leave their class: 15%" in alarm


def test_nearest_against_a_double_loop():
    rng = torch.Generator().manual_seed(0)
    real, some = torch.randn(30, 4, generator=rng), torch.randn(7, 4, generator=rng)
    labels = torch.randint(3, (30,), generator=rng)
    expected = [
        int(labels[min(range(30), key=lambda r: float((f - real[r]).norm()))]) for f in some
    ]
    assert nearest_classes(some, real, labels).tolist() == expected


def test_a_discriminator_that_wins_is_called_out_whatever_learns():
    won = history(oversampler="cgan", score_real=0.97, score_generated=0.02)
    won["entropy"] = [None] * 60
    (alarm,) = alarms(won, NOTHING, NOTHING)
    assert "D always wins" in alarm
    won["score_real"] = won["score_generated"] = [None] * 60
    assert alarms(won, NOTHING, NOTHING) == []


class Says(torch.nn.Module):
    """A classifier of one-number features: the class that the number is."""

    def __init__(self, classes):
        super().__init__()
        self.classes = torch.nn.Parameter(torch.arange(float(classes)))

    def forward(self, features):
        assert features.dtype == torch.float32
        return -(features - self.classes).abs()


def told(counts, right, copies=1, dtype=torch.float32):
    """A dictionary whose classes have so many clean rows that `Says` gets right.

    Rows of augmented views are all wrong.
    """
    features, labels, images, first = [], [], [], 0
    for copy in range(copies):
        first = 0
        for label, (count, good) in enumerate(zip(counts, right, strict=True)):
            wrong = (label + 1) % len(counts)
            for i in range(count):
                features.append(label if copy == 0 and i < good else wrong)
                labels.append(label)
                images.append(first + i)
            first += count
    made = torch.tensor(features, dtype=dtype)[:, None]
    test = torch.arange(float(len(counts)))[:, None]
    return FeatureDictionary.build(
        made, torch.tensor(labels), torch.tensor(images),
        tuple(map(str, range(len(counts)))), test, torch.arange(len(counts)),
    )  # fmt: skip


class TestUnderfit:
    def test_it_counts_classes_alike_however_large(self):
        """Top-1 is 0.96 here, ACSA 0.5: the head was learned, the tail was not."""
        made = told((96, 4), (96, 0))
        assert on_training_images(Says(2), made).acsa == 0.5
        (alarm,) = underfit(Says(2), made)
        assert alarm.startswith("Phase 1 is underfit: of its own training images it recognises 50%")
        assert "guessing gives 50%" in alarm
        for remedy in ("more epochs", "higher learning rate", "more images", "nothing about FACoG"):
            assert remedy in alarm

    def test_the_border(self):
        assert UNDERFIT == 0.6
        assert underfit(Says(2), told((10, 10), (6, 6))) == []
        assert len(underfit(Says(2), told((10, 10), (6, 5)))) == 1

    def test_augmented_views_do_not_count(self):
        assert underfit(Says(3), told((8, 4, 2), (8, 4, 2), copies=4)) == []
        assert on_training_images(Says(3), told((8, 4, 2), (4, 2, 1), copies=4)).acsa == 0.5

    def test_features_kept_as_float16(self):
        assert underfit(Says(2), told((4, 4), (4, 4), dtype=torch.float16)) == []

    @pytest.mark.parametrize(("epochs", "said"), [(1, 1), (12, 0)])
    def test_a_real_phase_1(self, epochs, said):
        data = tiny.long_tailed()
        loop = Phase1(Phase1Config(**tiny.PHASE1 | {"epochs": epochs}), data, "cpu")
        for _ in loop:
            pass
        made = extract(loop, DictionaryConfig(views=1))
        assert len(underfit(loop.model.classifier, made)) == said
        with torch.no_grad():
            clean = loop.model.eval()((data.images.float() / 255 - 0.4) / 0.2).argmax(1)
        right = [float((clean[data.labels == c] == c).float().mean()) for c in range(3)]
        assert on_training_images(loop.model.classifier, made).per_class == pytest.approx(right)
