"""The cells of the paper's tables and figures: what is run for each, and the rows it gives.

A cell is one method with one set of changes; a task is a cell on one data set and seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from facog_lab import metrics, models, phase2, registry
from facog_lab.config import ConfigError, Device, unknown
from facog_lab.rivals.heads import head_config
from facog_lab.runs import left_out, methods, stages
from facog_lab.runs.experiment import Experiment
from facog_lab.runs.progress import Progress
from facog_lab.runs.stages import Lab
from facog_lab.runs.store import run_key
from facog_lab.study import bootstrap, ceiling
from facog_lab.study.results import Row, rounded


class Cell(NamedTuple):
    """One method, and what differs from the preset.

    Attributes:
        method: "phase1", an oversampler, a head or a network, by its registered name, or
            "real_images", see `ceiling`.
        level: on the features of phase 1, or a network trained end to end.
        changes: pairs of a setting, named by its stage, and its value: ("phase2.n_s", 10).
    """

    method: str
    level: methods.Level = "feature"
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def variant(self) -> str:
        """The changes in words: "n_s=10"; empty where there is none."""
        return ", ".join(f"{name.split('.')[1]}={value}" for name, value in self.changes)

    @property
    def own_network(self) -> bool:
        """Whether it trains a network of its own, in place of the experiment's phase 1."""
        return self.level == "network" and self.method != "phase1"

    @property
    def before_phase2(self) -> bool:
        """Whether it changes what comes before phase 2."""
        after = ("phase2.", "ceiling.")
        return self.own_network or any(not name.startswith(after) for name, _ in self.changes)

    @property
    def ceiling(self) -> ceiling.CeilingConfig:
        """Which real images are put back, of the method "real_images"."""
        return ceiling.CeilingConfig(**{name.split(".")[1]: v for name, v in self.changes})

    def settings(self, base: Experiment) -> Experiment:
        """The experiment with the cell's changes and its oversampler."""
        configs = {name: getattr(base, name) for name in ("phase1", "dictionary", "phase2")}
        for name, value in self.changes:
            stage, field = name.split(".")
            if stage == "ceiling":  # which is no stage: it changes what the head is trained on
                continue
            configs[stage] = configs[stage].replace(**{field: value})
        if self.level == "feature" and self.method in registry.oversamplers:
            configs["phase2"] = configs["phase2"].replace(oversampler=self.method)
        return Experiment(base.data, **configs)


PHASE1 = Cell("phase1", "network")


# With Balanced Softmax's prior on the mixed batches: does it add to what they generate?
_PRIOR = ("random_oversampling", "facog", "facog_attention", "tailcalib", "lent_spread", "imagined")
_SEEN = ("phase2.logit_prior", "seen")
_PRIORS = ((_SEEN,), (("phase2.label_selection", "as_found"), _SEEN))


def _comparison() -> list[Cell]:
    """Every method of Tables 1 to 3 that is built, features first."""
    cells = [PHASE1, *(Cell(name) for name in registry.oversamplers)]
    cells.append(Cell("facog", changes=(("phase2.references", "fixed"),)))
    cells += [Cell(method, changes=changes) for changes in _PRIORS for method in _PRIOR]
    cells += [Cell(name) for name in registry.heads]
    return cells + [Cell(name, "network") for name in registry.networks]


def _each(name: str, values: tuple[Any, ...], methods: tuple[str, ...]) -> list[Cell]:
    return [Cell(method, changes=((name, value),)) for method in methods for value in values]


def _table5() -> list[Cell]:
    """Re-weighting and augmentation in phase 1, with FACoG after it and without."""
    rew, no_aug = ("phase1.reweighting", "drw"), ("phase1.augmentation", "standard")
    changes: tuple[tuple[tuple[str, Any], ...], ...] = ((no_aug,), (rew, no_aug), (), (rew,))
    return [cell._replace(changes=c) for cell in (PHASE1, Cell("facog")) for c in changes]


def _ceiling() -> list[Cell]:
    """The ladder of real images, and what is between its two ends."""
    rungs = [(("ceiling.images", images),) for images in (*ceiling.RUNGS, "10 more", "unseen")]
    top = (("ceiling.images", "all"), ("ceiling.head", "cosine_adjusted"))
    cells = [Cell(ceiling.METHOD, changes=changes) for changes in (*rungs, top)]
    return [PHASE1, Cell(ceiling.FOOT), *cells]


_FEW = ("facog", "facog_attention", "random_oversampling", "uniform_weights", "smote")
TABLES: dict[str, list[Cell]] = {
    **dict.fromkeys(("1", "2", "3"), _comparison()),
    "4": [
        PHASE1,
        Cell("facog", changes=(("phase2.lambda_adv", 0.0),)),
        Cell("facog", changes=(("phase2.lambda_asc", 0.0),)),
        Cell("facog"),
    ],
    "5": _table5(),
    "fig3": [PHASE1, Cell("facog")],
    "fig5": [PHASE1, *_each("phase2.n_s", (1, 2, 3, 4, 6, 8, 10, 15, 20), ("facog",)),
             Cell("facog")],
    "selection": [PHASE1, *(Cell(m) for m in _FEW),
                  *_each("phase2.label_selection", ("inverse", "uniform", "as_found"),
                         _FEW)],
    "batches": [PHASE1, *(Cell(m) for m in _FEW[::2]),
                *_each("phase2.classifier_batches", ("literal",), _FEW[::2])],
    "views": [PHASE1, *(Cell(m) for m in _FEW[::2]),
              *_each("dictionary.views", (1, 4), _FEW[::2])],
    "ceiling": _ceiling(),
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A cell on one data set and seed.

    Attributes:
        cell: what is run.
        base: the experiment without the cell's changes.
        given: features to use in place of those of the experiment's phase 1.
    """

    cell: Cell
    base: Experiment
    given: stages.Source | None = None

    @property
    def settings(self) -> Experiment:
        """The experiment that the cell is a result of."""
        changed = self.cell.settings(self.base)
        own = self.cell.own_network
        return methods.with_network(changed, self.cell.method) if own else changed

    def key(self) -> str:
        """A short hash of all that decides the result; nothing is trained for it."""
        settings, method = self.settings, self.cell.method
        upstream = self.given.key if self.given else stages.run_of(settings, "dictionary").key
        if method == "phase1":
            return upstream
        if method == ceiling.METHOD:
            rung, seed = self.cell.ceiling, settings.phase2.seed
            after = head_config(rung.head, epochs=settings.phase2.epochs, seed=seed)
            return run_key(after, ceiling.key(upstream, rung.images, seed))
        if self.cell.level == "feature" and method in registry.oversamplers:
            return run_key(settings.phase2, upstream)
        head = registry.networks[method].facts["head"] if self.cell.level == "network" else method
        if head is None:
            return upstream
        after = head_config(head, epochs=settings.phase2.epochs, seed=settings.phase2.seed)
        return run_key(after, upstream)


def check(task: Task) -> None:
    """Says before anything is trained what a task cannot have.

    Raises:
        ConfigError: for a method that its level does not have, or phase 1 changed where the
            features are given.
    """
    cell = task.cell
    known = (
        ["phase1", *registry.networks]
        if cell.level == "network"
        else [*registry.oversamplers, *registry.heads, ceiling.METHOD]
    )
    if cell.method not in known:
        raise ConfigError(unknown(cell.method, known, f"{cell.level} method"))
    if task.given is not None and cell.before_phase2:
        raise ConfigError(
            f"{cell.method} ({cell.variant or cell.level}) changes what comes before phase 2, and "
            f"{task.given.dataset} begins after it: leave the cell out, or name a data set."
        )


def measured(
    settings: Experiment, cells: Iterable[Cell], preset: str, device: Device = "auto"
) -> list[Row]:
    """The rows of some cells on an experiment, each once; for a notebook."""
    data, seed = stages.data(settings.data), settings.phase1.seed
    about = {"dataset": data.name, "imbalance_ratio": data.imbalance_ratio, "preset": preset}
    about |= {"seed": seed, "dictionary": None}
    rows, wanted = [], list(dict.fromkeys(cells))
    with Progress(len(wanted), "Rows", unit="row") as progress:
        for cell in wanted:
            rows += measure(Task(cell, settings), about, device)
            progress.update(1)
    return rows


def measure(task: Task, about: Mapping[str, Any], device: Device = "auto") -> list[Row]:
    """The rows of a task, one for each test protocol; what is missing is trained and kept.

    Args:
        task: what is run.
        about: what to say in every row: data set, imbalance ratio, preset, seed.
        device: where to train what is missing.
    """
    check(task)
    cell, settings = task.cell, task.settings
    lab = Lab(settings, device)
    entropy: float | None = None
    seconds: float | None
    chosen: dict[str, Any] = {}
    if cell.own_network:
        given, (classifier, chosen, seconds) = methods.network(
            Lab(cell.settings(task.base), device), cell.method
        )
    else:
        given = task.given or lab.source
    if cell.method == "phase1":
        classifier = given.model.classifier
        seconds = None if task.given else lab.phase1.seconds
    elif cell.method == ceiling.METHOD:
        rung, config = cell.ceiling, settings.phase2
        more = left_out.of_kept(given.dataset) if task.given else left_out.of_lab(lab)
        filled = ceiling.refilled(given, more, rung.images, config.seed)
        made = methods.head_on(filled, rung.head, config.epochs, config.seed, device)
        classifier, chosen, seconds = made.classifier, ceiling.facts(given, filled), made.seconds
    elif cell.method in registry.oversamplers:
        training = stages.phase2_on(given, settings.phase2, device)
        loop = training.finish()
        classifier, seconds = loop.classifier, training.seconds
        entropy = stages.last_entropy(loop)
    elif not cell.own_network:
        epochs, seed = settings.phase2.epochs, settings.phase2.seed
        classifier, chosen, seconds = methods.head_on(given, cell.method, epochs, seed, device)
    facts = {name: value for name, value in chosen.items() if not isinstance(value, dict)}
    said = {
        **about,
        "method": cell.method,
        "level": cell.level,
        "variant": cell.variant,
        "parameters": models.parameter_count(given.model),
        "seconds": seconds and round(seconds, 1),
        "entropy": entropy and round(entropy, 5),
        "chosen": facts,
        "split_hash": given.split_hash,
        "key": task.key(),
    }
    rows = []
    for name, images in given.test_protocols.items():
        found = phase2.predict(classifier, given.features, images)
        scores = metrics.evaluate(
            found.classes, found.labels, given.features.class_counts, found.confidences
        )
        kept = bootstrap.packed(found.classes == found.labels, found.labels)
        rows.append(said | {"protocol": name} | rounded(scores) | kept)
    return rows
