"""Reads many files at once, in threads; hashes of their contents, computed once and stored."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from facog_lab.config import digest
from facog_lab.data.files import Files, Stamp
from facog_lab.data.listing import DataError
from facog_lab.paths import outputs_root, write

CHUNK = 8  # files a thread takes at a time: small ones cost less than handing them out
SECONDS_BETWEEN_REPORTS = 3.0
WORTH_KEEPING = 2**26  # bytes read; less is read again in a moment
# A file that was changed this shortly ago may be changed again without a new time stamp.
SETTLED_NS = 4 * 10**9

Report = Callable[[str], None]
A = TypeVar("A")
T = TypeVar("T")


def parallel(function: Callable[[A], T], items: Sequence[A]) -> Iterator[T]:
    """The function of every item, in order, computed by threads."""
    chunks = [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]
    for results in _pool().map(lambda chunk: [function(item) for item in chunk], chunks):
        yield from results


def told(items: Iterable[T], line: Callable[[int], str], report: Report | None) -> Iterator[T]:
    """The items as they come, with a line of progress now and then."""
    reported = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if report and time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
            report(line(done))
            reported = time.monotonic()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1), "facog-images")


def stamps(files: Files, names: Sequence[str]) -> list[Stamp]:
    """What can be known of files without reading them.

    Raises:
        DataError: with the number of those that are missing, or are no files, naming one.
    """

    def stamp(name: str) -> Stamp | OSError:
        try:
            return files.stamp(name)
        except OSError as error:
            return error

    found = list(parallel(stamp, names))
    bad = [(name, stamp) for name, stamp in zip(names, found, strict=True) if _is_error(stamp)]
    if bad:
        name, error = bad[0]
        more = f" The same is true of {len(bad):,} of {len(names):,} files." if len(bad) > 1 else ""
        if isinstance(error, FileNotFoundError):
            raise DataError(
                f"{files.path / name}: listed, but missing ({error.strerror}).{more} Add the "
                "files, or give the folder that holds all of them."
            )
        raise DataError(
            f"{files.path / name}: cannot be decoded ({error}).{more} Replace the file or delete "
            "it."
        )
    return found  # type: ignore[return-value]


def _is_error(stamp: Stamp | OSError) -> bool:
    return isinstance(stamp, OSError)


def hashes(files: Files, names: Sequence[str], report: Report | None = None) -> list[str]:
    """SHA-256 of what each file holds.

    A file is read once: its hash is kept in the outputs folder, and serves for as long as the
    file's size, times and inode stay the same (of a zip's member, the zip's).

    Args:
        files: where they are.
        names: of the files.
        report: takes a line of progress now and then.

    Raises:
        DataError: if one is missing or cannot be read.
    """
    place = outputs_root() / ".contents" / f"{digest(str(files.path))[:12]}.json"
    known, found = _kept(place), stamps(files, names)
    new = [
        row
        for row, (name, stamp) in enumerate(zip(names, found, strict=True))
        if name not in known or known[name][0] != stamp
    ]
    values = parallel(lambda row: _hash(files, names[row]), new)
    end = f"of {len(new):,} files read for their hashes"
    read = told(values, lambda done: f"{files.path.name}: {done:,} {end}", report)
    for row, value in zip(new, read, strict=True):
        known[names[row]] = found[row], value
    if sum(found[row].size for row in new) >= WORTH_KEEPING:
        _keep(place, known)
    return [known[name][1] for name in names]


def _hash(files: Files, name: str) -> str:
    try:
        with files.open(name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    except Exception as error:  # zipfile raises whatever a damaged member makes it fall over
        raise DataError(f"{files.path / name}: cannot be read ({error}).") from error


def _kept(place: Path) -> dict[str, tuple[Stamp, str]]:
    """Stamps and hashes that were kept, by name; none where their file is damaged."""
    try:
        known = json.loads(place.read_bytes())
        return {name: (Stamp(*map(int, stamp)), str(sha)) for name, (stamp, sha) in known.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}


def _keep(place: Path, known: dict[str, tuple[Stamp, str]]) -> None:
    settled = time.time_ns() - SETTLED_NS
    kept = {
        name: (stamp, value)
        for name, (stamp, value) in known.items()
        if max(stamp.mtime_ns, stamp.ctime_ns) < settled
    }
    with contextlib.suppress(OSError):  # without room for it, they are read again the next time
        place.parent.mkdir(parents=True, exist_ok=True)
        write(place, json.dumps(kept).encode())
