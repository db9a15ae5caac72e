"""Tensors of a safetensors file, mapped: opened in milliseconds, read where they are used.

The library's own reader maps, too, but cannot give pages back: the kernel maps a good deal around
every row that is read, and a process that draws from a dictionary would soon hold all of it.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

LARGE = 2**28  # bytes; a smaller file stays in memory once it was read
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class Mapped(NamedTuple):
    """A mapped file.

    Attributes:
        tensors: by name. To write into one changes this process's copy, never the file.
        release: gives the memory back that reading took, where the file is large; what is needed
            again is read again. Only for tensors that nobody wrote into.
    """

    tensors: dict[str, Tensor]
    release: Callable[[], None]


def read(path: Path) -> Mapped:
    """Maps a safetensors file: 8 bytes with the length of a JSON header, the header, the data."""
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        dtype, shape, (first, _) = DTYPES[about["dtype"]], about["shape"], about["data_offsets"]
        count = math.prod(shape)
        tensors[name] = (
            torch.frombuffer(whole, dtype=dtype, count=count, offset=start + first).view(shape)
            if count
            else torch.empty(shape, dtype=dtype)
        )

    def release() -> None:
        if len(whole) > LARGE and hasattr(mmap, "MADV_DONTNEED"):
            whole.madvise(mmap.MADV_DONTNEED)

    return Mapped(tensors, release)
