"""Images decoded ahead of the steps that need them, by worker processes.

Only decoding is ahead: a batch's images are the same whichever process decodes them, and their
views are made afterwards by (seed, epoch, image), on the device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from facog_lab.config import ConfigError
from facog_lab.data.decode import ImageFiles
from facog_lab.data.files import Folder

MOST_WORKERS, MOST_NAMED = 8, 256  # of its own accord, and when they are asked for
BATCHES_AHEAD = 2  # of each worker


def workers_for(images: ImageFiles, device: torch.device) -> int:
    """How many processes decode images of one that trains: FACOG_WORKERS, or as many as help.

    On a GPU the cores of this machine are divided among its processes. On a CPU they train
    themselves, and none is the number: threads decode then, as for the members of a zip, whose one
    file is not shared by processes.

    Raises:
        ConfigError: if FACOG_WORKERS is no number of processes.
    """
    if not isinstance(images.files, Folder):
        return 0
    if named := os.environ.get("FACOG_WORKERS"):
        if not (named.isascii() and named.isdigit() and int(named) <= MOST_NAMED):
            raise ConfigError(
                f"FACOG_WORKERS = {named!r}: give a whole number from 0 (threads decode) to "
                f"{MOST_NAMED}."
            )
        return int(named)
    if device.type == "cpu":
        return 0
    return min(MOST_WORKERS, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class Prefetch:
    """The decoded images of batches, asked for one after the other.

    Args:
        images: to decode.
        rows: of a step, counted from 0: the (B',) images that it needs.
        steps: how many there are.
        workers: processes that decode, at least 1.
        pinned: whether the images go to a GPU.
    """

    def __init__(
        self,
        images: ImageFiles,
        rows: Callable[[int], Tensor],
        steps: int,
        workers: int,
        pinned: bool,
    ) -> None:
        self._images, self._rows, self._steps = images, rows, steps
        self._options: dict[str, Any] = {
            "num_workers": workers,
            "pin_memory": pinned,
            "prefetch_factor": BATCHES_AHEAD,
        }
        self._next = -1
        self._batches: Iterator[Tensor] = iter(())

    def take(self, step: int) -> Tensor:
        """(B', channels, side, side) uint8, of a step; those after it are decoded meanwhile.

        Raises:
            DataError: naming the file that is missing, damaged or too large.
        """
        if step != self._next:  # the first, or the loop was set to another one
            order = _Order(self._rows, range(step, self._steps))
            loader = DataLoader(_Decoded(self._images), None, sampler=order, **self._options)
            self._batches, self._next = iter(loader), step
        self._next += 1
        return next(self._batches)


class _Order(Sampler[list[int]]):
    """The rows of steps, each found when it is its turn."""

    def __init__(self, rows: Callable[[int], Tensor], steps: range) -> None:
        self._rows, self._steps = rows, steps

    def __iter__(self) -> Iterator[list[int]]:
        return (self._rows(step).tolist() for step in self._steps)


class _Decoded(Dataset[Tensor]):
    """Batches of images, by their rows."""

    def __init__(self, images: ImageFiles) -> None:
        self._images = images

    def __getitem__(self, rows: list[int]) -> Tensor:
        # One by one: threads do not outlive the fork that made this process.
        return torch.stack([self._images._one(row) for row in rows])
