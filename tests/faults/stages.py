"""Makes a stage's run in a process of its own, so that a test can end that process."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import torch

from facog_lab import runs
from facog_lab.rivals.heads import head_config
from facog_lab.runs import methods, presets, stages, store, training

# The server has imported all that a child needs, so that a child is there in milliseconds.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["facog_lab.rivals.networks", "sklearn.datasets"])
HEAD_EPOCHS = 20
STEPS = ("open", "replace", "unlink")  # of pathlib.Path, by which a save is made


def settings():
    return presets.experiment(
        phase1={"epochs": 8, "warmup_epochs": 1, "batch_size": 64, "lr": 0.1},
        dictionary={"views": 8},
        phase2={"epochs": 20},
        seed=3,
    )


def run_of(stage):
    """The folder of a stage."""
    if stage != "head":
        return stages.run_of(settings(), stage)
    upstream = stages.run_of(settings(), "dictionary").key
    config = head_config("crt", epochs=HEAD_EPOCHS, seed=3)
    return store.Run("digits", "head", config, upstream)


def ask(stage):
    """Asks for a stage as a notebook would."""
    if stage in ("phase1", "phase2"):
        getattr(stages, stage)(settings(), "cpu").finish()
    elif stage == "dictionary":
        _ = runs.open(settings(), "cpu").dictionary
    else:
        methods.head_on(runs.open(settings(), "cpu").source, "crt", HEAD_EPOCHS, 3, "cpu")


def child(stage, outputs, began, die_at):
    """The body of a process: makes a stage, saving after every epoch."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["FACOG_OUTPUTS"] = str(outputs)
    torch.set_num_threads(1)
    training.SECONDS_BETWEEN_SAVES = 0.0
    count = count_steps(outputs, die_at)
    began.send("")
    ask(stage)
    began.send(count[0])


def count_steps(outputs, die_at=None):
    """Counts the steps of every save; ends this process by SIGKILL before step `die_at`."""
    count = [0]

    def counted(function):
        def step(path, *arguments, **options):
            if outputs in Path(path).parents and ".locks" not in str(path):
                count[0] += 1
                if count[0] == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(path, *arguments, **options)

        return step

    for name in STEPS:
        setattr(Path, name, counted(getattr(Path, name)))
    flush = os.fsync

    def flushed(handle):
        count[0] += 1
        if count[0] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(handle)

    os.fsync = flushed
    return count


def start(stage, outputs, die_at=None):
    """A process that makes a stage, and where it says that it began and how many steps it took."""
    here, there = CHILDREN.Pipe(duplex=False)
    process = CHILDREN.Process(target=child, args=(stage, outputs, there, die_at))
    process.start()
    there.close()
    here.recv()
    return process, here


def result(stage, outputs):
    """What a run came to: its files byte by byte, and its scores."""
    before = os.environ.get("FACOG_OUTPUTS")
    os.environ["FACOG_OUTPUTS"] = str(outputs)
    try:
        folder = run_of(stage).folder
        assert run_of(stage).load().complete
    finally:
        os.environ.pop("FACOG_OUTPUTS") if before is None else os.environ.update(
            FACOG_OUTPUTS=before
        )
    manifest = store.read_manifest(folder / "manifest.json")
    files = {name: (folder / name).read_bytes() for name in manifest["files"]}
    return files, manifest["record"].get("metrics"), manifest["record"]["split_hash"]
