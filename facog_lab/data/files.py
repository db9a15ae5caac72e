"""How the files of a data set are opened, in a folder or a zip.

Nothing is ever extracted to disk, and nothing but a regular file is opened. What a stranger's zip
may cost is bounded before it is read.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from facog_lab.data.listing import (
    HIDDEN,
    MAX_DEPTH,
    SUFFIXES,
    SYSTEM,
    TWICE,
    DataError,
    Listing,
    below,
    check_number,
    examples,
    is_hidden,
    kind,
    suffix,
    system_devices,
)

MAX_DIRECTORY_BYTES = 24 * 2**20  # of a zip's table of contents: some 300,000 files, 200 MB here
MAX_FILE_BYTES = 64 * 2**20  # of one image in a zip
MAX_COMPRESSION = 200  # times smaller, for a zip's members above 1 MiB: photographs reach 2

MAX_OWN_BYTES = 2**30  # of one file in a folder: more than MAX_PIXELS take, not compressed
NEITHER = "no such folder or .zip file"


class Stamp(NamedTuple):
    """Facts that show whether a file is unchanged, without reading it."""

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int
    inode: int


class Files(Protocol):
    """Files by relative name with forward slashes, whatever they lie in."""

    path: Path

    def listing(self) -> Listing:
        """What is there."""

    def stamp(self, name: str) -> Stamp:
        """Size, times and inode of a file."""

    def open(self, name: str) -> BinaryIO:
        """A file, to be read from its start."""


def open_files(path: Path) -> Files:
    """The files in a folder or a zip.

    Raises:
        DataError: if it is neither, or a zip that is damaged or not safe to read.
    """
    try:
        about = path.stat()
    except (OSError, ValueError):
        raise DataError(f"{path}: {NEITHER}. Give the path of one that exists.") from None
    if about.st_dev in system_devices():
        raise DataError(f"{path}: {SYSTEM}. Give a folder of images.")
    if stat.S_ISDIR(about.st_mode):
        return Folder(path)
    if path.suffix.lower() == ".zip" and stat.S_ISREG(about.st_mode):
        return Zip(path)
    raise DataError(
        f"{path}: {NEITHER}, but {kind(about.st_mode)}. Give the folder that holds the images; "
        "unpack what is packed in another way."
    )


def regular(path: Path) -> os.stat_result:
    """The system's facts about a file that can be read to its end.

    Raises:
        OSError: if it is missing, no regular file (which is not opened), or larger than any image;
            or if it is empty, as those of the running kernel are, too, which may never end.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(f"{kind(about.st_mode)}, which is never opened")
    if not 0 < about.st_size <= MAX_OWN_BYTES:
        raise OSError(f"{about.st_size:,} bytes; 1 to {MAX_OWN_BYTES:,} are read")
    return about


class Folder:
    """The files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listing(self) -> Listing:
        """See Files, and `listing.below` for what it raises."""
        return below(self.path)

    def stamp(self, name: str) -> Stamp:
        """See Files, and `regular` for what it raises."""
        return _stamp(regular(self.path / name))

    def open(self, name: str) -> BinaryIO:
        """See Files, and `regular` for what it raises."""
        regular(self.path / name)
        return (self.path / name).open("rb")


class Zip:
    """The members of a zip, read in memory, within the limits at the top of this file.

    Raises:
        DataError: for a damaged zip, too many members or two of one name that differ, or a member
            whose name is absolute or leads out of the folder, or that is too large, or compressed
            more than images are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _check_directory(path)
            self._stamp = _stamp(path.stat())
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise DataError(f"{path}: not a whole zip ({error}). Download or make it again.") from (
                error
            )
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._found = Listing()
        for member in self._zip.infolist():
            self._add(member)
        self._found.names = sorted(self._visible())
        other = [n for n, m in self._members.items() if not (n.isascii() or m.flag_bits & 0x800)]
        if other:
            self._found.notes.append(
                f"names that the zip does not mark as UTF-8 may be garbled: {examples(other)}"
            )

    def _add(self, member: zipfile.ZipInfo) -> None:
        if reason := _unsafe(member):
            raise DataError(
                f"{self.path}: member {member.filename!r} {reason}; nothing was read. Unpack the "
                "zip yourself if you trust it, and give the folder."
            )
        # Some programs write `./a` or, against the standard, backslashes.
        raw = member.filename.replace("\\", "/")
        name = "/".join(part for part in raw.split("/") if part not in ("", "."))
        name += "/" * raw.endswith("/")
        before = self._members.setdefault(name, member)
        if before is member or name.endswith("/"):
            return
        same = (before.CRC, before.file_size) == (member.CRC, member.file_size)
        if not same and suffix(name) in SUFFIXES and not _is_hidden(name):
            raise DataError(
                f"{self.path}: two members are named {name!r}, and their contents differ. Unpack "
                "the zip, keep the right one, and give the folder."
            )
        self._found.pass_by(TWICE, name)

    def _visible(self) -> set[str]:
        """Files and folders; a zip need not list its folders."""
        found: set[str] = set()
        folders = 0
        for name in self._members:
            if _is_hidden(name):
                self._found.pass_by(HIDDEN, name)
                continue
            found.add(name)
            parent = name.rstrip("/").rpartition("/")[0]
            while parent and f"{parent}/" not in found:
                found.add(f"{parent}/")
                folders += 1
                parent = parent.rpartition("/")[0]
            check_number(self.path, len(found), folders)
        found.discard("")
        return found

    def listing(self) -> Listing:
        """See Files."""
        return self._found

    def stamp(self, name: str) -> Stamp:
        """See Files; a member has the times and the inode of its zip."""
        return self._stamp._replace(size=self._members[name].file_size)

    def open(self, name: str) -> BinaryIO:
        """See Files."""
        member = self._members[name]
        with self._zip.open(member) as stream:
            # With a length, no more than it is unpacked, whatever the zip says of itself.
            return io.BytesIO(stream.read(member.file_size))


def _is_hidden(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))


def _stamp(about: os.stat_result) -> Stamp:
    return Stamp(about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)


def _unsafe(member: zipfile.ZipInfo) -> str | None:
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "is not inside the zip's own folder"
    if name.count("/") > MAX_DEPTH:
        return f"lies more than {MAX_DEPTH} folders deep"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed by another method than deflate"
    if member.file_size > MAX_FILE_BYTES:
        return f"has {member.file_size:,} bytes, more than {MAX_FILE_BYTES:,}"
    if member.file_size > 2**20 and member.file_size > MAX_COMPRESSION * member.compress_size:
        return f"is compressed more than {MAX_COMPRESSION} times, as no image is"
    return None


def _check_directory(path: Path) -> None:
    """Looks at how long a zip's table of contents is before zipfile makes objects of it."""
    with path.open("rb") as file:
        # Private, but a reader of our own could be told another length than zipfile is.
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end and end[zipfile._ECD_SIZE] > MAX_DIRECTORY_BYTES:  # type: ignore[attr-defined]
        raise DataError(
            f"{path}: its table of contents has {end[zipfile._ECD_SIZE]:,} bytes, more than "  # type: ignore[attr-defined]
            f"{MAX_DIRECTORY_BYTES:,}; nothing was read. Unpack the zip yourself if you trust it, "
            "and give the folder."
        )
