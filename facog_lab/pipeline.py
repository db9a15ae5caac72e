"""Asking for a stage: it is loaded if it is there, resumed if it was cut off, made otherwise.

Upstream stages come first, so any notebook runs alone. A training is also an iterator, for
whoever wants to watch it:

    training = pipeline.phase1(settings)
    for step in training:               # nothing to do when the run is whole
        ...
    training.history
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from torch import Tensor

from facog_lab import __version__, datasets, dictionary, launch, metrics, models, processes
from facog_lab import phase1 as phase1_loop
from facog_lab import phase2 as phase2_loop
from facog_lab.config import ConfigError, Device
from facog_lab.controls import OversamplerName
from facog_lab.loop import Step
from facog_lab.machine import keep_freed_memory
from facog_lab.presets import Experiment
from facog_lab.progress import Progress
from facog_lab.store import Run, StoreError

SECONDS_BETWEEN_SAVES = 5.0
NULLS: tuple[OversamplerName, ...] = (
    "random_oversampling",
    "uniform_weights",
    "dirichlet_weights",
)

Loop = TypeVar("Loop", phase1_loop.Phase1, phase2_loop.Phase2)


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
        self.run, self.label, self.record = run, label, record
        self._elsewhere = elsewhere
        self.seconds, self.complete = 0.0, False
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
        if processes.agreed(self.complete):
            if not self.complete:  # it was completed after this process looked
                self._catch_up()
            return
        if self._elsewhere:
            yield from self._followed(self._elsewhere())
            return
        with contextlib.ExitStack() as stack:
            if processes.rank() == 0:
                stack.enter_context(self.run.making())
            processes.wait()
            self._catch_up()  # with what another notebook made meanwhile
            processes.wait()  # the first saves when all have read
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
        if saved is None or saved.tensors["step"] <= self.loop.step:
            return
        if not saved.complete:
            self.run.warn_of_another_machine(saved.record)
        try:
            self.loop.load_state(saved.tensors, saved.history)
        except (RuntimeError, LookupError) as error:
            made = saved.record["environment"]["facog_lab"]
            raise StoreError(
                f"{self.run.folder} was made by version {made} of the lab and does not fit "
                f"{__version__}: {error}. Remove the folder to make the run again."
            ) from error
        self.seconds, self.complete = saved.record["seconds"], saved.complete

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
        before = self.seconds
        with Progress(loop.total_steps, self.label, unit="step") as progress:
            progress.resume(loop.step)
            for step in loop:
                self.seconds = before + time.monotonic() - resumed_at
                progress.update(1, **_shown(step))
                done = step.step == loop.total_steps
                due = done or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES
                if step.ends_epoch and processes.agreed(due):
                    self.save(done)
                    saved_at = time.monotonic()
                paused_at = time.monotonic()
                yield step
                resumed_at += time.monotonic() - paused_at  # what the watcher does is not training

    def save(self, done: bool) -> None:
        """Writes the state; it must be at an epoch's end."""
        save(self.run, self.loop, self.record | {"seconds": self.seconds}, done)
        self.complete = done


def save(
    run: Run, loop: phase1_loop.Phase1 | phase2_loop.Phase2, record: dict[str, Any], done: bool
) -> None:
    """Writes a loop's state into a run's folder, with its scores if phase 2 is done.

    Raises:
        TrainingError: if something of the state is NaN or infinite; nothing is written then.
        StoreError: if it cannot be written.
    """
    loop.rewind.check()
    if processes.rank():  # the first writes for all
        return
    record = record | {"device": str(loop.device), "processes": processes.count()}
    if done and isinstance(loop, phase2_loop.Phase2):
        record["metrics"] = asdict(loop.evaluate())
    run.save(loop.state(), loop.history, record, done)


@functools.lru_cache(maxsize=4)
def data(config: datasets.DataConfig) -> datasets.LongTailed:
    """The long-tailed data set that a config asks for, kept for the next call."""
    return datasets.load(config, report=print)


def phase1(
    settings: Experiment, device: Device = "auto", devices: int = 1
) -> Training[phase1_loop.Phase1]:
    """Phase 1 of an experiment, as far as it has been made.

    Args:
        settings: the experiment.
        device: where to train what is missing.
        devices: on how many of this machine at once: above 1, torchrun starts a process for each,
            and the training follows them.
    """
    long_tailed = data(settings.data)
    loop = phase1_loop.Phase1(settings.phase1, long_tailed, device)
    record = {
        "data": settings.data.model_dump(mode="json"),
        "split_hash": long_tailed.split_hash,
        "index": long_tailed.index.tolist(),
        "class_names": list(long_tailed.class_names),
        "class_counts": long_tailed.class_counts.tolist(),
        "parameters": models.parameter_count(loop.model),
    }
    elsewhere = functools.partial(launch.started, settings, device, devices)
    run, label = run_of(settings, "phase1"), f"Phase 1, {long_tailed.name}"
    return Training(loop, run, label, record, elsewhere if devices > 1 else None)


def features(
    settings: Experiment, device: Device = "auto", devices: int = 1
) -> dictionary.FeatureDictionary:
    """The feature dictionary of an experiment, made if need be, phase 1 first.

    Args:
        settings: the experiment.
        device: where to make what is missing.
        devices: on how many of this machine at once, see `phase1`.
    """
    run = run_of(settings, "dictionary")
    if processes.agreed((saved := run.load()) is None):
        trained = phase1(settings, device, devices).finish()
        if devices > 1:
            for _ in launch.started(settings, device, devices, dictionary=True):
                pass
        else:
            _extract(settings, trained, run)
    if saved is None:
        saved = run.load()
    assert saved is not None
    names = data(settings.data).class_names
    return dictionary.FeatureDictionary.from_tensors(saved.tensors, names, saved.release)


def _extract(settings: Experiment, trained: phase1_loop.Phase1, run: Run) -> None:
    """Makes a dictionary in its file, which all processes fill."""
    with contextlib.ExitStack() as stack:
        first = processes.rank() == 0
        if first:
            stack.enter_context(run.making())
        if not processes.agreed(not first or run.load() is None):
            return  # another notebook has made it meanwhile
        if first:
            stack.enter_context(run.reserve(dictionary.layout(trained, settings.dictionary)))
        processes.wait()
        started, long_tailed = time.monotonic(), trained.data
        images = len(long_tailed.labels) * (1 + settings.dictionary.views)
        total = images + len(long_tailed.test_labels)
        with Progress(total, "Dictionary", unit="image") as progress:
            dictionary.extract(trained, settings.dictionary, progress.update, run.reserved())
        record = {
            "split_hash": long_tailed.split_hash,
            "seconds": time.monotonic() - started,
            "device": str(trained.device),
            "processes": processes.count(),
        }
        if first:
            run.save_reserved(record)
        processes.wait()


class Source(NamedTuple):
    """What phase 2 and the heads start from: the features of a phase 1, and its networks.

    Attributes:
        dataset: the name under which its runs are kept.
        features: its dictionary.
        model: the networks that made it.
        key: of the run that made it.
        split_hash: of the training images.
        test_protocols: the test images of each protocol, see datasets.LongTailed.
    """

    dataset: str
    features: dictionary.FeatureDictionary
    model: models.Phase1Model
    key: str
    split_hash: str
    test_protocols: Mapping[str, Tensor]


def source(settings: Experiment, device: Device = "auto") -> Source:
    """What phase 2 of an experiment starts from, made if need be."""
    long_tailed = data(settings.data)
    return Source(
        dataset=long_tailed.name,
        features=features(settings, device),  # makes phase 1 if need be
        model=phase1(settings, device).finish().model,
        key=run_of(settings, "dictionary").key,
        split_hash=long_tailed.split_hash,
        test_protocols=long_tailed.test_protocols,
    )


def phase2(settings: Experiment, device: Device = "auto") -> Training[phase2_loop.Phase2]:
    """Phase 2 of an experiment, as far as it has been made; its upstream is made first."""
    check_selection(settings)
    return phase2_on(source(settings, device), settings.phase2, device)


def phase2_on(
    given: Source, config: phase2_loop.Phase2Config, device: Device = "auto"
) -> Training[phase2_loop.Phase2]:
    """Phase 2 on features that are at hand, as far as it has been made."""
    rows = given.features.starts.diff()
    if config.n_s > rows.min():
        name, least = given.features.class_names[int(rows.argmin())], int(rows.min())
        print(
            f"n_s = {config.n_s}, and class {name!r} has {least} feature(s): where a class has "
            "fewer than n_s, they are drawn with replacement",
            flush=True,
        )
    loop = phase2_loop.Phase2(config, given.features, given.model, device)
    run = Run(given.dataset, "phase2", config, given.key)
    return Training(loop, run, f"Phase 2, {config.oversampler}", {"split_hash": given.split_hash})


def check_selection(settings: Experiment) -> None:
    """Says before anything is trained that phase 2 would have no class to generate.

    Raises:
        ConfigError: if `label_selection` does not suit the classes' sizes.
    """
    counts = data(settings.data).class_counts
    phase2_loop.label_probabilities(counts, settings.phase2.label_selection)


def run_of(settings: Experiment, stage: Literal["phase1", "dictionary", "phase2"]) -> Run:
    """The folder of a stage's run, made or not: its key follows from all settings before it."""
    long_tailed = data(settings.data)
    run = Run(long_tailed.name, "phase1", settings.phase1, long_tailed.fingerprint)
    if stage != "phase1":
        run = Run(long_tailed.name, "dictionary", settings.dictionary, run.key)
    if stage == "phase2":
        run = Run(long_tailed.name, "phase2", settings.phase2, run.key)
    return run


class Result(NamedTuple):
    """What one method came to.

    Attributes:
        scores: on the chosen test images.
        entropy: of w, in nats, mean over the last epoch; None where nothing is mixed.
        seconds: of the phase that made it.
    """

    scores: metrics.Metrics
    entropy: float | None
    seconds: float


def compare(
    settings: Experiment, device: Device = "auto", protocol: str = "full"
) -> dict[str, Result]:
    """The classifier as phase 1 left it, the experiment's own phase 2, and the null baselines.

    Args:
        settings: the experiment; the nulls are made with the same settings but the oversampler.
        device: where to train what is missing.
        protocol: the test protocol, a key of the data set's `test_protocols`.

    Returns:
        Results by method: "phase1", the experiment's oversampler, then the nulls.

    Raises:
        ConfigError: if the data set has no protocol of that name.
    """
    protocols = data(settings.data).test_protocols
    if protocol not in protocols:
        raise ConfigError(
            f"protocol = {protocol!r}: {settings.data.dataset} has {list(protocols)}."
        )
    check_selection(settings)
    chosen, given = protocols[protocol], source(settings, device)
    untouched = phase2_loop.score(given.model.classifier, given.features, chosen)
    results = {"phase1": Result(untouched, None, phase1(settings, device).seconds)}
    for name in dict.fromkeys((settings.phase2.oversampler, *NULLS)):
        training = phase2_on(given, settings.phase2.replace(oversampler=name), device)
        loop = training.finish()
        results[name] = Result(loop.evaluate(chosen), last_entropy(loop), training.seconds)
    return results


def last_entropy(loop: phase2_loop.Phase2) -> float | None:
    """Mean entropy of w over the last epoch, in nats; None where nothing was mixed."""
    last = loop.history["steps"].get("entropy", [])[-loop.steps_per_epoch :]
    return sum(last) / len(last) if last else None


def _shown(step: Step) -> dict[str, float]:
    """The figures worth a place beside a progress bar, renewed once an epoch."""
    names = ("loss", "train_acsa", "loss_d", "loss_adv", "loss_asc", "loss_cls", "entropy")
    return {k: v for k, v in step.figures.items() if step.ends_epoch and k in names}
