"""Which images are of which class, and which are for testing, by the names of folders.

What the names do not tell is refused with the choices there are, and never guessed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from facog_lab.data.files import Files, Zip
from facog_lab.data.folders import (
    ROLES,
    Branch,
    disguised,
    innermost,
    role_of,
    roles_in,
    tree,
    unwrapped,
)
from facog_lab.data.listing import SUFFIXES, DataError, by_suffix, examples, shown
from facog_lab.rng import rng_for

HELD_OUT = 0.2  # of each class, where there is no folder of test images

NO_IMAGES = "of no format that is read; save pictures as JPEG or PNG"
LOOSE = "beside the class folders, so that nothing says what is shown"
UNLABELLED = "no folders of classes in it, so that nothing says what is shown"
SPARE = "another folder has the test images"
ELSEWHERE = "not named as a folder for training or testing"

ClassFiles = dict[str, list[str]]  # the files of each class, both in sorted order


@dataclass
class Layout:
    """How a folder, a zip or a pair of lists was understood.

    Attributes:
        words: in words.
        test_from: where the test images come from, and why.
        train: the training images of each class.
        test: the test images of each class.
        unused: what is not used, by reason.
        links: the files and folders among them that are links.
        notes: what the user should check.
    """

    words: str
    test_from: str
    train: ClassFiles
    test: ClassFiles
    unused: dict[str, list[str]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recognised(files: Files) -> Layout:
    """The images of each class, for training and for testing.

    Known layouts are ``train/<class>/*`` with ``test/<class>/*`` or ``val/<class>/*``, in the usual
    spellings, and ``<class>/*`` alone; any may lie in a folder of its own, as in most zips. Images
    may lie deeper in their class's folder. Without labelled test images, a fifth of each class, at
    least one image, is held out: always the same.

    Raises:
        DataError: for more than one way to understand it, with the choices; fewer than two
            classes; a class without images, or of a single image that would have to be held out;
            other classes in test than in train.
    """
    listing = files.listing()
    outermost = tree(listing)
    base = unwrapped(outermost, files.path.stem if isinstance(files, Zip) else files.path.name)
    halves: dict[str, list[Branch]] = {role: [] for role in ROLES}
    rest = []
    for name, folder in base.folders.items():
        halves[role].append(folder) if (role := role_of(name)) else rest.append(folder)
    if any(halves.values()):
        _check_halves(files, halves, [folder for folder in rest if folder.deep()])
        found = _split(files, halves)
        for folder in rest:
            _add(found.unused, ELSEWHERE, [_counted(folder)])
    else:
        _check_no_halves(files, base)
        classes = _classes(files, base)
        why = "a fifth of each class, held out, as there is no test folder"
        found = Layout(f"{base.path}<class>/*", why, *_hold_out(files, classes))
    _add(found.unused, LOOSE, _above(outermost, base))
    _add(found.unused, NO_IMAGES, [name for f in outermost.inner() for name in f.others])
    for reason, names in listing.passed.items():
        _add(found.unused, reason, names)
    found.links, found.notes = listing.links, listing.notes + _odd_classes(found.train)
    return found


def _check_halves(files: Files, halves: Mapping[str, list[Branch]], rest: list[Branch]) -> None:
    """Raises DataError where folders with the names of halves can be understood in several ways."""
    named = [folder for half in halves.values() for folder in half]
    for half in (halves["train"], halves["test"], halves["val"] * (not halves["test"])):
        if len(half) > 1:
            raise DataError(
                f"{files.path}: {_paths(half)} could each be the one that is meant. Rename, merge "
                "or take away all but one."
            )
    whole = bool(halves["train"]) and halves["train"][0].is_sorted()
    tested = any(folder.is_sorted() for folder in halves["test"] + halves["val"])
    if rest and not (whole and tested):
        raise DataError(
            f"{files.path}: ambiguous, {_paths(named)} beside {_paths(rest)}. If {_paths(named)} "
            "holds class folders for training or testing, take the others away. If all of them are "
            "classes, put them into a folder named train (as train/train/*, train/bus/*), from "
            "which test images are held out, or give those classes other names."
        )
    if not halves["train"]:
        raise DataError(
            f"{files.path}: only {_paths(named)}, and no folder of training images. Add "
            f"train/<class>/*, or give {files.path}/{named[0].path} itself as the data set, "
            "unpacked: then a fifth of each of its classes is held out for testing."
        )
    if len(halves["test"]) == 1 and not halves["test"][0].deep():
        raise DataError(
            f"{files.path}/{halves['test'][0].path}: a test folder without images. Add test images "
            "in class folders, or take the folder away: then others are used, or held out."
        )


def _check_no_halves(files: Files, base: Branch) -> None:
    """Raises DataError where classes look like halves of a data set after all."""
    if names := disguised(base):
        raise DataError(
            f"{files.path}: ambiguous, {' and '.join(map(repr, names))} could be halves of a data "
            "set, or classes. Name the halves train and test, or give the classes other names."
        )
    for folder in base.folders.values():
        if roles_in(folder) > {"train"}:
            halves = [half for name, half in folder.folders.items() if role_of(name)]
            raise DataError(
                f"{files.path}/{folder.path}: {_paths(halves)} lie in what would be a class. If it "
                "is a data set, give it itself, unpacked. If it is a class, sort the images: the "
                "lab reads train/<class>/* and test/<class>/*."
            )


def _split(files: Files, halves: Mapping[str, list[Branch]]) -> Layout:
    """Training and test images of folders whose names tell which is which."""
    source = innermost(halves["train"][0])
    train = _classes(files, source)
    unused: dict[str, list[str]] = {}
    _add(unused, LOOSE, _above(halves["train"][0], source))
    chosen = None
    for half in halves["test"] + halves["val"]:
        inner = innermost(half)
        if chosen:
            _add(unused, SPARE, [_counted(half)])
        elif not inner.is_sorted() or (
            len(inner.folders) == 1 and not inner.folders.keys() & train
        ):
            _add(unused, UNLABELLED, [_counted(half)])  # or all in test/images/
        else:
            chosen = inner
            _add(unused, LOOSE, _above(half, inner))
    words = f"{source.path}<class>/*"
    if chosen is None:
        why = "no test folder has class folders" if unused else "there is no test folder"
        where = f"a fifth of each class of {source.path}, held out, as {why}"
        return Layout(words, where, *_hold_out(files, train), unused)
    test = _classes(files, chosen)
    if train.keys() != test.keys():
        raise _other_classes(files, train, test, source.path, chosen.path)
    where = f"from {chosen.path}" + ", as there is no other test folder" * (not halves["test"])
    return Layout(f"{words} and {chosen.path}<class>/*", where, train, test, unused)


def _other_classes(
    files: Files, train: ClassFiles, test: ClassFiles, train_path: str, test_path: str
) -> DataError:
    names = sorted(train.keys() ^ test.keys())
    name = names[0]
    there, missing = (train_path, test_path) if name in train else (test_path, train_path)
    twins = [other for other in names[1:] if _plain(other) == _plain(name)]
    hint = (
        f" There is {twins[0]!r}, whose name differs in case, spaces or Unicode form: they must be "
        "the same."
        if twins
        else f" The same is true of {len(names):,} classes: {examples(names)}." * (len(names) > 1)
    )
    return DataError(
        f"{files.path}: class {name!r} has images in {there} but no folder in {missing}. "
        f"Add {missing}{name}/ with images, or take {there}{name}/ away.{hint}"
    )


def _classes(files: Files, folder: Branch) -> ClassFiles:
    """The images of each folder in a folder.

    Raises:
        DataError: for fewer than two, one without images, or one whose name is no text.
    """
    where = f"{files.path}/{folder.path}".rstrip("/")
    classes = {name: folder.folders[name].deep() for name in sorted(folder.folders)}
    for name, images in classes.items():
        if any(0xD800 <= ord(letter) < 0xE000 for letter in name):  # bytes that are no UTF-8
            raise DataError(f"{where}: the folder {shown(name)} is not named in UTF-8. Rename it.")
        if not images:
            others = [other for f in folder.folders[name].inner() for other in f.others]
            raise DataError(
                f"{where}/{name}: a class without images{_but(others)}. Add some "
                f"({', '.join(sorted(SUFFIXES))}), or take the folder away."
            )
    if len(classes) < 2:
        only = f": {examples(list(classes))}" * bool(classes)
        beside = f" and {len(folder.images):,} images in no folder" * bool(folder.images)
        raise DataError(
            f"{where}: too few classes ({len(classes)}{only}){beside}{_but(folder.others)}. A data "
            "set needs two or more, with images as train/<class>/* and test/<class>/*, or as "
            "<class>/*."
        )
    return classes


def _but(others: list[str]) -> str:
    return f", but files that are not read: {by_suffix(others)}" if others else ""


def _odd_classes(classes: ClassFiles) -> list[str]:
    """What the user should check in the names and folders of classes."""
    plain: dict[str, list[str]] = {}
    for name in classes:
        plain.setdefault(_plain(name), []).append(name)
    notes = [
        f"classes whose names differ in case, spaces or Unicode form alone: {examples(names, 9)}"
        for names in plain.values()
        if len(names) > 1
    ]
    deeper = [
        name for name, images in classes.items() if len({i.rpartition("/")[0] for i in images}) > 1
    ]
    if deeper:
        notes.append(f"images of several folders are one class: {examples(deeper)}")
    return notes


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _hold_out(files: Files, classes: ClassFiles) -> tuple[ClassFiles, ClassFiles]:
    train, test = {}, {}
    single = [name for name, images in classes.items() if len(images) < 2]
    if single:
        more = f" The same is true of {len(single):,} classes: {examples(single)}." * (
            len(single) > 1
        )
        raise DataError(
            f"{files.path}: class {single[0]!r} has one image, and there is no test folder, so "
            f"none would be left to test with.{more} Add images, or make train/ and test/ folders."
        )
    for name, images in classes.items():
        order = torch.randperm(len(images), generator=rng_for("cpu", "held out", name))
        held_out = set(order[: max(1, round(HELD_OUT * len(images)))].tolist())
        train[name] = [image for i, image in enumerate(images) if i not in held_out]
        test[name] = [image for i, image in enumerate(images) if i in held_out]
    return train, test


def _above(outer: Branch, holder: Branch) -> list[str]:
    """Images that lie between a folder and, in it, the one that holds the classes."""
    return [
        image
        for folder in outer.inner()
        if holder.path.startswith(folder.path)
        for image in folder.images
    ]


def _add(unused: dict[str, list[str]], reason: str, names: Iterable[str]) -> None:
    if names := list(names):
        unused[reason] = unused.get(reason, []) + names


def _counted(folder: Branch) -> str:
    return f"{folder.path} ({len(folder.deep()):,} images)"


def _paths(folders: Iterable[Branch]) -> str:
    return " and ".join(folder.path for folder in folders)
