"""What a save leaves behind when it fails at any step, and what a load makes of rotten files."""

import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import stages as helpers
import torch
from pydantic import Field

from facog_lab import paths, runs
from facog_lab.config import Config, digest
from facog_lab.runs import checkpoint, presets, store
from facog_lab.runs import training as kept_training
from facog_lab.runs.manifest import as_json

KINDS = ("state", "history", "manifest", "previous", "config")
FAULTS = {"flip": 500, "truncate": 200, "zero": 200}


class Settings(Config):
    lr: float = Field(0.1, gt=0)


@pytest.fixture
def run(outputs):
    return store.Run("digits", "phase1", Settings(), "upstream")


def save(run, value, done=False):
    rng = torch.Generator().manual_seed(int(value))
    tensors = {"w": torch.randn(5000, generator=rng), "step": torch.tensor(int(value))}
    history = {"epochs": {"loss": [value + 1e-7 * i for i in range(400)]}}
    run.save(tensors, history, {"seconds": value, "lr": 1e-5, "name": "Straße"}, done)


def value_of(saved):
    expected = torch.randn(
        5000, generator=torch.Generator().manual_seed(int(saved.tensors["step"]))
    )
    assert torch.equal(saved.tensors["w"], expected)
    assert saved.history["epochs"]["loss"][0] == saved.record["seconds"]
    return saved.record["seconds"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# A fault at every step of a save


def steps_of_a_save(monkeypatch, folder, fail_at=None, error=None):
    """Counts what a save does on the disk; step `fail_at` raises instead."""
    count = [0]

    def counted(function):
        def step(*arguments, **options):
            at = arguments[0]
            if isinstance(at, int) or folder in (at, at.parent):  # else a package's own files
                count[0] += 1
                if count[0] == fail_at:
                    kind, *words = error
                    raise kind(*words)
            return function(*arguments, **options)

        return step

    for owner, name in ((Path, "open"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"),
                        (os, "fsync")):  # fmt: skip
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return count


@pytest.mark.parametrize("error", [(OSError, errno.EIO, "I/O error"), (KeyboardInterrupt,)])
def test_a_fault_between_every_two_steps_of_a_save(run, error):
    save(run, 1.0)
    save(run, 2.0)
    with pytest.MonkeyPatch.context() as patch:
        count = steps_of_a_save(patch, run.folder)
        save(run, 3.0)
        total = count[0]
    assert total > 20
    before = 3.0
    for fail_at in range(1, total + 1):
        failed = False
        with pytest.MonkeyPatch.context() as patch:
            steps_of_a_save(patch, run.folder, fail_at, error)
            try:
                save(run, before + 1)
            except (store.StoreError, KeyboardInterrupt):
                failed = True
        again = store.Run("digits", "phase1", Settings(), "upstream")
        found = value_of(again.load())
        assert found in (before, before + 1)
        assert failed or found == before + 1  # it may fail after the save, in tidying up
        save(again, before + 2)  # the run goes on, and takes the debris away
        assert value_of(again.load()) == before + 2
        assert len(names(run.folder)) == 7
        before += 2


# A full disk


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A file system of 3 MiB in memory."""
    where = tmp_path / "small"
    where.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", str(where)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs here; the limit on file sizes is tested instead")
    monkeypatch.setenv("FACOG_OUTPUTS", str(where / "outputs"))
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_full_disk(small_disk, monkeypatch):
    monkeypatch.setattr(kept_training, "SECONDS_BETWEEN_SAVES", 0.0)
    settings = presets.experiment(phase1={"epochs": 6, "warmup_epochs": 1}, seed=4)
    training = runs.open(settings, "cpu").phase1
    steps = iter(training)
    while (step := next(steps)).epoch < 2:
        pass
    before = names(training.run.folder)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(free - 2**14))
    with pytest.raises(
        store.StoreError, match=r"No space left.* bytes were to be written, .* free"
    ):
        list(steps)
    at = training.loop.step
    assert at > step.step
    assert names(training.run.folder) == before
    assert runs.open(settings, "cpu").phase1.loop.step == 2 * training.loop.steps_per_epoch
    ballast.unlink()
    training.finish()  # the run in memory goes on from where it was
    monkeypatch.setenv("FACOG_OUTPUTS", str(small_disk.parent / "elsewhere"))
    whole = runs.open(settings, "cpu").phase1
    whole.finish()
    assert same(checkpoint.state(whole.loop), checkpoint.state(training.loop))


def test_a_full_disk_at_the_very_last_save(run, small_disk, monkeypatch):
    settings = presets.experiment(phase1={"epochs": 2, "warmup_epochs": 1}, seed=4)
    training = runs.open(settings, "cpu").phase1
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 * 2**20 - 2**16))
    with pytest.raises(store.StoreError, match="No space left"):
        training.finish()
    assert runs.open(settings, "cpu").phase1.loop.step == 0
    ballast.unlink()
    training.finish()
    assert runs.open(settings, "cpu").phase1.complete


def test_a_limit_on_the_size_of_files_is_a_full_disk(run):
    save(run, 1.0)
    before = names(run.folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(store.StoreError, match="File too large"):
            save(run, 2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(run.folder) == before
    assert value_of(run.load()) == 1.0


def test_a_file_where_the_folder_of_runs_is_meant(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FACOG_OUTPUTS", str(tmp_path / "file"))
    run = store.Run("digits", "phase1", Settings(), "upstream")
    with pytest.raises(store.StoreError, match=r"file/digits.* name another folder in FACOG_OUT"):
        save(run, 1.0)
    with pytest.raises(store.StoreError, match="name another folder"), run.making():
        pass


# Rotten files


def rotten(kind, content, rng):
    """A copy of a file's bytes with one fault in it."""
    if kind == "truncate":
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    if kind == "flip":
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:  # a page of zeros, as a file system leaves it that lost one
        page = rng.randrange(-(-len(content) // 4096)) * 4096
        changed[page : page + 4096] = bytes(len(changed[page : page + 4096]))
    return bytes(changed)


def path_of(run, kind):
    if kind in ("state", "history"):
        listed = store.read_manifest(run.folder / "manifest.json")["files"]
        return run.folder / next(name for name in listed if name.startswith(kind))
    return run.folder / f"{kind}.json"


def rot(run, kind, faults, rng):
    """Loads a run with each of so many faults in one of its files; they must all be noticed."""
    path = path_of(run, kind)
    whole = path.read_bytes()
    for fault, number in faults.items():
        for _ in range(number):
            content = rotten(fault, whole, rng)
            assert content != whole
            path.write_bytes(content)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                found = value_of(run.load())
            (words,) = (str(w.message) for w in said if w.category is store.RunWarning)
            yield path, found, words
            path.write_bytes(whole)


@pytest.mark.parametrize("times", [0.04, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["state", "history", "manifest"])
def test_no_rotten_file_is_loaded_and_the_state_before_is_used(run, kind, times):
    save(run, 1.0)
    save(run, 2.0, done=True)
    faults = {fault: round(times * number) for fault, number in FAULTS.items()}
    for path, found, words in rot(run, kind, faults, random.Random(kind)):
        assert found == 1.0
        assert str(path) in words
        assert "The state that was saved before it is used" in words


@pytest.mark.parametrize("times", [0.04, pytest.param(1, marks=pytest.mark.long)])
def test_a_rotten_config_is_said_and_written_again(run, times):
    save(run, 1.0)
    config = run.folder / "config.json"
    whole = config.read_bytes()
    faults = {fault: round(times * number) for fault, number in FAULTS.items()}
    rng = random.Random(1)
    for fault, number in faults.items():
        for _ in range(number):
            config.write_bytes(rotten(fault, whole, rng))
            with pytest.warns(store.RunWarning, match=r"config\.json is damaged"):
                assert value_of(run.load()) == 1.0
            assert config.read_bytes() == whole


@pytest.mark.parametrize("kind", ["state", "history", "manifest"])
def test_without_a_state_before_it_is_an_error(run, kind):
    save(run, 1.0)
    path, rng = path_of(run, kind), random.Random(kind)
    whole = path.read_bytes()
    for fault, number in FAULTS.items():
        for _ in range(number // 20):
            path.write_bytes(rotten(fault, whole, rng))
            with pytest.raises(store.DamagedError, match=path.name):
                run.load()


def test_the_manifest_before_is_not_taken_on_trust(run):
    save(run, 1.0)
    save(run, 2.0)
    path_of(run, "state").write_bytes(b"")
    previous = run.folder / "previous.json"
    whole, rng = previous.read_bytes(), random.Random(4)
    for fault in FAULTS:
        for _ in range(20):
            previous.write_bytes(rotten(fault, whole, rng))
            with pytest.raises(store.DamagedError, match="state-"):
                run.load()


def test_a_run_with_a_rotten_state_goes_on_from_the_one_before(outputs, monkeypatch):
    monkeypatch.setattr(kept_training, "SECONDS_BETWEEN_SAVES", 0.0)
    settings = presets.experiment(phase1={"epochs": 4, "warmup_epochs": 1}, seed=6)
    training = runs.open(settings, "cpu").phase1
    training.finish()
    expected = stages_files(training.run)
    path_of(training.run, "state").write_bytes(b"rot")
    with pytest.warns(store.RunWarning, match="state-"):
        again = runs.open(settings, "cpu").phase1
    assert not again.complete
    assert [step.epoch for step in again] == [3] * again.loop.steps_per_epoch
    assert stages_files(training.run) == expected


def stages_files(run):
    manifest = store.read_manifest(run.folder / "manifest.json")
    return {name: (run.folder / name).read_bytes() for name in manifest["files"]}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


# Runs of others


def forged(run, **changes):
    path = run.folder / "manifest.json"
    manifest = store.read_manifest(path) | changes
    path.write_bytes(as_json(manifest | {"digest": digest(manifest)}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "is of another run: format 2, here 1"),
        ({"key": "0" * 12, "stage": "phase2"}, "stage 'phase2', here 'phase1'"),
        ({"key": "0" * 12, "upstream": "other"}, "upstream 'other', here 'upstream'"),
    ],
)
def test_a_run_of_another_version_or_upstream(run, changes, message):
    save(run, 1.0)
    save(run, 2.0)
    forged(run, **changes)
    with pytest.raises(store.StoreError, match=message):
        run.load()


def test_a_run_of_another_config_under_the_same_name(outputs):
    first = store.Run("digits", "phase1", Settings(lr=0.2), "upstream", "mine")
    save(first, 1.0)
    second = store.Run("digits", "phase1", Settings(lr=0.3), "upstream", "mine")
    with pytest.raises(store.StoreError, match=r"another run: lr = 0\.2, here 0\.3"):
        second.load()


def test_a_state_that_does_not_fit_the_networks(outputs):
    settings = presets.experiment(phase1={"epochs": 1, "warmup_epochs": 0}, seed=6)
    training = runs.open(settings, "cpu").phase1
    training.run.save({"step": torch.tensor(4)}, {"epochs": {}}, {"seconds": 1.0}, False)
    with pytest.raises(store.StoreError, match=r"was made by version .* does not fit"):
        _ = runs.open(settings, "cpu").phase1


def test_a_run_that_was_begun_elsewhere_says_so(outputs, monkeypatch):
    monkeypatch.setattr(kept_training, "SECONDS_BETWEEN_SAVES", 0.0)
    settings = presets.experiment(phase1={"epochs": 3, "warmup_epochs": 0}, seed=6)
    elsewhere = store.environment() | {"threads": 32}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "environment", lambda: elsewhere)
        for step in runs.open(settings, "cpu").phase1:
            if step.epoch == 1:
                break
    with pytest.warns(store.RunWarning, match="threads 32, here 1"):
        _ = runs.open(settings, "cpu").phase1


# Two at once


def test_two_notebooks_that_ask_at_once_make_it_once(tmp_path):
    outputs = tmp_path / "outputs"
    both = [helpers.start("phase1", outputs) for _ in range(2)]
    saved = [answer.recv() for _, answer in both]
    for process, _ in both:
        process.join(60)
    assert sorted(n > 50 for n in saved) == [False, True]  # one wrote, the other only read
    helpers.result("phase1", outputs)


def test_a_notebook_does_not_wait_for_itself(outputs):
    settings = presets.experiment(phase1={"epochs": 2, "warmup_epochs": 0}, seed=6)
    steps = iter(runs.open(settings, "cpu").phase1)
    next(steps)
    loop = runs.open(settings, "cpu").phase1.finish()
    assert len(list(steps)) == loop.total_steps - 1


HOLD = """
import sys
from facog_lab.runs import store
from facog_lab.dictionary import DictionaryConfig
with store.Run("data", "stage", DictionaryConfig(), "upstream").making():
    print("made here", flush=True)
    sys.stdin.read()
"""


def test_who_waits_is_told(outputs):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first, second = (subprocess.Popen([sys.executable, "-c", HOLD], **pipes) for _ in range(2))
    heard = {process: process.stdout.readline() for process in (first, second)}
    first, second = sorted(heard, key=heard.get, reverse=True)
    assert heard[first] == "made here\n"
    assert heard[second].endswith("is being made elsewhere: waiting for it\n")
    first.communicate()
    assert second.communicate()[0] == "made here\n"


def test_the_lock_of_a_dead_owner_is_free(outputs):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    owner = subprocess.Popen([sys.executable, "-c", HOLD], **pipes)
    assert owner.stdout.readline() == "made here\n"
    owner.kill()
    owner.communicate()
    assert list((outputs / ".locks").iterdir())  # its file is still there
    heir = subprocess.Popen([sys.executable, "-c", HOLD], **pipes)
    assert heir.communicate()[0] == "made here\n"  # and nobody was waited for


def test_writes_are_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    paths.write(path, b"before")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(5, "I/O")))
    with pytest.raises(OSError, match="I/O"):
        paths.write(path, b"after")
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a.json"]


def test_the_record_is_json():
    assert json.loads(as_json({"a": [1.5, None]})) == {"a": [1.5, None]}
