"""The device that tensors are computed on, and settings that make it fast."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import torch

from facog_lab.config import ConfigError, Device


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


def faster_format(side: int) -> torch.memory_format:
    """Channels last for images of 28 pixels and more; for 8×8 it was many times slower on a CPU."""
    return torch.channels_last if side >= 28 else torch.contiguous_format


def fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 autocast pays: on GPUs with the units for it; on CPUs it was 5× slower."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


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


def check_compiler(device: torch.device) -> None:
    """Asks for what torch.compile compiles with on a CPU.

    Raises:
        ConfigError: if there is no C++ compiler.
    """
    names = os.environ.get("CXX") or "g++", "clang++", "cl"
    if device.type == "cpu" and not any(map(shutil.which, names)):
        raise ConfigError(
            f"torch_compile = True, and there is no C++ compiler ({', '.join(names)}): install "
            "g++, or set torch_compile to False."
        )
