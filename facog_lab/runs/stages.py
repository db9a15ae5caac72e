"""Asking for a stage: it is loaded if it is there, resumed if it was cut off, made otherwise.

Upstream stages come first, so any notebook runs alone. What is asked for is a `training.Training`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor

from facog_lab import dataset, dictionary, metrics, models, registry
from facog_lab import phase1 as phase1_loop
from facog_lab import phase2 as phase2_loop
from facog_lab.config import ConfigError, Device
from facog_lab.data.load import load
from facog_lab.rivals.heads import free_heads, head_config, train_head
from facog_lab.runs import distributed, launch
from facog_lab.runs.experiment import Experiment
from facog_lab.runs.extract import checked, make
from facog_lab.runs.store import Run
from facog_lab.runs.training import Training
from facog_lab.runs.views_ahead import ViewsAhead
from facog_lab.settings import DataConfig, Phase2Config

Stage = Literal["phase1", "dictionary", "phase2"]


def nulls() -> list[str]:
    """The null baselines."""
    return [name for name, entry in registry.oversamplers.items() if entry.family == "null"]


@functools.lru_cache(maxsize=4)
def data(config: DataConfig) -> dataset.LongTailed:
    """The long-tailed data set that a config asks for, kept for the next call."""
    return load(config, report=print)


def run_of(settings: Experiment, stage: Stage) -> Run:
    """The folder of a stage's run of an experiment, see `Lab.run`."""
    return Lab(settings).run(stage)


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


class Lab:
    """An experiment that is open; `facog_lab.runs.open` makes one.

    A stage is loaded, resumed or made when it is first asked for, upstream stages first, and once.

    Args:
        settings: the experiment.
        device: where to train what is missing.
        devices: on how many of this machine at once phase 1 and the dictionary are made: above 1,
            torchrun starts a process for each, and the training follows them.
        long_tailed: images at hand, in the place of those that the settings name.

    Raises:
        ConfigError: for several devices and images at hand, which their processes do not have.
    """

    def __init__(
        self,
        settings: Experiment,
        device: Device = "auto",
        devices: int = 1,
        long_tailed: dataset.LongTailed | None = None,
    ) -> None:
        if long_tailed is not None and devices > 1:
            raise ConfigError(
                f"devices = {devices}: arrays are in this process alone. Set devices to 1, or save "
                "the images as class folders, dataset 'folder:PATH'."
            )
        self.settings, self.device, self.devices = settings, device, devices
        self.given = long_tailed
        self._trainings: dict[object, Training[Any]] = {}

    @property
    def data(self) -> dataset.LongTailed:
        """The long-tailed data set."""
        return self.given or data(self.settings.data)

    def run(self, stage: Stage) -> Run:
        """The folder of a stage's run, made or not: its key follows from all settings before it."""
        settings, long_tailed = self.settings, self.data
        run = Run(long_tailed.name, "phase1", settings.phase1, long_tailed.fingerprint)
        if stage != "phase1":
            run = Run(long_tailed.name, "dictionary", settings.dictionary, run.key)
        if stage == "phase2":
            run = Run(long_tailed.name, "phase2", settings.phase2, run.key)
        return run

    @property
    def phase1(self) -> Training[phase1_loop.Phase1]:
        """Phase 1, as far as it has been made; iterate over it, or `finish()` it."""
        return self._training("phase1", self._open_phase1)

    @property
    def model(self) -> models.Phase1Model:
        """The networks after phase 1."""
        return self.phase1.finish().model

    @functools.cached_property
    def dictionary(self) -> dictionary.FeatureDictionary:
        """The features of all training and test images."""
        run, config = self.run("dictionary"), self.settings.dictionary
        if distributed.broadcast((saved := run.load_or_warn()) is None):
            trained = self.phase1.finish()
            if self.devices > 1:
                for _ in self._elsewhere(dictionary=True):
                    pass
            else:
                make(trained, config, run)
        if saved is None:
            saved = run.load()
        assert saved is not None
        return checked(saved, run, self.data, config)

    @functools.cached_property
    def source(self) -> Source:
        """What phase 2 and the heads start from."""
        return Source(
            dataset=self.data.name,
            features=self.dictionary,
            model=self.model,
            key=self.run("dictionary").key,
            split_hash=self.data.split_hash,
            test_protocols=self.data.test_protocols,
        )

    @property
    def phase2(self) -> Training[phase2_loop.Phase2]:
        """Phase 2, as far as it has been made.

        Raises:
            ConfigError: before anything is trained, if `label_selection` does not suit the
                classes' sizes.
        """
        return self.phase2_of(self.settings.phase2)

    def phase2_of(self, config: Phase2Config) -> Training[phase2_loop.Phase2]:
        """Phase 2 with other settings on the same features, as far as it has been made."""
        phase2_loop.label_probabilities(self.data.class_counts, config.label_selection)
        return self._training(config, lambda: phase2_on(self.source, config, self.device))

    def compare(
        self, protocol: str = "full", oversamplers: Iterable[str] | None = None
    ) -> dict[str, Result]:
        """The classifier as phase 1 left it, what each oversampler makes of it, and free heads.

        Args:
            protocol: the test protocol, a key of the data set's `test_protocols`.
            oversamplers: their names; None: the experiment's own, then the null baselines and the
                heads that cost nothing. All have the experiment's settings otherwise.

        Returns:
            Results by method: "phase1", then the oversamplers, then the free heads; one that this
            phase 1 does not allow is left out, and said to be.

        Raises:
            ConfigError: if the data set has no protocol of that name.
        """
        chosen, config = self.test_images(protocol), self.settings.phase2
        phase2_loop.label_probabilities(self.data.class_counts, config.label_selection)
        untouched = phase2_loop.score(self.model.classifier, self.dictionary, chosen)
        results = {"phase1": Result(untouched, None, self.phase1.seconds)}
        names = (config.oversampler, *nulls()) if oversamplers is None else oversamplers
        for name in dict.fromkeys(names):
            training = self.phase2_of(config.replace(oversampler=name))
            loop = training.finish()
            results[name] = Result(loop.evaluate(chosen), last_entropy(loop), training.seconds)
        for name in free_heads() if oversamplers is None else ():
            began, head = time.monotonic(), head_config(name, seed=config.seed)
            try:
                made = train_head(head, self.dictionary, self.model, self.device)
            except ConfigError as error:  # such as LDAM's cosine layer, which has no lengths
                print(f"{registry.heads[name].label} is left out: {error}", flush=True)
                continue
            seconds = time.monotonic() - began
            scores = phase2_loop.score(made.classifier, self.dictionary, chosen)
            results[name] = Result(scores, None, seconds)
        return results

    def test_images(self, protocol: str) -> Tensor:
        """Positions in the test set of a protocol.

        Raises:
            ConfigError: if the data set has no protocol of that name.
        """
        protocols = self.data.test_protocols
        if protocol not in protocols:
            raise ConfigError(
                f"protocol = {protocol!r}: {self.settings.data.dataset} has {list(protocols)}."
            )
        return protocols[protocol]

    def _training(self, name: object, make: Callable[[], Training[Any]]) -> Training[Any]:
        """The one that there is, unless an error or an interrupt has left it inside a step."""
        found = self._trainings.get(name)
        if found is None or found.broken:
            found = self._trainings[name] = make()
        return found

    def _open_phase1(self) -> Training[phase1_loop.Phase1]:
        settings, long_tailed = self.settings, self.data
        world = distributed.world(settings.phase1.batch_size, len(long_tailed.labels))
        loop = phase1_loop.Phase1(settings.phase1, long_tailed, self.device, world)
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
        run, label = self.run("phase1"), f"Phase 1, {long_tailed.name}"
        return Training(loop, run, label, record, self._elsewhere if self.devices > 1 else None)

    def _elsewhere(self, dictionary: bool = False) -> Iterator[None]:
        return launch.started(self.settings, self.device, self.devices, dictionary)


def last_entropy(loop: phase2_loop.Phase2) -> float | None:
    """Mean entropy of w over the last epoch, in nats; None where nothing was mixed."""
    last = loop.history["steps"].get("entropy", [])[-loop.steps_per_epoch :]
    return sum(last) / len(last) if last else None
