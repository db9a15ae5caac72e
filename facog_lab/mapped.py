"""Tensors of a safetensors file, mapped: opened in milliseconds, read where they are used.

The library's own reader maps, too, but cannot give pages back: the kernel maps a good deal around
every row that is read, and a process that draws from a dictionary would soon hold all of it.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Callable, Mapping
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


Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]  # of tensors, by name


class Mapped(NamedTuple):
    """A mapped file.

    Attributes:
        tensors: by name. To write into one changes this process's copy, and the file alone if it
            was opened for that.
        release: gives the memory back that reading took, where the file is large; what is needed
            again is read again. Only for tensors that nobody wrote into.
    """

    tensors: dict[str, Tensor]
    release: Callable[[], None]


def create(path: Path, shapes: Shapes) -> None:
    """Makes a safetensors file of zeros, to be filled through `read(path, write=True)`.

    Raises:
        OSError: if it cannot be written; the disk has room for all of it otherwise.
    """
    codes = {dtype: code for code, dtype in DTYPES.items()}
    header, end = {}, 0
    for name in sorted(shapes, key=lambda name: (-shapes[name][0].itemsize, name)):  # aligned so
        dtype, shape = shapes[name]
        first, end = end, end + math.prod(shape) * dtype.itemsize
        about = {"dtype": codes[dtype], "shape": list(shape), "data_offsets": [first, end]}
        header[name] = about
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
        file.flush()
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here; later it is a signal
            os.posix_fallocate(file.fileno(), 0, 8 + len(text) + end)


def read(path: Path, write: bool = False) -> Mapped:
    """Maps a safetensors file: 8 bytes with the length of a JSON header, the header, the data.

    Args:
        path: of the file.
        write: whether what is written into its tensors goes into the file.
    """
    access = mmap.ACCESS_WRITE if write else mmap.ACCESS_COPY
    with path.open("r+b" if write else "rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=access)
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
