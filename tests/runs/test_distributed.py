"""Two processes against one, in float64 on a CPU: the same steps but for rounding."""

import groups
import pytest
import safetensors.torch
import tiny
import torch

from facog_lab import dictionary
from facog_lab.config import ConfigError
from facog_lab.phase1 import Phase1
from facog_lab.runs import checkpoint, distributed, mmap
from facog_lab.runs.extract import extract, layout
from facog_lab.settings import DictionaryConfig, Phase1Config

SETTINGS = tiny.PHASE1 | {"epochs": 7}  # 21 steps; batches of 23 images, which two cannot halve
OBJECTIVES = [
    {"objective": "ce"},  # whose projector learns nothing
    {"objective": "bcl", "projection_dim": 4},  # whose prototypes have a batch norm of classes
    {"objective": "lade", "reweighting": "cb"},
    {"objective": "tsc", "views": 3},  # which remembers means, and draws
]
IN_FLOAT32 = ("tsc",)  # whose targets are

pytestmark = pytest.mark.first


def started(config):
    data = tiny.long_tailed()
    return Phase1(config, data, "cpu", distributed.world(config.batch_size, len(data.labels)))


def phase1(changes):
    exact = changes.get("objective") not in IN_FLOAT32
    torch.set_default_dtype(torch.float64 if exact else torch.float32)
    try:
        loop = started(Phase1Config(**SETTINGS | changes))
    finally:
        torch.set_default_dtype(torch.float32)
    if exact:
        views = loop.batch_views
        loop.batch_views = lambda epoch, batch: views(epoch, batch).double()
    return loop


def steps(changes, count, state=None):
    """The gradients of so many steps, and the state after them."""
    loop = phase1(changes)
    if state:
        checkpoint.restore(loop, *state)
    owners, gradients = (loop.model, loop.objective), []
    for _ in range(count):
        next(loop)
        of = [p.grad for owner in owners for p in owner.parameters()]
        gradients.append([None if g is None else g.clone() for g in of])
    return {"gradients": gradients, "state": (checkpoint.state(loop), loop.history)}


def refused(changes):
    with pytest.raises(ConfigError) as error:
        phase1(changes)
    return str(error.value)


def normalised(x, gradient):
    """Batch norm of this process's share, forwards and backwards."""
    norm = torch.nn.BatchNorm2d(4).double()
    with torch.no_grad():
        norm.weight.copy_(torch.arange(4) + 0.5)
    if distributed.count() > 1:
        distributed.sync_batchnorm(torch.nn.Sequential(norm))
    own = distributed.shard(torch.arange(len(x)))
    x = x[own].clone().requires_grad_()
    made = norm(x)
    made.backward(gradient[own])
    return made.detach(), x.grad, norm.weight.grad, norm.bias.grad, dict(norm.named_buffers())


def extracted(path):
    """A dictionary in a file, in blocks of 10 images; the file's content, of the first process."""
    dictionary.BATCH = 10
    try:
        torch.set_num_threads(1)
        loop = started(Phase1Config(**SETTINGS))
        settings = DictionaryConfig(views=1)
        if distributed.rank() == 0:
            mmap.create(path, layout(loop, settings))
        distributed.wait()
        extract(loop, settings, into=mmap.read(path, write=True).tensors)
    finally:
        dictionary.BATCH = 500
    return path.read_bytes()


def noise():
    """Images with a large mean, where the difference of sums of squares would lose digits."""
    rng = torch.Generator().manual_seed(0)
    x = 1000 + torch.randn(7, 4, 5, 5, dtype=torch.float64, generator=rng)
    return x, torch.randn(x.shape, dtype=torch.float64, generator=rng)


@pytest.fixture(scope="module")
def alone():
    torch.set_num_threads(1)
    return steps({}, 20)


@pytest.fixture(scope="module")
def pair(alone, tmp_path_factory):
    """What two processes made, by job."""
    begun = steps({}, 9)["state"]
    jobs = {
        "whole": (steps, {}, 20),
        "begun": (steps, {}, 9),
        "rest": (steps, {}, 11, begun),
        "refused": (refused, {"batch_size": 2}),
        "normalised": (normalised, *noise()),
        "extracted": (extracted, tmp_path_factory.mktemp("pair") / "dictionary"),
    }
    jobs |= {changes["objective"]: (steps, changes, 6) for changes in OBJECTIVES}
    return groups.run(2, jobs, tmp_path_factory.mktemp("pair"))


def assert_near(one, other, of_gradients=1e-9, of_parameters=1e-8):
    for ours, theirs in zip(one["gradients"], other["gradients"], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            assert a is None or (a - b).abs().max() <= of_gradients
    for (name, a), b in zip(one["state"][0].items(), other["state"][0].values(), strict=True):
        assert (a.double() - b.double()).abs().max() <= of_parameters, name
    for name, column in one["state"][1]["epochs"].items():
        assert column == pytest.approx(other["state"][1]["epochs"][name], abs=1e-4), name


def test_two_processes_take_the_steps_of_one(alone, pair):
    """20 steps; shares of 12 and of 11 images."""
    for one in pair["whole"]:
        assert_near(alone, one)
    # so that the comparison means something
    assert (alone["state"][0]["model.backbone.bn.running_var"] - 1).abs().max() > 0.01
    assert min(max(g.abs().max() for g in of) for of in alone["gradients"]) > 1e-3


def test_what_one_process_began_two_go_on_with(alone, pair):
    assert_near(alone | {"gradients": alone["gradients"][9:]}, pair["rest"][0])


def test_what_two_processes_began_one_goes_on_with(alone, pair):
    rest = steps({}, 11, pair["begun"][0]["state"])
    assert_near(alone | {"gradients": alone["gradients"][9:]}, rest)


@pytest.mark.parametrize("changes", OBJECTIVES, ids=lambda changes: changes["objective"])
def test_each_objective_is_of_the_whole_batch(changes, pair):
    name = changes["objective"]
    near = (1e-4, 1e-4) if name in IN_FLOAT32 else (1e-9, 1e-8)
    assert_near(steps(changes, 6), pair[name][1], *near)


def test_no_process_is_without_an_image(pair):
    for said in pair["refused"]:
        assert "batch_size = 2: with 2 processes" in said


def test_a_dictionary_is_the_same_bytes(pair, tmp_path):
    alone = extracted(tmp_path / "dictionary")
    assert pair["extracted"] == [alone, alone]
    tensors = safetensors.torch.load(alone)
    assert tensors["features"].shape == (138, 64)
    assert tensors["features"].abs().sum(1).min() > 0
    assert tensors["test_features"].abs().sum(1).min() > 0


def test_batch_norm_over_shares_is_batch_norm_of_the_whole(pair):
    whole = normalised(*noise())
    one, other = pair["normalised"]
    for k in range(2):
        assert torch.allclose(torch.cat([one[k], other[k]]), whole[k], rtol=0, atol=1e-10)
    for k in (2, 3):
        assert torch.allclose(one[k] + other[k], whole[k], rtol=0, atol=1e-10)
    for name, buffer in whole[4].items():
        assert torch.allclose(one[4][name], buffer, rtol=1e-12, atol=0), name
        assert torch.equal(one[4][name], other[4][name])
