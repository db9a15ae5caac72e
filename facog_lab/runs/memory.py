"""Too little memory, and losses that are not finite, as errors that say what to set."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator

import torch

from facog_lab.config import LabError
from facog_lab.runs.environment import free_memory, keep_freed_memory

# What PyTorch's allocators say on CUDA, on Linux and macOS, and on Windows.
NO_MEMORY = "out of memory|can't allocate memory|not enough memory"


class OutOfMemoryError(LabError, RuntimeError):
    """A step asked for more memory than there is; nothing of the settings was changed for it."""


@contextlib.contextmanager
def enough_memory(phase: str, step: int, device: torch.device, asked: str) -> Iterator[None]:
    """Turns an allocator's error inside into one that says what to set.

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
            "network smaller. The lab never does that itself: contrastive losses depend on the "
            "batch. A smaller run can follow in this session."
        ) from None
