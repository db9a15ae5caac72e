import pytest
import torch

from facog_lab.rng import derive_seed, rng_for, seeded, uniform

MASK = 2**64 - 1


def splitmix(state):
    """The published finaliser on Python's unbounded integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def test_uniform_is_splitmix64():
    index = torch.tensor([0, 1, 12345, 2**40])
    ours = uniform(3, 7, index, "crop", 4)
    golden = 0x9E3779B97F4A7C15
    for row, i in zip(ours.tolist(), index.tolist(), strict=True):
        state = splitmix((i * golden + derive_seed(3, 7, "crop")) & MASK)
        expected = [(splitmix((state + k * golden) & MASK) >> 40) / 2**24 for k in range(1, 5)]
        assert row == expected


def test_a_sample_has_its_numbers_whatever_the_batch():
    index = torch.arange(100)
    whole = uniform(0, 0, index, "a", 3)
    order = torch.randperm(100)
    assert torch.equal(uniform(0, 0, index[order], "a", 3), whole[order])
    assert torch.equal(uniform(0, 0, index[5:6], "a", 3), whole[5:6])
    assert torch.equal(uniform(0, 0, index, "a", 2), whole[:, :2])


def test_uniform_is_uniform_and_independent():
    table = uniform(0, 0, torch.arange(200_000), "a", 6)
    assert table.min() >= 0
    assert table.max() < 1
    for column in table.T:
        counts = torch.histc(column, 64, 0, 1)
        expected = len(column) / 64
        assert ((counts - expected) ** 2 / expected).sum() < 110  # p = 0.0002 at 63 degrees
    assert (torch.corrcoef(table.T) - torch.eye(6)).abs().max() < 0.01


def test_other_keys_are_other_numbers():
    index = torch.arange(1000)
    tables = [
        uniform(*keys, 1)
        for keys in ((0, 0, index, "a"), (1, 0, index, "a"), (0, 1, index, "a"), (0, 0, index, "b"))
    ]
    together = torch.cat(tables, 1)
    assert (torch.corrcoef(together.T) - torch.eye(4)).abs().max() < 0.12
    # keys are joined so that ("1", "23") and ("12", "3") differ
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_generators_and_seeded_blocks_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    one = torch.rand(3, generator=rng_for("cpu", 5, "x"))
    with seeded(5, "x"):
        inside = torch.rand(3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one, inside)


def test_a_seeded_block_seeds_no_generator_but_the_cpus(monkeypatch):
    """A GPU's global generator would not be as before: the block restores the CPU's alone."""
    called = []
    for device in ("cuda", "mps", "xpu"):
        module = getattr(torch, device)
        for name in ("manual_seed", "manual_seed_all"):
            where = f"{device}.{name}"
            monkeypatch.setattr(module, name, lambda _, w=where: called.append(w), raising=False)
    with seeded(5, "x"):
        torch.rand(3)
    assert called == []


def test_a_seeded_block_gives_the_numbers_it_always_gave():
    """Initial weights of all runs that there are come from these."""
    with seeded(0, "phase1", "weights"):
        drawn = torch.rand(2)
    torch_seeded = torch.Generator().manual_seed(derive_seed(0, "phase1", "weights"))
    assert torch.equal(drawn, torch.rand(2, generator=torch_seeded))
    assert drawn.tolist() == [0.2740465998649597, 0.030820846557617188]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_seeded_block_leaves_a_real_gpus_generator_alone():
    before = torch.cuda.get_rng_state_all()
    with seeded(5, "x"):
        torch.rand(3)
    after = torch.cuda.get_rng_state_all()
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
