"""What the two phases' loops share: the report of a step, the device, the check for NaN."""

from __future__ import annotations

import contextlib
import math
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from facog_lab.config import Device, LabError
from facog_lab.runs.environment import free_memory, keep_freed_memory

# What PyTorch's allocators say on CUDA, on Linux and macOS, and on Windows.
NO_MEMORY = "out of memory|can't allocate memory|not enough memory"


class TrainingError(LabError, RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite; nothing was saved from it."""


class OutOfMemoryError(LabError, RuntimeError):
    """A step asked for more memory than there is; nothing of the settings was changed for it."""


@dataclass(frozen=True)
class Step:
    """What a loop yields after every step.

    Attributes:
        step: how many steps were taken so far.
        epoch: the epoch the step belongs to, from 0.
        ends_epoch: whether it is the last of its epoch.
        figures: what was measured; phase 1 measures once an epoch, phase 2 at every step.
    """

    step: int
    epoch: int
    ends_epoch: bool
    figures: dict[str, float]


def pick_device(device: Device) -> torch.device:
    """The device to use: "auto" is CUDA where there is one.

    Raises:
        ValueError: if CUDA is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device = 'cuda', but PyTorch sees no GPU: use 'auto' or 'cpu'.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


@contextlib.contextmanager
def enough_memory(phase: str, step: int, device: torch.device, asked: str) -> Iterator[None]:
    """Turns what an allocator says inside into an error that says what to set.

    Args:
        phase: and
        step: where it is.
        device: whose memory it is.
        asked: the settings that a step's memory grows with.

    Raises:
        OutOfMemoryError: where there was not enough.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        if not isinstance(error, MemoryError) and not re.search(NO_MEMORY, said):
            raise
        traceback.clear_frames(error.__traceback__)  # which hold the tensors of the step
        keep_freed_memory(False)
        amount = re.search(r"allocate ([\d.]+ \w+)", said)
        raise OutOfMemoryError(
            f"{phase}, step {step}: out of memory on {device}, {free_memory(device)}. "
            f"{asked} wanted {amount[1] if amount else 'some'} more. Set batch_size lower, or the "
            "network smaller. That is never done for you: contrastive losses depend on the batch. "
            "A smaller run can follow in this session."
        ) from None


@contextlib.contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU, PyTorch computes with one thread inside; afterwards with as many as before.

    For matrices as small as phase 2's: two threads that wait for each other many times a
    millisecond are a little faster on an idle machine, and three times slower than one as soon as
    something else wants a core, such as the page that shows the curves. The setting belongs to the
    calling thread; setting it takes a tenth of a microsecond.
    """
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def append(table: dict[str, list[Any]], row: dict[str, Any]) -> None:
    """Adds a row to a table of columns; what a row lacks is None in its column."""
    rows = len(next(iter(table.values()), []))
    for name in {**table, **row}:
        table.setdefault(name, [None] * rows).append(row.get(name))


def check_finite(figures: dict[str, float], phase: str, first: int, last: int, rates: str) -> None:
    """Stops a loop whose losses are no numbers any more.

    Args:
        figures: of some steps.
        phase: what the loop is called.
        first: of the steps.
        last: of the steps.
        rates: the settings that a step can be too large by, in words.

    Raises:
        TrainingError: naming the terms and the steps, if a figure is NaN or infinite.
    """
    bad = [name for name, value in figures.items() if not math.isfinite(value)]
    if bad:
        when = f"at step {last}" if first == last else f"between steps {first} and {last}"
        raise TrainingError(
            f"{phase}: {', '.join(bad)} became NaN or infinite {when}, with {rates}. Lower the "
            "learning rate or the weight of a term; nothing was saved from these steps."
        )
