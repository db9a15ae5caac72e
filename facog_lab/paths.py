"""Where files are; atomic writes; errors of the disk in words."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

import facog_lab
from facog_lab.config import LabError


class StoreError(LabError, RuntimeError):
    """A run's folder cannot be written, or holds what was not written by this lab for this run."""


class DamagedError(StoreError):
    """A file of a run is missing or damaged."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path, what)  # so that it can be sent to another process
        self.what = what
        self.damage = f"{path} {what}"

    def __str__(self) -> str:
        return f"{self.damage}. Remove the folder to make the run again."


def project_root() -> Path:
    """The folder of the checkout; where the package is installed elsewhere, the current one."""
    checkout = Path(facog_lab.__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


def outputs_root() -> Path:
    """Where runs are kept: the folder named by FACOG_OUTPUTS, else ``outputs/`` in the project.

    Raises:
        StoreError: see `named_folder`.
    """
    return named_folder("FACOG_OUTPUTS") or project_root() / "outputs"


def named_folder(variable: str) -> Path | None:
    """The folder that an environment variable names, ``~`` being a home; None if it names none.

    A shell puts the home into ``export FACOG_OUTPUTS=~/x`` itself, and into nothing that is in
    quotes, in a file of settings or in a notebook.

    Raises:
        StoreError: if ``~name`` is nobody's home, or no path can be so.
    """
    if not (named := os.environ.get(variable)):
        return None
    try:
        path = Path(named).expanduser()
        path.exists()  # which fails for a name that is too long
    except (RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or "there is no such home"
        raise StoreError(
            f"{variable} = {shortened(named)}: {reason}. Write the whole path, from / on."
        ) from None
    return path


def shortened(text: str) -> str:
    """A text from outside, for an error message: only the beginning of a long one."""
    return repr(text if len(text) <= 200 else text[:200] + "…")


def own_cache() -> Path | None:
    """A folder for code that was compiled, which nobody but this user can write to; None if not."""
    named = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(named) / "facog-lab"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(about.st_mode):
        return None
    if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o022):
        return None
    return folder


@contextlib.contextmanager
def explain_oserror(folder: Path, size: int = 0) -> Iterator[None]:
    """Turns a system error while a folder is written into one that says what to do.

    Args:
        folder: that is written to; it need not be there yet.
        size: bytes that are to be written.

    Raises:
        StoreError: for an OSError inside.
    """
    try:
        yield
    except OSError as error:
        check_place(folder)
        there = next(parent for parent in folder.parents if parent.is_dir())
        free = shutil.disk_usage(there).free
        raise StoreError(
            f"{folder}: nothing was saved ({error.strerror or error}); {size:,} bytes were to be "
            f"written, {free:,} are free. Earlier saves are untouched, and training in "
            "memory can continue. Free some space, or name another folder in FACOG_OUTPUTS."
        ) from error


def check_place(folder: Path) -> None:
    """Checks that a folder can be written, before there are results to write to it.

    Raises:
        StoreError: if a file, or a link that leads nowhere, has its name or that of one above it.
    """
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        kind = "a link that leads nowhere" if there.is_symlink() else "a file"
        raise StoreError(
            f"{there} is {kind}, and a folder belongs there: {folder} is to be written. Move it "
            "away, or name another folder in FACOG_OUTPUTS."
        )


@contextlib.contextmanager
def locked(path: Path, timeout: float | None = None) -> Iterator[None]:
    """Held by one process at a time; the system takes it from a process that dies.

    Args:
        path: of the lock's file.
        timeout: seconds to wait for who has it; None: as long as it takes.

    Raises:
        filelock.Timeout: if they were over.
        StoreError: if nothing can be written there.
    """
    lock, late = FileLock(path), None
    with explain_oserror(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=-1 if timeout is None else timeout)
        except Timeout as error:  # an OSError, too, and nothing is full
            late = error
    if late is not None:
        raise late
    try:
        yield
    finally:
        lock.release()


def new_folder(parent: Path, name: str) -> Path:
    """A folder of this name, or with a number behind it, made now: nobody else gets the same one.

    Raises:
        StoreError: if it cannot be made.
    """
    with explain_oserror(parent / name):
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = parent / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
    return folder


def write(path: Path, content: bytes) -> None:
    """Writes a file atomically: its name has either the new content or the old."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:  # a new file: a link of that name would lead elsewhere
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
