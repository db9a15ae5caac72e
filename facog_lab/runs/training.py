"""A loop and the folder that it is kept in: it goes on from what is saved, and saves as it goes.

A training is also an iterator, for whoever wants to watch it:

    training = runs.open(settings).phase1
    for step in training:               # nothing to do when the run is whole
        ...
    training.history
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Generic, TypeVar

import torch

from facog_lab import __version__
from facog_lab.metrics import Step
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import Phase2
from facog_lab.runs import checkpoint, distributed
from facog_lab.runs.divergence import Guarded
from facog_lab.runs.environment import keep_freed_memory
from facog_lab.runs.manifest import warn_of_another_machine
from facog_lab.runs.progress import Progress
from facog_lab.runs.store import Run, Saved, StoreError

SECONDS_BETWEEN_SAVES = 5.0

Loop = TypeVar("Loop", Phase1, Phase2)


class Training(Generic[Loop]):
    """A loop and its run's folder: goes on from what is saved, saves as it goes.

    Iterating yields the loop's steps, with a progress bar; stopping early, by Ctrl-C or `break`,
    leaves a run that resumes from the last saved epoch.

    With several processes, each has a training; the first alone saves.

    Args:
        loop: at its start.
        run: where it is kept.
        label: beside the progress bar.
        record: what to say about the run.
        elsewhere: yields now and then while other processes take the steps; the loop then
            follows what they save. None: this process takes them.

    Attributes:
        loop: the loop itself, at the end of what was done so far.
        run: its folder.
        seconds: time spent in steps, over all sessions.
        broken: whether an error or an interrupt has left the loop inside a step: it must be built
            anew, from what is saved.
    """

    def __init__(
        self,
        loop: Loop,
        run: Run,
        label: str,
        record: dict[str, Any],
        elsewhere: Callable[[], Iterator[None]] | None = None,
    ) -> None:
        self.loop: Loop = loop
        self.guarded: Guarded[Any] = Guarded(loop)
        self.run, self.label, self.record = run, label, record
        self._elsewhere = elsewhere
        self.seconds, self.complete, self.broken = 0.0, False, False
        self._catch_up()

    @property
    def history(self) -> dict[str, dict[str, list[float]]]:
        """The loop's history."""
        return self.loop.history

    def finish(self) -> Loop:
        """Takes all steps that are left and returns the loop."""
        for _ in self:
            pass
        return self.loop

    def __iter__(self) -> Iterator[Step]:
        if distributed.broadcast(self.complete):
            if not self.complete:  # it was completed after this process looked
                self._catch_up()
            return
        if self._elsewhere:
            yield from self._followed(self._elsewhere())
            return
        with contextlib.ExitStack() as stack:
            if distributed.rank() == 0:
                stack.enter_context(self.run.making())
            distributed.wait()
            self._catch_up()  # with what another notebook made meanwhile
            distributed.wait()  # the first saves when all have read
            try:
                if not self.complete:
                    yield from self._steps()
            finally:
                keep_freed_memory(False)  # phase 1's, also where it was cut off

    def _catch_up(self) -> None:
        """Takes what is saved, if that is further than the loop is.

        Raises:
            StoreError: if the run is damaged, another one, or does not fit the loop's networks.
        """
        saved = self.run.load()
        if saved is None:
            return
        try:
            if step_of(saved, self.loop) <= self.loop.step:
                return
            seconds = float(saved.record["seconds"])
            if not saved.complete:
                warn_of_another_machine(self.run.folder, saved.record)
            checkpoint.restore(self.loop, saved.tensors, saved.history)
            self.guarded.forget()
        except (RuntimeError, LookupError, ValueError, TypeError) as error:
            made = saved.record["environment"].get("facog_lab")
            raise StoreError(
                f"{self.run.folder} was made by version {made} of the lab and does not fit "
                f"{__version__}: {error}. Remove the folder to make the run again."
            ) from error
        self.seconds, self.complete = seconds, saved.complete

    def _followed(self, elsewhere: Iterator[None]) -> Iterator[Step]:
        """A step for each state that other processes save."""
        loop = self.loop
        with Progress(loop.total_steps, self.label, unit="step") as progress:
            progress.resume(loop.step)
            for _ in elsewhere:
                before = loop.step
                self._catch_up()
                if loop.step > before:
                    table = loop.history["epochs"]
                    last = {name: column[-1] for name, column in table.items()}
                    epoch = (loop.step - 1) // loop.steps_per_epoch
                    step = Step(loop.step, epoch, True, last)
                    progress.update(loop.step - before, **_shown(step))
                    yield step

    def _steps(self) -> Iterator[Step]:
        loop: Any = self.loop
        if loop.step == loop.total_steps:  # only its last save failed
            self.save(True)
            return
        saved_at = resumed_at = time.monotonic()
        before, resumed = self.seconds, loop.step
        with Progress(loop.total_steps, self.label, unit="step") as progress:
            progress.resume(loop.step)
            while (step := self._next()) is not None:
                if step.step == resumed + 1:  # after a step for which there was enough
                    keep_freed_memory(loop.device.type == "cpu" and isinstance(loop, Phase1))
                self.seconds = before + time.monotonic() - resumed_at
                progress.update(1, **_shown(step))
                done = step.step == loop.total_steps
                due = done or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES
                if step.ends_epoch and distributed.broadcast(due):
                    self.save(done)
                    saved_at = time.monotonic()
                paused_at = time.monotonic()
                yield step
                resumed_at += time.monotonic() - paused_at  # what the watcher does is not training

    def _next(self) -> Step | None:
        try:
            return next(self.guarded, None)
        except BaseException:
            self.broken = True
            raise

    def save(self, done: bool) -> None:
        """Writes the state; it must be at an epoch's end."""
        save(self.run, self.guarded, self.record | {"seconds": self.seconds}, done)
        self.complete = done


def step_of(saved: Saved, loop: Phase1 | Phase2) -> int:
    """The step that a state was saved at.

    Raises:
        LookupError, ValueError: if it is none of this loop's, or the history is that of another.
    """
    step = saved.tensors["step"]
    if step.ndim or step.dtype != torch.int64 or not 0 <= step <= loop.total_steps:
        raise ValueError(f"its step is {step.tolist()!r}, and there are 0 to {loop.total_steps}")
    at = int(step)
    for table, rows in {"steps": at, "epochs": at // loop.steps_per_epoch}.items():
        if table in loop.history:
            lengths = {len(column) for column in saved.history[table].values()} or {0}
            if lengths != {rows}:
                raise ValueError(f"it is at step {at}, and its history has {lengths} {table}")
    return at


def save(run: Run, guarded: Guarded[Any], record: dict[str, Any], done: bool) -> None:
    """Writes a loop's state into a run's folder, with its scores if phase 2 is done.

    Raises:
        TrainingError: if something of the state is NaN or infinite; nothing is written then.
        StoreError: if it cannot be written.
    """
    guarded.check()
    loop = guarded.loop
    if distributed.rank():  # the first writes for all
        return
    record = record | {"device": str(loop.device), "processes": distributed.count()}
    if done and isinstance(loop, Phase2):
        # A probability's last digits depend on the number of threads: ECE is measured, not kept.
        scores = asdict(loop.evaluate())
        record["metrics"] = {k: v for k, v in scores.items() if k not in ("ece", "reliability")}
    run.save(checkpoint.state(loop), loop.history, record, done)


def _shown(step: Step) -> dict[str, float]:
    """The figures worth a place beside a progress bar, renewed once an epoch."""
    names = ("loss", "train_acsa", "loss_d", "loss_adv", "loss_asc", "loss_cls", "entropy")
    return {k: v for k, v in step.figures.items() if step.ends_epoch and k in names}
