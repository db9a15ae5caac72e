"""Asking for a stage: it is loaded if it is there, resumed if it was cut off, made otherwise.

Upstream stages come first, so any notebook runs alone. What is asked for is a `training.Training`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from facog_lab import dataset, dictionary, metrics, models, registry
from facog_lab import phase1 as phase1_loop
from facog_lab import phase2 as phase2_loop
from facog_lab.config import ConfigError, Device
from facog_lab.data.load import load
from facog_lab.runs import distributed, launch
from facog_lab.runs.extract import extract, layout
from facog_lab.runs.progress import Progress
from facog_lab.runs.store import Run, Saved, StoreError
from facog_lab.runs.training import Training
from facog_lab.runs.views_ahead import ViewsAhead
from facog_lab.settings import DataConfig, Experiment, Phase2Config


def nulls() -> list[str]:
    """The null baselines."""
    return [name for name, entry in registry.oversamplers.items() if entry.family == "null"]


@functools.lru_cache(maxsize=4)
def data(config: DataConfig) -> dataset.LongTailed:
    """The long-tailed data set that a config asks for, kept for the next call."""
    return load(config, report=print)


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
    world = distributed.world(settings.phase1.batch_size, len(long_tailed.labels))
    loop = phase1_loop.Phase1(settings.phase1, long_tailed, device, world)
    ViewsAhead(loop)
    record = {
        "data": settings.data.model_dump(mode="json"),
        "split_hash": long_tailed.split_hash,
        "index": long_tailed.index.tolist(),
        "class_names": list(long_tailed.class_names),
        "class_counts": long_tailed.class_counts.tolist(),
        "parameters": models.parameter_count(loop.model),
    }
    if long_tailed.audit:
        record["audit"] = long_tailed.audit.as_dict()
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
    if distributed.broadcast((saved := run.load_or_warn()) is None):
        trained = phase1(settings, device, devices).finish()
        if devices > 1:
            for _ in launch.started(settings, device, devices, dictionary=True):
                pass
        else:
            _extract(settings, trained, run)
    if saved is None:
        saved = run.load()
    assert saved is not None
    return _fitting(saved, run, data(settings.data), 1 + settings.dictionary.views)


def _fitting(
    saved: Saved, run: Run, long_tailed: dataset.LongTailed, copies: int
) -> dictionary.FeatureDictionary:
    """The dictionary that was saved, if all but the features is what its data make of it.

    Raises:
        StoreError: naming the folder, if it is not.
    """
    labels, test_labels = long_tailed.labels, long_tailed.test_labels
    try:
        found = _Tensors(**saved.tensors)
        rows, test_rows = copies * len(labels), len(test_labels)
        width = found.features.shape[1]
        whole = (
            torch.equal(found.labels, labels.repeat(copies).sort()[0])
            and torch.equal(found.test_labels, test_labels)
            and torch.equal(found.images.sort()[0], torch.arange(rows) // copies)
            and torch.equal(labels[found.images], found.labels)
            and (found.features.shape, found.test_features.shape)
            == ((rows, width), (test_rows, width))
            and found.features.dtype == found.test_features.dtype == torch.float32
        )
    except (LookupError, TypeError, RuntimeError) as error:
        whole, reason = False, str(error)
    else:
        reason = "labels, image numbers or shapes are others"
    if not whole:
        raise StoreError(
            f"{run.folder} holds no features of {long_tailed.name} ({reason}). Remove the folder "
            "to make them again."
        )
    return dictionary.FeatureDictionary.from_tensors(
        saved.tensors, long_tailed.class_names, saved.release
    )


class _Tensors(NamedTuple):
    """See dictionary.FeatureDictionary.tensors."""

    features: Tensor
    labels: Tensor
    images: Tensor
    test_features: Tensor
    test_labels: Tensor


def _extract(settings: Experiment, trained: phase1_loop.Phase1, run: Run) -> None:
    """Makes a dictionary in its file, which all processes fill."""
    with contextlib.ExitStack() as stack:
        first = distributed.rank() == 0
        if first:
            stack.enter_context(run.making())
        if not distributed.broadcast(not first or run.load_or_warn() is None):
            return  # another notebook has made it meanwhile
        if first:
            stack.enter_context(run.reserve(layout(trained, settings.dictionary)))
        distributed.wait()
        started, long_tailed = time.monotonic(), trained.data
        images = len(long_tailed.labels) * (1 + settings.dictionary.views)
        total = images + len(long_tailed.test_labels)
        with Progress(total, "Dictionary", unit="image") as progress:
            extract(trained, settings.dictionary, progress.update, run.reserved())
        record = {
            "split_hash": long_tailed.split_hash,
            "seconds": time.monotonic() - started,
            "device": str(trained.device),
            "processes": distributed.count(),
        }
        if first:
            run.save_reserved(record)
        distributed.wait()


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
    given: Source, config: Phase2Config, device: Device = "auto"
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
    for name in dict.fromkeys((settings.phase2.oversampler, *nulls())):
        training = phase2_on(given, settings.phase2.replace(oversampler=name), device)
        loop = training.finish()
        results[name] = Result(loop.evaluate(chosen), last_entropy(loop), training.seconds)
    return results


def last_entropy(loop: phase2_loop.Phase2) -> float | None:
    """Mean entropy of w over the last epoch, in nats; None where nothing was mixed."""
    last = loop.history["steps"].get("entropy", [])[-loop.steps_per_epoch :]
    return sum(last) / len(last) if last else None
