"""What a figure was measured with: versions, processor, device, threads; what memory is free."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import facog_lab


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
