import errno
import json
import os

import pytest
import torch
from pydantic import Field

from facog_lab.config import Config
from facog_lab.runs import checkpoint, store


class Settings(Config):
    lr: float = Field(0.1, gt=0)


@pytest.fixture
def run(outputs):
    return store.Run("digits", "phase1", Settings(), "upstream")


def save(run, value=1.0, done=True):
    run.save({"w": torch.tensor([value])}, {"epochs": {"loss": [value]}}, {"seconds": 1.5}, done)


def test_what_is_saved_is_loaded(run, outputs):
    assert run.load() is None
    save(run, done=False)
    saved = run.load()
    assert saved.tensors["w"].tolist() == [1.0]
    assert saved.history == {"epochs": {"loss": [1.0]}}
    assert saved.record["seconds"] == 1.5
    assert saved.record["environment"]["versions"]["torch"]
    assert not saved.complete
    assert run.folder == outputs / "digits" / "phase1" / run.key
    assert json.loads((run.folder / "config.json").read_text()) == {"lr": 0.1}


SHAPES = {"w": (torch.float32, (1000,))}


def test_a_reserved_state_that_is_filled_is_the_runs(run):
    with run.reserve(SHAPES):
        run.reserved()["w"].fill_(2)
        run.save_reserved({"seconds": 1.5})
    assert run.load().tensors["w"].tolist() == [2.0] * 1000
    assert not list(run.folder.glob(".*"))


def test_nothing_is_left_of_a_reserved_state_that_is_not_filled(run):
    with pytest.raises(KeyboardInterrupt), run.reserve(SHAPES):
        raise KeyboardInterrupt
    assert list(run.folder.iterdir()) == []


def test_nothing_is_left_where_there_is_no_room_to_reserve(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    said = pytest.raises(store.StoreError, match="4,000 bytes were to be written")
    with said, run.reserve(SHAPES):
        pass
    assert list(run.folder.iterdir()) == []


def test_the_last_save_and_the_one_before_it_are_kept_and_no_debris(run):
    for value in (1.0, 2.0, 3.0):
        save(run, value, done=False)
    assert run.load().tensors["w"].tolist() == [3.0]
    names = sorted(p.name.split("-")[0] for p in run.folder.iterdir())
    assert names == [
        *("config.json", "history", "history", "manifest.json", "previous.json"),
        *("state", "state"),
    ]


def test_a_save_cut_off_before_its_manifest_leaves_the_state_before(run, monkeypatch):
    save(run, 1.0, done=False)
    write = store.write

    def cut_off(path, content):
        if path.name == "manifest.json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(store, "write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save(run, 2.0)
    assert run.load().tensors["w"].tolist() == [1.0]
    monkeypatch.setattr(store, "write", write)
    assert len(list(run.folder.glob("state-*"))) == 1
    save(run, 3.0)
    assert run.load().tensors["w"].tolist() == [3.0]


@pytest.mark.parametrize("kind", ["state-*", "history-*", "manifest.json"])
def test_a_flipped_bit_is_found_and_the_file_named(run, kind):
    save(run)
    (path,) = run.folder.glob(kind)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(store.StoreError, match=path.name):
        run.load()


def test_who_reads_while_another_saves_gets_what_was_saved(run, outputs, monkeypatch, recwarn):
    """The files of the manifest that was read first may be gone by the time they are opened."""
    save(run, 1.0, done=False)
    checked, saves = store.checked, [2.0, 3.0, 4.0]

    def late(*arguments):
        while saves:
            save(store.Run("digits", "phase1", Settings(), "upstream"), saves.pop(0), done=False)
        return checked(*arguments)

    monkeypatch.setattr(store, "checked", late)
    assert run.load().tensors["w"].tolist() == [4.0]
    assert not recwarn.list


def test_a_missing_file_is_named(run):
    save(run)
    (path,) = run.folder.glob("state-*")
    path.unlink()
    with pytest.raises(store.StoreError, match=r"state-.* cannot be read \(No such file"):
        run.load()


def test_other_settings_or_upstream_are_another_run(outputs):
    keys = {
        store.Run("digits", "phase1", Settings(lr=lr), upstream).key
        for lr in (0.1, 0.2)
        for upstream in ("a", "b")
    }
    assert len(keys) == 4


def test_names_of_data_sets_cannot_leave_the_folder(outputs):
    run = store.Run("folder:../../etc/<b>", "phase1", Settings(), "u")
    assert outputs in run.folder.resolve().parents


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_optimisers_go_on_exactly(kind):
    def made():
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return module, kind(module.parameters(), lr=0.1, **options)

    def step(module, optimizer, seed):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()

    module, optimizer = made()
    for seed in range(3):
        step(module, optimizer, seed)
    packed = {k: v.clone() for k, v in checkpoint.pack(m=module, o=optimizer).items()}
    step(module, optimizer, 3)
    again, again_optimizer = made()
    checkpoint.unpack(packed, m=again, o=again_optimizer)
    step(again, again_optimizer, 3)
    assert torch.equal(again.weight, module.weight)
