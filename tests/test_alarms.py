import math
import re

import pytest
import torch

from facog_lab.alarms import WINDOW, alarms, nearest_classes

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
