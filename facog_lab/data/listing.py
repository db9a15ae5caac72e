"""What lies below a folder: links are followed, but not in circles, and nothing is opened."""

from __future__ import annotations

import functools
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facog_lab.config import DataError

MAX_FILES = 3_000_000  # in a folder; ImageNet has 1.4 million
MAX_FOLDERS = 300_000  # ImageNet-21k has 21,841
MAX_DEPTH = 64  # folders in each other
MAX_WAYS = 16  # by which links may lead into one folder

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm"),
}
# Folders that systems make: those of NAS boxes hold small copies of the images.
SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}

# Why something is not looked at.
HIDDEN = "hidden, or made by a system"
SPECIAL = "a pipe, socket or device, never opened"
LOOPS = "a link that leads back to a folder it lies in, not followed"
WAYS = f"a link into a folder that {MAX_WAYS} others led into, not followed"
SYSTEM = "a part of the running system, as /proc is, not looked into"
NOWHERE = "a link that leads nowhere"
TWICE = "in the zip a second time"

Chain = frozenset[tuple[int, int]]  # the folders that a folder lies in, by device and inode


@dataclass
class Listing:
    """What lies in a folder or a zip.

    Attributes:
        names: all files, and all folders with a slash at the end, sorted; none that is hidden.
        passed: what is not among them, by reason.
        links: those among them that are links, which are followed.
        notes: what else is odd.
    """

    names: list[str] = field(default_factory=list)
    passed: dict[str, list[str]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pass_by(self, reason: str, name: str) -> None:
        """Records what is skipped."""
        self.passed.setdefault(reason, []).append(name)


def below(root: Path) -> Listing:
    """All that lies below a folder.

    Raises:
        DataError: for folders that may not be read, links that lead nowhere where an image or a
            folder seems to be meant, and more files or folders than a data set has.
    """
    walk = _Walk(root)
    to_do = [("", frozenset(map(_identity, (root.resolve(), *root.resolve().parents))))]
    while to_do:
        folder, above = to_do.pop()
        to_do += walk.look_into(folder, above)
        check_number(root, len(walk.found.names), len(walk.ways))
    if walk.lost:
        name, reason = walk.lost[0]
        more = f", and {len(walk.lost) - 1:,} more" if len(walk.lost) > 1 else ""
        raise DataError(
            f"{root / name}: cannot be read ({reason}){more}. The images there would be missing "
            "without a word: make it readable, or take it away."
        )
    for names in (walk.found.names, walk.found.links, *walk.found.passed.values()):
        names.sort()
    return walk.found


class _Walk:
    def __init__(self, root: Path) -> None:
        self.root, self.found = root, Listing()
        self.lost: list[tuple[str, str]] = []  # what may hold images and cannot be read, and why
        self.ways: Counter[tuple[int, int]] = Counter()  # how often each folder was looked into

    def look_into(self, folder: str, above: Chain) -> list[tuple[str, Chain]]:
        """Lists a folder; returns the folders in it that are to be looked into."""
        if folder.count("/") > MAX_DEPTH:
            raise too_deep(self.root, folder)
        try:
            entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
        except OSError as error:
            self.lost.append((folder, str(error.strerror)))
            return []
        inner = []
        for entry in entries:
            name = folder + entry.name
            try:
                if is_hidden(entry.name):
                    self.found.pass_by(HIDDEN, name)
                elif entry.is_file(follow_symlinks=False):
                    self.found.names.append(name)
                elif chain := self._take(entry, name, above):
                    inner.append((name + "/", chain))
            except OSError as error:
                if suffix(name) in {*SUFFIXES, ""}:
                    link = "a link that leads nowhere: " * entry.is_symlink()
                    self.lost.append((name, f"{link}{error.strerror}"))
                else:
                    self.found.pass_by(NOWHERE, name)
        return inner

    def _take(self, entry: os.DirEntry[str], name: str, above: Chain) -> Chain | None:
        """Notes what is no plain file; of a folder to be looked into, returns its chain."""
        about = os.stat(entry.path)
        inner, reason = None, SPECIAL
        if stat.S_ISDIR(about.st_mode):
            name, identity = name + "/", (about.st_dev, about.st_ino)
            self.ways[identity] += 1
            if about.st_dev in system_devices():
                reason = SYSTEM
            elif identity in above:
                reason = LOOPS
            elif self.ways[identity] > MAX_WAYS:
                reason = WAYS
            else:
                inner = above | {identity}
        if inner is None and not stat.S_ISREG(about.st_mode):
            self.found.pass_by(reason, name)
            return None
        self.found.names.append(name)
        if entry.is_symlink():
            self.found.links.append(name)
        return inner


def is_hidden(name: str) -> bool:
    """Whether a file's or folder's own name is one that is left out."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


@functools.cache
def system_devices() -> frozenset[int]:
    """The file systems of the running kernel, where a file may have no end."""
    there = [path for path in ("/proc", "/sys", "/dev") if os.path.isdir(path)]
    return frozenset({os.stat(path).st_dev for path in there} - {os.stat(os.sep).st_dev})


def suffix(name: str) -> str:
    """What a name ends with, from its last dot on, in small letters."""
    return os.path.splitext(name)[1].lower()


def shown(name: str) -> str:
    """A name for printing; quoted and escaped if it has invisible characters."""
    return name if name.isprintable() and name == name.strip() else repr(name)


def examples(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def by_suffix(names: Sequence[str]) -> str:
    """How many files there are of each suffix: ``12 .heic, 1 without suffix``."""
    counts = Counter(suffix(name) or "without suffix" for name in names)
    most = [f"{count:,} {shown(end)}" for end, count in counts.most_common(5)]
    return ", ".join(most) + ", ..." * (len(counts) > 5)


def kind(mode: int) -> str:
    """What a file is, in words."""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    kinds[stat.S_IFREG] = "a file of another kind"
    return kinds.get(stat.S_IFMT(mode), "a device")


def check_number(path: Path, files: int, folders: int) -> None:
    """Raises DataError where there is more than a data set has."""
    for number, most, what in ((files, MAX_FILES, "files"), (folders, MAX_FOLDERS, "folders")):
        if number > most:
            raise DataError(f"{path}: holds more than {most:,} {what}. Give a smaller folder.")


def too_deep(path: Path, folder: str) -> DataError:
    """The error for folders that lie in each other beyond MAX_DEPTH."""
    return DataError(
        f"{path}: folders lie in each other more than {MAX_DEPTH} deep, below "
        f"{folder.split('/')[0]!r}. Give a folder that holds the classes."
    )


def _identity(folder: Path) -> tuple[int, int]:
    about = folder.stat()
    return about.st_dev, about.st_ino
