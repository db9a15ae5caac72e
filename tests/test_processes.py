import groups
import pytest
import tiny
import torch

from facog_lab import models, processes
from facog_lab.config import ConfigError
from facog_lab.phase1 import Phase1, Phase1Config

# Three channels of 8×8 in 20 steps; batches of 23 images, which two processes cannot halve.
SETTINGS = tiny.PHASE1 | {"epochs": 7}


def double(changes):
    """A loop in float64."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        loop = Phase1(Phase1Config(**SETTINGS | changes), tiny.long_tailed(), "cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    views = loop._views_of
    loop._views_of = lambda batch, epoch: views(batch, epoch).double()
    return loop


def steps(changes, count, state=None):
    """A loop's gradients after a step, its parameters and history after so many."""
    loop = double(changes)
    if state:
        loop.load_state(*state)
    gradients = []
    for _ in range(count):
        next(loop)
        gradients.append([None if p.grad is None else p.grad.clone() for p in parameters(loop)])
    return {"state": (loop.state(), loop.history), "gradients": gradients}


def parameters(loop):
    return [*loop.model.parameters(), *loop.objective.parameters()]


def assert_near(one, other, gradients=1e-9, parameters=1e-8):
    for ours, theirs in zip(one["gradients"], other["gradients"], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            assert a is None or (a - b).abs().max() <= gradients
    for (name, a), b in zip(one["state"][0].items(), other["state"][0].values(), strict=True):
        assert (a.double() - b.double()).abs().max() <= parameters, name
    for name, column in one["state"][1]["epochs"].items():
        assert column == pytest.approx(other["state"][1]["epochs"][name], abs=1e-6), name


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_take_the_steps_of_one(count, tmp_path):
    """20 steps in float64, shares of unequal size: 12 and 11, or 8, 8 and 7 of 23 images."""
    alone = steps({}, 20)
    several = groups.run(count, steps, {}, 20, folder=tmp_path)
    for one in several:
        assert_near(alone, one)
    state = alone["state"][0]
    moved = state["model.backbone.bn.running_var"]
    assert (moved - 1).abs().max() > 0.01  # so that the comparison of batch norms means something


