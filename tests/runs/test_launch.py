import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from facog_lab import runs
from facog_lab.cli import train
from facog_lab.config import ConfigError
from facog_lab.runs import checkpoint, launch, presets
from facog_lab.runs.experiment import Experiment

EPOCHS = {"epochs": 4, "warmup_epochs": 1}  # of 4 steps on digits


@pytest.fixture
def settings(outputs):
    return presets.experiment(phase1=EPOCHS)


def torchrun(outputs, *options, die=""):
    """Phase 1 on digits in two processes, and the state that they save."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *options]
    command += ["--nproc-per-node", "2", str(ROOT / "tests" / "torchrun_phase1.py")]
    command += ["--device", "cpu", "-p", "epochs", "4", "-p", "warmup_epochs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DIE": die}
    environment["FACOG_OUTPUTS"] = str(outputs)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done


def saved(outputs):
    (folder,) = (outputs / "digits" / "phase1").iterdir()
    manifest = (folder / "manifest.json").read_text()
    assert '"complete": true' in manifest
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name.startswith(("sta", "his"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What two processes save when nobody dies."""
    outputs = tmp_path_factory.mktemp("whole")
    torchrun(outputs)
    return saved(outputs)


@pytest.mark.long
@pytest.mark.parametrize("dies", [0, 1])
def test_a_killed_process_costs_nothing_but_time(dies, whole, tmp_path):
    """Killed in the third epoch: torchrun starts all anew, and they go on from the second's end."""
    restarts = str(launch.RESTARTS)  # as the lab starts it: gloo itself aborted now and then
    said = torchrun(tmp_path / "killed", "--max-restarts", restarts, die=f"{dies}:9")
    assert "dies now" in said.stderr
    assert saved(tmp_path / "killed") == whole


def test_a_notebook_follows_the_processes_that_it_started(settings):
    alone = runs.open(settings, "cpu").phase1
    expected, history = checkpoint.state(alone.finish()), alone.history
    for path in alone.run.folder.iterdir():
        path.unlink()
    followed = runs.open(settings, "cpu", devices=2).phase1
    assert followed.loop.step == 0
    steps = list(followed)
    assert steps[-1].step == followed.loop.step == followed.loop.total_steps
    assert followed.complete
    assert followed.run.load().record["processes"] == 2
    assert followed.history["epochs"]["loss"] == pytest.approx(history["epochs"]["loss"], rel=1e-3)
    for name, tensor in checkpoint.state(followed.loop).items():
        assert torch.allclose(tensor.double(), expected[name].double(), atol=1e-2), name
    assert list(runs.open(settings, "cpu", devices=2).phase1) == []


def test_whoever_stops_looking_ends_the_processes(settings, monkeypatch):
    children = []
    start = subprocess.Popen

    def noted(*args, **kwargs):
        children.append(start(*args, **kwargs))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    for _ in launch.started(settings, "cpu", 2):
        break
    assert children[0].poll() is not None


def test_processes_that_fail_say_why(settings, monkeypatch):
    monkeypatch.setattr(launch, "RESTARTS", 0)
    few = settings.phase1.replace(batch_size=2)
    settings = Experiment(settings.data, few, settings.dictionary, settings.phase2)
    with pytest.raises(launch.LaunchError, match=r"batch_size = 2: with 2 processes"):
        list(launch.started(settings, "cpu", 2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "lamda_sc", "1"], "Did you mean 'lambda_sc'"),
        (["-p", "epochs", "many"], "epochs = 'many'"),
        (["-p", "seed", "-1"], "seed = '-1'"),
    ],
)
def test_what_the_command_line_does_not_know(arguments, said, capsys):
    assert train.main(arguments) == 1
    assert said in capsys.readouterr().err


def test_the_command_line_sets_data_and_phase_1():
    options = train._parsed(["-p", "dataset", "cifar100", "-p", "lr", "1e-3", "-p", "seed", "3"])
    settings = train._settings(options)
    assert settings == presets.experiment(data={"dataset": "cifar100"}, phase1={"lr": 1e-3}, seed=3)


def test_more_gpus_than_there_are(settings, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"devices = 2, and PyTorch sees 1 GPU"):
        next(launch.started(settings, "auto", 2))
