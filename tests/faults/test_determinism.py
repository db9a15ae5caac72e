"""The same seed gives the same bytes, wherever and however it is computed."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import stages
import torch
from conftest import ROOT
from test_bad_data import as_folder, asked, tree

from facog_lab import phase1
from facog_lab.data import contents, decode
from facog_lab.data.load import load
from facog_lab.runs import checkpoint, store
from facog_lab.settings import Phase1Config

MAKE = """
import torch
torch.set_num_threads(1)
from facog_lab import runs
from facog_lab.runs import methods, presets
settings = presets.experiment(
    phase1={"epochs": 4, "warmup_epochs": 1}, dictionary={"views": 1}, phase2={"epochs": 10}, seed=9
)
runs.open(settings, "cpu").phase2.finish()
methods.run(runs.open(settings, "cpu"), "crt", "feature")
"""


def made(outputs, **environment):
    """Every file of every run, made in a process of its own."""
    own = {"FACOG_OUTPUTS": str(outputs), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", MAKE],
        check=True,
        capture_output=True,
        env=os.environ | own | environment,
    )
    found = {}
    for manifest in sorted(outputs.rglob("manifest.json")):
        for name in store.read_manifest(manifest)["files"]:
            path = manifest.parent / name
            found[str(path.relative_to(outputs))] = path.read_bytes()
    return found


@pytest.mark.long
def test_two_processes_make_the_same_bytes(tmp_path):
    one = made(tmp_path / "one", PYTHONHASHSEED="1")
    two = made(tmp_path / "two", PYTHONHASHSEED="2")
    assert len(one) == 4 * 3  # config, state and history of four stages
    assert one == two
    (first,) = (tmp_path / "one" / "digits" / "phase1").glob("*/manifest.json")
    record = json.loads(first.read_bytes())["record"]
    assert record["device"] == "cpu"
    assert record["environment"]["threads"] == 1
    assert {"torch", "numpy"} <= record["environment"]["versions"].keys()
    assert record["environment"]["processor"]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_views_and_batches_do_not_depend_on_how_many_threads_decode(workers, tmp_path, monkeypatch):
    """0 workers would be none beside the one that trains: `map` without a pool."""
    path = as_folder(tree(), tmp_path / "pets")
    monkeypatch.setattr(decode, "DECODE_AT_MOST", 0)  # so that images stay in their files
    config = Phase1Config(
        architecture="small", feature_dim=0, projection_dim=8, views=2, augmentation="crop",
        epochs=2, batch_size=4, warmup_epochs=0,
    )  # fmt: skip

    def taken():
        loop = phase1.Phase1(config, load(asked("folder", path)), "cpu")
        views = [loop.views(batch, 0) for batch in loop.batches]
        list(loop)
        return views, checkpoint.state(loop), loop.history

    with monkeypatch.context() as patch:
        patch.setattr(decode, "parallel", map)
        alone = taken()
    with ThreadPoolExecutor(workers) as pool:
        monkeypatch.setattr(contents, "_pool", lambda: pool)
        together = taken()
    assert all(torch.equal(a, b) for a, b in zip(alone[0], together[0], strict=True))
    assert all(torch.equal(alone[1][name], together[1][name]) for name in alone[1])
    assert alone[2] == together[2]


def test_views_and_batches_do_not_depend_on_how_many_processes_decode(tmp_path, monkeypatch):
    """0 are threads of the process that trains. Cut off and resumed, they begin where it does."""
    path = as_folder(tree(), tmp_path / "pets")
    monkeypatch.setattr(decode, "DECODE_AT_MOST", 0)
    config = Phase1Config(
        architecture="small", feature_dim=0, projection_dim=8, views=2, augmentation="crop",
        epochs=3, batch_size=4, warmup_epochs=0,
    )  # fmt: skip

    def loop(workers):
        monkeypatch.setenv("FACOG_WORKERS", workers)
        made = phase1.Phase1(config, load(asked("folder", path)), "cpu")
        assert (made.decoded is None) == (workers == "0")
        return made

    alone = loop("0")
    list(alone)
    for workers in ("1", "2"):
        first, second = loop(workers), loop(workers)
        for _ in range(first.steps_per_epoch):
            next(first)
        checkpoint.restore(second, checkpoint.state(first), first.history)
        list(second)
        for name, tensor in checkpoint.state(alone).items():
            assert torch.equal(tensor, checkpoint.state(second)[name]), name
        assert alone.history == second.history


def test_a_file_that_is_damaged_is_named_by_the_process_that_decodes(tmp_path, monkeypatch):
    path = as_folder(tree(), tmp_path / "pets")
    monkeypatch.setattr(decode, "DECODE_AT_MOST", 0)
    monkeypatch.setenv("FACOG_WORKERS", "1")
    made = phase1.Phase1(
        Phase1Config(
            architecture="small", feature_dim=0, projection_dim=8, views=2, augmentation="crop",
            epochs=1, batch_size=4,
        ),
        load(asked("folder", path)),
        "cpu",
    )  # fmt: skip
    (path / made.images.names[3]).write_bytes(b"no image")
    with pytest.raises(decode.DataError, match=re.escape(made.images.names[3])):
        list(made)


def test_the_readme_says_what_is_promised():
    words = (ROOT / "README.md").read_text()
    assert "## What is promised, what is not" in words
    assert "Same seed, versions, machine and number of threads: the same bytes on a CPU" in words


def test_stages_are_those_of_the_lab():
    assert {stages.run_of(stage).stage for stage in ("phase1", "phase2", "dictionary", "head")} == {
        "phase1", "phase2", "dictionary", "head"
    }  # fmt: skip
