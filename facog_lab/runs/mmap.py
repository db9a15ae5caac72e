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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from facog_lab.paths import DamagedError

LARGE = 2**28  # bytes; a smaller file stays in memory once it was read
LONGEST_HEADER = 100_000_000  # bytes, as the library has it
LARGEST = 2**62  # a number of bytes or a side of a tensor
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
    path.unlink(missing_ok=True)
    with path.open("xb") as file:  # a new file: a link of that name would lead elsewhere
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

    Raises:
        DamagedError: naming the file, if its header is not one of this format. Tensors have to fill
            the data one after the other, as the library has it: where two lay over each other, or
            data between them, a file could say of itself one thing and hold another.
    """
    access = mmap.ACCESS_WRITE if write else mmap.ACCESS_COPY
    with path.open("r+b" if write else "rb") as file:
        if os.fstat(file.fileno()).st_size < 8:  # nor can an empty file be mapped
            raise DamagedError(path, "has no header")
        whole = mmap.mmap(file.fileno(), 0, access=access)
    start = 8 + int.from_bytes(whole[:8], "little")
    try:
        if start > min(len(whole), 8 + LONGEST_HEADER):
            raise ValueError("its length is not in the file")
        header = json.loads(whole[8:start], object_pairs_hook=_each_once)
        header.pop("__metadata__", None)
        _check(header, len(whole) - start)
        tensors = {name: _tensor(whole, start, about) for name, about in header.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise DamagedError(path, f"has a bad header ({error})") from None

    def release() -> None:
        if len(whole) > LARGE and hasattr(mmap, "MADV_DONTNEED"):
            whole.madvise(mmap.MADV_DONTNEED)

    return Mapped(tensors, release)


def _tensor(whole: mmap.mmap, start: int, about: Mapping[str, Any]) -> Tensor:
    dtype, shape, (first, _) = DTYPES[about["dtype"]], about["shape"], about["data_offsets"]
    if (count := math.prod(shape)) == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(whole, dtype=dtype, count=count, offset=start + first).view(shape)


def _check(header: Any, size: int) -> None:
    """Looks whether the tensors of a header fill so many bytes, without holes or overlaps.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: if not.
    """
    end = 0
    for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (first, last) = about["shape"], about["data_offsets"]
        if not all(type(n) is int and 0 <= n <= LARGEST for n in (*shape, first, last)):
            raise ValueError(f"{name} has an invalid shape or position")
        bytes_ = math.prod(shape) * DTYPES[about["dtype"]].itemsize
        if (first, last) != (end, end + bytes_):
            raise ValueError(
                f"{name}, {bytes_:,} bytes, is to lie at {first:,} to {last:,}, after {end:,}"
            )
        end = last
    if end != size:
        raise ValueError(f"its tensors have {end:,} bytes, and {size:,} follow")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found
