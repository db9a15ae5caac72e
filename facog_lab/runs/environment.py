"""The machine: its description for measurements, its free memory, what is fast on it."""

from __future__ import annotations

import ctypes
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import facog_lab

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def environment() -> dict[str, Any]:
    """Versions, processor, device and threads: what a figure was measured with."""
    packages = ("torch", "torchvision", "numpy", "pydantic", "safetensors")
    return {
        "facog_lab": facog_lab.__version__,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def free_memory(device: torch.device) -> str:
    """How much of a device's memory is free, in words."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
    else:
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
        except OSError:
            return "whose free memory this system does not tell"
        sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
        free, total = sizes["MemAvailable"], sizes["MemTotal"]
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def keep_freed_memory(keep: bool) -> None:
    """Whether this process keeps the memory that it frees, for the next tensor of that size.

    By default glibc returns large blocks at once and gets them again, page by page, at the
    next step: a quarter of a step of phase 1 on a CPU went there. To stop keeping also gives back
    what was kept. Nothing happens where there is no glibc; results are the same either way.
    """
    try:
        glibc = ctypes.CDLL("libc.so.6")
        mallopt, trim = glibc.mallopt, glibc.malloc_trim
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0 if keep else 65_536)
    mallopt(_M_TRIM_THRESHOLD, -1 if keep else 128 * 1024)  # -1: never; the others are defaults
    if not keep:
        trim(0)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
