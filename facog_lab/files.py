"""The files of a data set: in a folder or a zip, told apart by class folders or by a list.

Nothing is ever extracted to disk. What a stranger's zip may cost is bounded before it is read.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import torch

from facog_lab import draws
from facog_lab.config import LabError

MAX_FILES = 3_000_000  # in a folder; ImageNet has 1.4 million
MAX_DIRECTORY_BYTES = 24 * 2**20  # of a zip's table of contents: some 300,000 files, 200 MB here
MAX_FILE_BYTES = 64 * 2**20  # of one image in a zip
MAX_COMPRESSION = 200  # times smaller, for a zip's members above 1 MiB: photographs reach 2

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
TEST_FOLDERS = ("test", "val")  # beside train/, the first that is there
HELD_OUT = 0.2  # of each class, where there is none

ClassFiles = dict[str, list[str]]  # the files of each class, both in sorted order


class DataError(LabError, RuntimeError):
    """A data set is missing, damaged, or does not suit what is asked of it."""


class Files(Protocol):
    """Files by relative name with forward slashes, whatever they lie in."""

    path: Path

    def names(self) -> list[str]:
        """All files, and all folders with a slash at the end, sorted; hidden ones left out."""

    def size(self, name: str) -> int:
        """Bytes of a file."""

    def open(self, name: str) -> BinaryIO:
        """A file, to be read from its start."""


def open_files(path: Path) -> Files:
    """The files in a folder or a zip.

    Raises:
        DataError: if it is neither, or a zip that is damaged or not safe to read.
    """
    if path.is_dir():
        return Folder(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        return Zip(path)
    raise DataError(f"{path}: no such folder or .zip file. Give the path of one that exists.")


class Folder:
    """The files below a folder; links are followed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """See Files."""
        found: list[str] = []
        for folder, folders, files in os.walk(self.path, followlinks=True):
            base = Path(folder).relative_to(self.path)
            found += [(base / name).as_posix() + "/" for name in folders]
            found += [(base / name).as_posix() for name in files]
            folders[:] = [name for name in folders if not _hidden(name)]
            _check_number(self.path, len(found))
        return sorted(name for name in found if not _hidden(name))

    def size(self, name: str) -> int:
        """See Files."""
        return (self.path / name).stat().st_size

    def open(self, name: str) -> BinaryIO:
        """See Files."""
        return (self.path / name).open("rb")


class Zip:
    """The members of a zip, read in memory, within the limits at the top of this file.

    Raises:
        DataError: for a damaged zip, too many members, or a member whose name is absolute or
            leads out of the folder, or that is too large, or compressed more than images are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _check_directory(path)
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path}: not a whole zip ({error}). Download or make it again.") from (
                error
            )
        members = self._zip.infolist()
        for member in members:
            if reason := _unsafe(member):
                raise DataError(
                    f"{path}: member {member.filename!r} {reason}; nothing was read. Unpack the "
                    "zip yourself if you trust it, and give the folder."
                )
        self._members = {member.filename: member for member in members}

    def names(self) -> list[str]:
        """See Files."""
        folders = {name.rpartition("/")[0] for name in self._members} - {""}
        for folder in list(folders):  # a zip need not list its folders
            folders.update(str(parent) for parent in PurePosixPath(folder).parents[:-1])
        found = self._members.keys() | {f"{folder}/" for folder in folders}
        return sorted(name for name in found if not _hidden(name))

    def size(self, name: str) -> int:
        """See Files."""
        return self._members[name].file_size

    def open(self, name: str) -> BinaryIO:
        """See Files."""
        member = self._members[name]
        with self._zip.open(member) as stream:
            # With a length, no more than it is unpacked, whatever the zip says of itself.
            return io.BytesIO(stream.read(member.file_size))


def _unsafe(member: zipfile.ZipInfo) -> str | None:
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "is not inside the zip's own folder"
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


def _check_number(path: Path, number: int) -> None:
    if number > MAX_FILES:
        raise DataError(f"{path}: holds more than {MAX_FILES:,} files. Give a smaller folder.")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def class_folders(files: Files) -> tuple[ClassFiles, ClassFiles]:
    """The images of each class, for training and for testing, by the names of folders.

    Known layouts are ``train/<class>/*`` with ``test/<class>/*`` (or ``val/``), and ``<class>/*``
    alone; either may lie in a folder of its own, as in most zips. Images may lie deeper in their
    class's folder. Images beside the class folders are ignored. Without a folder for testing, a
    fifth of each class, at least one image, is held out: always the same.

    Returns:
        The training images and the test images; classes and files in sorted order.

    Raises:
        DataError: for fewer than two classes, a class without images, one of a single image that
            would have to be held out, or other classes in test than in train.
    """
    paths = [name.split("/") for name in files.names()]
    paths = [p for p in paths if not p[-1] or PurePosixPath(p[-1]).suffix.lower() in SUFFIXES]
    depth = 0  # of the folder that holds train/, or the classes
    while len({p[depth] for p in paths if p[depth:] not in ([], [""])}) == 1 and all(
        len(p) >= depth + 3 for p in paths if p[-1]
    ):
        depth += 1
    paths = [p for p in paths if len(p) > depth + 1]
    tops = {p[depth] for p in paths}
    if "train" not in tops:
        return _hold_out(files, _classes(files, paths, depth))
    train = _classes(files, [p for p in paths if p[depth] == "train"], depth + 1)
    folder = next((name for name in TEST_FOLDERS if name in tops), None)
    if folder is None:
        return _hold_out(files, train)
    test = _classes(files, [p for p in paths if p[depth] == folder], depth + 1)
    if train.keys() != test.keys():
        name = min(train.keys() ^ test.keys())
        there, missing = ("train", folder) if name in train else (folder, "train")
        raise DataError(
            f"{files.path}: class {name!r} has images in {there}/ but no folder in {missing}/. "
            f"Add {missing}/{name}/ with images, or take {there}/{name}/ away."
        )
    return train, test


def _classes(files: Files, paths: list[list[str]], depth: int) -> ClassFiles:
    classes: ClassFiles = {name: [] for name in sorted({p[depth] for p in paths if p[depth + 1 :]})}
    for p in paths:
        if p[-1] and p[depth] in classes:
            classes[p[depth]].append("/".join(p))
    where = "/".join([str(files.path), *(paths[0][:depth] if paths else [])])
    for name, images in classes.items():
        if not images:
            raise DataError(
                f"{where}/{name}: a class without images. Add some ({', '.join(sorted(SUFFIXES))}),"
                " or take the folder away."
            )
    if len(classes) < 2:
        raise DataError(
            f"{where}: too few classes ({len(classes)}). A data set needs two or more, with images "
            "as train/<class>/* and test/<class>/*, or as <class>/*."
        )
    return classes


def _hold_out(files: Files, classes: ClassFiles) -> tuple[ClassFiles, ClassFiles]:
    train, test = {}, {}
    for name, images in classes.items():
        if len(images) < 2:
            raise DataError(
                f"{files.path}: class {name!r} has one image, and there is no test folder, so none "
                "would be left to test with. Add images, or make train/ and test/ folders."
            )
        order = torch.randperm(len(images), generator=draws.generator("cpu", "held out", name))
        held_out = set(order[: max(1, round(HELD_OUT * len(images)))].tolist())
        train[name] = [image for i, image in enumerate(images) if i not in held_out]
        test[name] = [image for i, image in enumerate(images) if i in held_out]
    return train, test


def read_list(path: Path) -> tuple[list[str], list[int]]:
    """Names and labels from a list of images, one ``relative/path label`` a line.

    Raises:
        DataError: for a missing or empty list, or a line of another form, with its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of images ({error}).") from error
    names, labels = [], []
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition(" ")
        outside = name.startswith("/") or ".." in name.split("/")
        if not name or outside or not (label.isascii() and label.isdigit()) or len(label) > 9:
            raise DataError(
                f"{path}, line {number}: {line[:200]!r} is not `relative/path label`, with a label "
                "from 0 up. Mend or remove the line."
            )
        names.append(name)
        labels.append(int(label))
    if not names:
        raise DataError(f"{path}: an empty list. Download it again.")
    return names, labels
