"""Back to the step before a loss, a gradient or a weight became NaN or infinite.

To look at every gradient takes some percent of a step, so nobody looks while all goes well. A loop
keeps a copy of its state now and then; when a figure is no number, the steps since the copy are
taken again, each looked at. They come out the same: a step depends on seed and step number alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from facog_lab.config import Config
from facog_lab.runs.memory import TrainingError
from facog_lab.runs.store import History

STEPS_BETWEEN_COPIES = 100  # a copy takes a quarter of a step
# Settings that a step can be too large by, as far as a loop has them.
RATES = (
    *("lr", "lr_generator", "lr_discriminator", "lr_classifier", "temperature"),
    *("lambda_ce", "lambda_sc", "lambda_adv", "lambda_asc"),
)


class Loop(Protocol):
    """What is asked of a loop."""

    phase: str
    step: int
    steps_per_epoch: int
    history: History

    @property
    def config(self) -> Config:
        """Its settings."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Weights, optimisers, the step."""
        ...

    def load_state(self, tensors: dict[str, Tensor], history: History) -> None:
        """Goes on from what `state` gave."""
        ...

    def take_again(self, past: History) -> list[str]:
        """The next step again; what of it is no number, if anything, in which case no more is done.

        Args:
            past: the history of the steps as they were taken the first time.
        """
        ...


class Copy(NamedTuple):
    """A loop at a step: its state, and how many rows each table of its history had."""

    tensors: dict[str, Tensor]
    rows: dict[str, int]


class Rewind:
    """Keeps copies of a loop's state, and goes back to the step before it went wrong."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._kept: Copy | None = None
        self._step = 0  # of the copy

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
        bad = [name for name, tensor in self.loop.state().items() if not finite(tensor)]
        if bad:
            raise self.error(bad)

    def error(self, noticed: list[str]) -> TrainingError:
        """Leaves the loop as it was before the step that went wrong, and says which that was.

        Args:
            noticed: what was seen to be no number, after the loop's present step at the latest.
        """
        loop, kept = self.loop, self._kept
        last, past, culprits = loop.step, loop.history, noticed
        if kept is not None:
            _restore(loop, kept)
            while loop.step < last:
                before = _copy(loop)
                found = loop.take_again(past)
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
    tensors = {name: tensor.clone() for name, tensor in loop.state().items()}
    rows = {name: len(next(iter(table.values()), [])) for name, table in loop.history.items()}
    return Copy(tensors, rows)


def _restore(loop: Loop, copy: Copy) -> None:
    history: History = {
        table: {
            name: column[: copy.rows[table]]
            for name, column in columns.items()
            if any(value is not None for value in column[: copy.rows[table]])
        }
        for table, columns in loop.history.items()
    }
    loop.load_state(copy.tensors, history)
