"""Back to the step before a loss, a gradient or a weight became NaN or infinite.

Checking every gradient takes some percent of a step, so it is done only after a problem. A loop
keeps a copy of its state now and then; when a value is not finite, the steps since the copy are
repeated, each checked. They are the same steps: a step depends only on seed and step number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from facog_lab.config import TrainingError
from facog_lab.metrics import History, Step
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import Phase2
from facog_lab.runs import checkpoint
from facog_lab.runs.checkpoint import Loop
from facog_lab.runs.experiment import controls_at
from facog_lab.runs.memory import enough_memory
from facog_lab.settings import Controls

L = TypeVar("L", bound=Loop)

OF_CLASSIFIER = ("loss_cls", "entropy", "max_weight", "added")  # what its step measures
STEPS_BETWEEN_COPIES = 100  # a copy takes a quarter of a step
# Settings that a step can be too large by, as far as a loop has them.
RATES = (
    *("lr", "lr_generator", "lr_discriminator", "lr_classifier", "temperature"),
    *("lambda_ce", "lambda_sc", "lambda_adv", "lambda_asc"),
)


class Copy(NamedTuple):
    """A loop at a step.

    Attributes:
        tensors: its state.
        rows: how many rows each table of its history had.
        sums: what phase 1 has added up in this epoch.
    """

    tensors: dict[str, Tensor]
    rows: dict[str, int]
    sums: tuple[Tensor, ...]


class Guarded(Generic[L]):
    """Runs a loop step by step, and restores the state before a step that failed.

    An iterator, like the loop. Its out-of-memory errors say what to set.

    Args:
        loop: at its start, or at any step at which it could be resumed.
    """

    def __init__(self, loop: L) -> None:
        self.loop: L = loop
        self._kept: Copy | None = None
        self._step = 0  # of the copy

    def __iter__(self) -> Guarded[L]:
        return self

    def __next__(self) -> Step:
        """The loop's next step.

        Raises:
            TrainingError: if something of it became NaN or infinite; the loop is as before it.
            OutOfMemoryError: if it asked for more memory than there is.
        """
        loop = self.loop
        if loop.step < loop.total_steps and _can_be_resumed(loop):
            self.keep()
        with enough_memory(loop.phase, loop.step + 1, loop.device, _asked(loop)):
            step = next(loop)
        if bad := bad_figures(step.figures):
            raise self.error(bad)
        return step

    def keep(self) -> None:
        """Copies the state if it was long ago; call it where the loop could be resumed.

        Raises:
            TrainingError: see `check`.
        """
        if self._kept is None or not 0 <= self.loop.step - self._step < STEPS_BETWEEN_COPIES:
            self.check()
            self._kept, self._step = _copy(self.loop), self.loop.step

    def forget(self) -> None:
        """The loop was given another state."""
        self._kept = None

    def check(self) -> None:
        """Looks at the whole state; call it before that is saved.

        Raises:
            TrainingError: if something of it is NaN or infinite.
        """
        bad = [n for n, tensor in checkpoint.state(self.loop).items() if not finite(tensor)]
        if bad:
            raise self.error(bad)

    def error(self, noticed: list[str]) -> TrainingError:
        """Restores the loop to the state before the step that failed, and says which that was.

        Args:
            noticed: what was found not to be finite, after the loop's present step at the latest.
        """
        loop, kept = self.loop, self._kept
        last, past, culprits = loop.step, loop.history, noticed
        if kept is not None:
            _restore(loop, kept)
            while loop.step < last:
                before = _copy(loop)
                found = repeat_step(loop, past)
                if found or loop.step == last:  # the last one was seen to go wrong, whatever now
                    culprits, last = found or noticed, int(before.tensors["step"]) + 1
                    _restore(loop, before)
                    break
            self._kept = kept
        epoch = max(0, last - 1) // loop.steps_per_epoch + 1
        settings = dict(getattr(loop, "controls", loop.config))
        rates = [f"{name} = {settings[name]:g}" for name in RATES if name in settings]
        return TrainingError(
            f"{loop.phase}, epoch {epoch}, step {last}: {', '.join(culprits)} became NaN or "
            f"infinite, with {', '.join(rates)}. Lower the learning rate or the weight of a loss, "
            f"or raise the temperature. Weights and history are as after step {loop.step}; nothing "
            "was saved of this one."
        )


def repeat_step(loop: Loop, past: History) -> list[str]:
    """Repeats a step and returns what is not finite, in the order of computation.

    Args:
        loop: as before the step.
        past: the history of the steps as they were taken the first time.
    """
    if isinstance(loop, Phase2):
        recorded = loop.step < len(past["steps"].get("n_s", []))
        controls = controls_at(past["steps"], loop.step + 1) if recorded else loop.controls
        return _culprits(loop, loop.take(controls).figures, controls)
    next(loop)
    terms: list[float] = loop.measured.tolist() if isinstance(loop, Phase1) else []
    measured = dict(zip(("loss", "ce", "sc"), terms, strict=True))
    return bad_figures(measured) or bad_gradients(loop.parts().items())


def _culprits(loop: Phase2, row: dict[str, float], controls: Controls) -> list[str]:
    """What was not finite first in a step: D comes before G, and both before f_cls."""
    parts = dict(loop.oversampler_of(controls).parts)
    of_d = {name: row[name] for name in row if name.startswith(("loss_d", "score_"))}
    of_classifier = {name: row[name] for name in row if name in OF_CLASSIFIER}
    others = {name: row[name] for name in row if name not in {**of_d, **of_classifier}}
    discriminator = [("discriminator", parts.pop("discriminator", None))]
    stages = (
        bad_figures(of_d),
        bad_gradients(discriminator),
        bad_figures(others),
        bad_gradients(parts.items()),
        bad_figures(of_classifier),
        bad_gradients([("classifier", loop.classifier)]),
    )
    return next(filter(None, stages), [])


def _can_be_resumed(loop: Loop) -> bool:
    """Phase 1 at the ends of its epochs alone, since what it adds up in one is not kept."""
    return not isinstance(loop, Phase1) or loop.step % loop.steps_per_epoch == 0


def _asked(loop: Loop) -> str:
    """The settings that a step's memory grows with."""
    size = f"batch_size = {loop.config.batch_size}"
    if isinstance(loop, Phase2):
        return f"{size}, n_s = {loop.controls.n_s}, D_E = {loop.dictionary.feature_dim}"
    if isinstance(loop, Phase1):
        return f"{size}, views = {loop.config.views}, side = {loop.data.side}"
    return size


def finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite."""
    return bool(tensor.isfinite().all())


def bad_figures(figures: Mapping[str, float]) -> list[str]:
    """The names of the figures that are NaN or infinite."""
    return [name for name, value in figures.items() if not math.isfinite(value)]


def bad_gradients(parts: Iterable[tuple[str, object]]) -> list[str]:
    """The parameters of networks, by part and name, whose last gradient is NaN or infinite."""
    return [
        f"gradient of {part}.{name}"
        for part, owner in parts
        if isinstance(owner, nn.Module)
        for name, parameter in owner.named_parameters()
        if parameter.grad is not None and not finite(parameter.grad)
    ]


def _copy(loop: Loop) -> Copy:
    tensors = {name: tensor.clone() for name, tensor in checkpoint.state(loop).items()}
    rows = {name: len(next(iter(table.values()), [])) for name, table in loop.history.items()}
    sums = (loop.sums.clone(), loop.right.clone()) if isinstance(loop, Phase1) else ()
    return Copy(tensors, rows, sums)


def _restore(loop: Loop, copy: Copy) -> None:
    history: History = {
        table: {
            name: column[: copy.rows[table]]
            for name, column in columns.items()
            if any(value is not None for value in column[: copy.rows[table]])
        }
        for table, columns in loop.history.items()
    }
    checkpoint.restore(loop, copy.tensors, history)
    if isinstance(loop, Phase1):
        loop.sums, loop.right = (total.clone() for total in copy.sums)
