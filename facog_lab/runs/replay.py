"""A phase 2 that is steered: what was changed when, the same run again, other ways on from a step.

Every step records the controls that it read, so a history says all about a run that a hand steered:

    facog-lab replay outputs/digits/steered/2026-11-23_14-15-03

takes it again without a front end and says whether it came out the same, to the last byte.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facog_lab.config import ConfigError, Device, unknown
from facog_lab.metrics import Step
from facog_lab.paths import new_folder
from facog_lab.phase2 import Phase2
from facog_lab.runs import checkpoint, store, training, verify
from facog_lab.runs.divergence import Guarded
from facog_lab.runs.progress import Progress
from facog_lab.runs.stages import Lab
from facog_lab.settings import Controls, Experiment, controls_at, controls_of


@dataclass(frozen=True)
class Change:
    """A control that was changed.

    Attributes:
        step: the first step that used the new value, from 1.
        control: its name, a field of Controls.
        old: the value before.
        new: the value from this step on.
    """

    step: int
    control: str
    old: Any
    new: Any


def changes(steps: Mapping[str, Sequence[Any]], start: Controls) -> list[Change]:
    """What was changed in a run, in the order of the steps.

    Args:
        steps: the table "steps" of its history.
        start: the controls of its config; what differs at the first step was changed before it.
    """
    found = []
    for name, old in start:
        for step, recorded in enumerate(steps.get(name, []), 1):
            new = Controls.LATER.get(name) if recorded is None else recorded
            if new != old:
                found.append(Change(step, name, old, new))
                old = new
    return sorted(found, key=lambda change: change.step)


def replay(loop: Phase2, steps: Mapping[str, Sequence[Any]], until: int) -> Iterator[Step]:
    """Takes the steps of a recorded run again, each with the controls that it had.

    Args:
        loop: at its first step, of the same config, dictionary and model.
        steps: the table "steps" of the recorded history.
        until: the last step to take.
    """
    for step in range(loop.step + 1, until + 1):
        loop.controls = controls_at(steps, step)
        yield next(loop)


class Steered:
    """A phase 2 from its first step, whose controls may change between steps, and its folder.

    It is an iterator of steps, like the loop that it drives. A run whose controls were changed is
    kept under ``outputs/<data set>/steered/``, by the time of its first save; the run without a
    change is the one that `pipeline.phase2` makes, and is kept there once it is done.

    Args:
        lab: the experiment; what is upstream of phase 2 is made if need be.

    Attributes:
        loop: the loop.
        phase1_scores: of the classifier before phase 2.
        folder: where the steered run is kept; None before its first save.
        seconds: spent in steps.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings = lab, lab.settings
        self.reset()
        self.phase1_scores = self.loop.evaluate()

    def reset(self) -> None:
        """Back to before the first step, with the controls of the config."""
        self.loop = start(self.lab)
        self.guarded = Guarded(self.loop)
        self.folder: Path | None = None
        self.seconds, self._saved = 0.0, (0, time.monotonic())  # step and time of the last save

    @property
    def changes(self) -> list[Change]:
        """What was changed so far."""
        return changes(self.loop.history["steps"], controls_of(self.settings.phase2))

    def __iter__(self) -> Steered:
        return self

    def __next__(self) -> Step:
        started = time.monotonic()
        step = next(self.guarded)
        self.seconds += time.monotonic() - started
        if step.step == self.loop.total_steps or (
            step.ends_epoch and started - self._saved[1] > training.SECONDS_BETWEEN_SAVES
        ):
            self.save()
        return step

    def save(self) -> None:
        """Keeps what there is, if a control was changed or the run is done, and it is new."""
        loop = self.loop
        done, steered = loop.step == loop.total_steps, bool(self.changes)
        if loop.step == self._saved[0] or not (done or steered):
            return
        plain = self.lab.run("phase2")
        long_tailed = self.lab.data
        record = {"split_hash": long_tailed.split_hash, "seconds": self.seconds}
        if steered:
            record["experiment"] = self.settings.written()
            steered_runs = plain.folder.parents[1] / "steered"
            folder = self.folder or new_folder(steered_runs, time.strftime("%Y-%m-%d_%H-%M-%S"))
            run = store.Run(
                long_tailed.name, "steered", self.settings.phase2, plain.upstream, folder.name
            )
            try:
                training.save(run, self.guarded, record, done)
            finally:
                with contextlib.suppress(OSError):  # there is something in it
                    folder.rmdir()
            self.folder = folder
        else:
            with plain.making():
                if not ((before := plain.load()) and before.complete):
                    training.save(plain, self.guarded, record, done)
        self._saved = (loop.step, time.monotonic())


def start(lab: Lab) -> Phase2:
    """The phase 2 of an experiment before its first step, whatever is saved of it."""
    return Phase2(lab.settings.phase2, lab.dictionary, lab.model, lab.device)


def fork(
    lab: Lab,
    steps: Mapping[str, Sequence[Any]],
    at: int,
    branches: Mapping[str, Mapping[str, Any]],
    length: int | None = None,
) -> dict[str, Phase2]:
    """Goes on from a recorded step in several ways.

    Args:
        lab: the experiment that the history is of.
        steps: the table "steps" of its history.
        at: the last step that the branches share; it is reached again by a replay.
        branches: for each branch its changes of the controls of that step; none for {}.
        length: steps of a branch, at least 1; to the end of phase 2 when None, or when there are
            no more.

    Returns:
        For each branch its loop, whose history holds the shared steps, too.

    Raises:
        ConfigError: if the step was not recorded or is the last, the length is below 1, or a
            control does not exist or has a bad value; before any step is taken.
    """
    if wrong := {k for changed in branches.values() for k in changed} - set(Controls.model_fields):
        raise ConfigError(unknown(min(wrong), Controls.model_fields, "control"))
    recorded, loop = len(steps.get("n_s", ())), start(lab)
    last = min(recorded, loop.total_steps - 1)
    if last < 1:
        raise ConfigError(
            f"a fork starts after a step and takes another: {recorded} steps are recorded, and "
            f"phase 2 has {loop.total_steps}. Set epochs higher, or batch_size lower."
        )
    if not 1 <= at <= last:
        raise ConfigError(
            f"at = {at}: {recorded} steps are recorded of {loop.total_steps}, so a fork can start "
            f"at 1 to {last}."
        )
    if length is not None and length < 1:
        raise ConfigError(
            f"length = {length}: a branch from step {at} takes 1 to {loop.total_steps - at} steps; "
            "give such a number, or None to go to the end of phase 2."
        )
    controls = controls_at(steps, at)
    steered = {name: controls.replace(**changed) for name, changed in branches.items()}
    end = loop.total_steps if length is None else min(loop.total_steps, at + length)
    loops = {}
    with Progress(at + len(branches) * (end - at), "Fork", unit="step") as progress:
        for _ in replay(loop, steps, at):
            progress.update()
        for name, control in steered.items():
            branch = start(lab)
            tensors = {k: tensor.clone() for k, tensor in checkpoint.state(loop).items()}
            checkpoint.restore(branch, tensors, copy.deepcopy(loop.history))
            branch.controls = control
            guarded = Guarded(branch)
            while branch.step < end:
                next(guarded)
                progress.update()
            loops[name] = branch
    return loops


def repeat(folder: Path | str, device: Device = "auto") -> Phase2:
    """Takes a steered run again from its history alone.

    Args:
        folder: of the run, ``outputs/<data set>/steered/<name>``.
        device: where to train.

    Returns:
        The loop, after the run's last step.

    Raises:
        store.StoreError: if the folder holds no steered run, or the run came out otherwise, its
            metrics included; bytes are the same on the same machine, versions and number of
            threads.
    """
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    if not os.path.isfile(folder / "manifest.json"):
        raise store.StoreError(f"{folder} holds no manifest.json: name a folder below steered/.")
    record = store.read_manifest(folder / "manifest.json")["record"]
    if "experiment" not in record:
        raise store.StoreError(f"{folder} is no steered run: name a folder below steered/.")
    try:
        settings = Experiment.recorded(record["experiment"])
    except ConfigError as error:
        raise store.StoreError(
            f"{folder / 'manifest.json'}: its experiment is none ({error}). It was not written by "
            "this version of the lab or an earlier one."
        ) from None
    lab = Lab(settings, device)
    upstream = lab.run("phase2").upstream
    run = store.Run(lab.data.name, "steered", settings.phase2, upstream, folder.name)
    run.folder = folder
    saved, loop = run.load(), start(lab)
    assert saved is not None  # its manifest was just read
    try:
        table = saved.history["steps"]
        for step in range(1, training.step_of(saved, loop) + 1):
            controls_at(table, step)
    except (LookupError, ValueError) as error:
        raise store.StoreError(
            f"{folder}: its history cannot be taken again ({error}). It was not written by the lab."
        ) from None
    with Progress(len(table["n_s"]), f"Replay of {folder.name}", unit="step") as progress:
        for _ in replay(loop, table, len(table["n_s"])):
            progress.update()
    if differing := verify.differences(saved, loop):
        raise store.StoreError(
            f"{folder} came out otherwise. These differ from what was recorded: "
            f"{'; '.join(differing)}. It was made on {record.get('device')} with "
            f"{record['environment']}; here: {store.environment()}."
        )
    return loop
