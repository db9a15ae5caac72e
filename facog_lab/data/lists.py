"""Data sets that are two lists of images, one ``relative/path label`` a line, as ImageNet-LT's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from facog_lab.data.files import regular
from facog_lab.data.layout import ClassFiles, Layout
from facog_lab.data.listing import DataError, examples

ASTRAY = (
    0.2  # of the training images: where more have another label than their folder, it is no class
)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


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

    A class is named by the folder of most of its images, or by the lists' number where folders are
    not the classes.

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
            f"same is true of {len(untested):,} of {len(numbers):,} labels), so that class "
            "could not be tested. Add test images, or remove it from the other list."
        )
    folder_of = _usual(zip(train.labels, _folders(train), strict=True))
    class_names, notes = tuple(folder_of[number] for number in numbers), []
    label_of = _usual(zip(_folders(train), train.labels, strict=True))
    astray = _astray(train, label_of)
    if len(set(class_names)) < len(numbers) or len(astray) > ASTRAY * len(train.names):
        class_names = tuple(map(str, numbers))  # the folders are not the classes
    else:
        _check_alike(train_list, test_list, label_of, test)
        if astray := astray + _astray(test, label_of):
            what = "images have another label than most in their folder"
            notes.append(f"{len(astray):,} {what}: {examples(astray)}")
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


def _folders(half: Half) -> list[str]:
    return [PurePosixPath(name).parent.name for name in half.names]


def _usual(pairs: Iterable[tuple[K, V]]) -> dict[K, V]:
    """The value that each key has most often; among equals the one that comes first."""
    found: dict[K, V] = {}
    for (key, value), _ in Counter(pairs).most_common():
        found.setdefault(key, value)
    return found


def _astray(half: Half, label_of: dict[str, int]) -> list[str]:
    """Images with another label than their folder has."""
    rows = zip(half.names, _folders(half), half.labels, strict=True)
    return [name for name, folder, label in rows if label_of.get(folder, label) != label]


def _check_alike(train_list: Path, test_list: Path, label_of: dict[str, int], test: Half) -> None:
    """Raises DataError where most test images of a folder have another label than in training."""
    for folder, label in _usual(zip(_folders(test), test.labels, strict=True)).items():
        if label_of.get(folder, label) != label:
            raise DataError(
                f"{test_list}: images of the folder {folder!r} have label {label}, but in "
                f"{train_list.name} they have label {label_of[folder]}. Both lists must number "
                "the classes in the same way."
            )


def _by_class(half: Half, class_names: Sequence[str]) -> ClassFiles:
    classes: ClassFiles = {name: [] for name in class_names}
    for name, label in zip(*half, strict=True):
        classes[class_names[label]].append(name)
    return classes
