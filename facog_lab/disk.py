"""Where files lie; files that are whole or not there; what a disk says about them in words."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import facog_lab
from facog_lab.config import LabError


class StoreError(LabError, RuntimeError):
    """A run's folder cannot be written, or holds what was not written by this lab for this run."""


def project_root() -> Path:
    """The folder of the checkout; where the package is installed elsewhere, the current one."""
    checkout = Path(facog_lab.__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


def outputs_root() -> Path:
    """Where runs are kept: the folder named by FACOG_OUTPUTS, else ``outputs/`` in the project."""
    return Path(os.environ.get("FACOG_OUTPUTS") or project_root() / "outputs")


@contextlib.contextmanager
def written_or_said(folder: Path, size: int = 0) -> Iterator[None]:
    """Turns what the system says while a folder is written into an error that says what to do.

    Args:
        folder: that is written to; it need not be there yet.
        size: bytes that are to be written.

    Raises:
        StoreError: for an OSError inside.
    """
    try:
        yield
    except OSError as error:
        there = next(parent for parent in folder.parents if parent.is_dir())
        free = shutil.disk_usage(there).free
        raise StoreError(
            f"{folder}: nothing was saved ({error.strerror or error}); {size:,} bytes were to be "
            f"written, {free:,} are free. What was saved before is untouched, and training in "
            "memory can go on. Make room, or name another folder in FACOG_OUTPUTS."
        ) from error


def write(path: Path, content: bytes) -> None:
    """Writes a file so that its name stands for the whole content or for what was there before."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _flush_names(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _flush_names(folder: Path) -> None:
    """Has the new name on the disk before anything relies on it, where the system can do that."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # not every network drive can
                os.fsync(handle)
        finally:
            os.close(handle)
