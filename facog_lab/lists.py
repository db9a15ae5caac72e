"""Data sets that are two lists of images, one ``relative/path label`` a line, as ImageNet-LT's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from facog_lab.files import regular
from facog_lab.layout import ClassFiles, Layout
from facog_lab.listing import DataError, examples


class Half(NamedTuple):
    """One list: names of images, and their labels."""

    names: list[str]
    labels: list[int]


class Pair(NamedTuple):
    """Two lists that belong together.

    Attributes:
        class_names: by label.
        train: the training images; labels are 0 to C - 1, in the order of the lists' numbers.
        test: the test images, likewise.
        layout: how the lists were understood.
    """

    class_names: tuple[str, ...]
    train: Half
    test: Half
    layout: Layout


def read_list(path: Path) -> Half:
    """Names and labels from a list of images, one ``relative/path label`` a line.

    Raises:
        DataError: for a missing or empty list, or a line of another form, with its number.
    """
    try:
        empty = path.is_file() and not path.stat().st_size  # and not to be read, see `regular`
        text = "" if empty else _text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of images ({error}).") from error
    if not (lines := text.splitlines()):
        raise DataError(f"{path}: an empty list. Download it again.")
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
    return Half(names, labels)


def _text(path: Path) -> str:
    regular(path)
    return path.read_text(encoding="utf-8-sig")  # Windows puts a mark before the first line


def read_pair(train_list: Path, test_list: Path) -> Pair:
    """Two lists as a data set.

    A class is named by its folder, or by the lists' number where folders are not the classes.

    Raises:
        DataError: for a list that cannot be read, classes that only one of the lists has, and
            folders that the two number differently.
    """
    train, test = read_list(train_list), read_list(test_list)
    numbers = sorted(set(train.labels))
    if foreign := set(test.labels) - set(numbers):
        raise DataError(
            f"{test_list}: label {max(foreign)}, but {train_list.name} has no image of that label. "
            "The two lists must belong together."
        )
    if untested := set(numbers) - set(test.labels):
        raise DataError(
            f"{test_list}: no image of label {min(untested)}, which {train_list.name} has (the "
            f"same is true of {len(untested):,} of {len(numbers):,} labels), so that nothing "
            "could be said of that class. Add test images, or take it out of the other list."
        )
    folders = [PurePosixPath(name).parent.name for name in train.names]
    by_label = dict(zip(train.labels, folders, strict=True))
    class_names = tuple(by_label[number] for number in numbers)
    notes = []
    if len(set(class_names)) < len(numbers):  # the folders are not the classes
        class_names = tuple(map(str, numbers))
    else:
        notes += _astray(train, folders)
        _check_alike(train_list, test_list, {f: n for n, f in by_label.items()}, test)
    place = {number: label for label, number in enumerate(numbers)}
    if numbers != list(place.values()):
        notes.append(
            f"labels {examples([str(n) for n in numbers])} are counted as 0 to {len(numbers) - 1}"
        )
    train, test = (Half(half.names, [place[n] for n in half.labels]) for half in (train, test))
    layout = Layout(
        words=f"lists {train_list.name} and {test_list.name}",
        test_from=f"from {test_list.name}",
        train=_by_class(train, class_names),
        test=_by_class(test, class_names),
        notes=notes,
    )
    return Pair(class_names, train, test, layout)


def _astray(half: Half, folders: Sequence[str]) -> list[str]:
    """What to say of images in a folder most of whose images have another label."""
    counts = Counter(zip(folders, half.labels, strict=True))
    usual = {folder: label for (folder, label), _ in reversed(counts.most_common())}
    astray = [
        name
        for name, folder, label in zip(half.names, folders, half.labels, strict=True)
        if usual[folder] != label
    ]
    text = f"{len(astray):,} images have another label than most in their folder: "
    return [text + examples(astray)] if astray else []


def _check_alike(train_list: Path, test_list: Path, numbers: dict[str, int], test: Half) -> None:
    for name, label in zip(test.names, test.labels, strict=True):
        folder = PurePosixPath(name).parent.name
        if numbers.get(folder, label) != label:
            raise DataError(
                f"{test_list}: {name!r} has label {label}, but in {train_list.name} images of the "
                f"folder {folder!r} have label {numbers[folder]}. The two lists must number the "
                "classes alike."
            )


def _by_class(half: Half, class_names: Sequence[str]) -> ClassFiles:
    classes: ClassFiles = {name: [] for name in class_names}
    for name, label in zip(*half, strict=True):
        classes[class_names[label]].append(name)
    return classes
