"""A check of a user's own data before anything is trained on them, reported in a small table.

What cannot be right is an error. What may be right is reported, with its consequence.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from facog_lab.data.contents import Report, hashes, stamps
from facog_lab.data.decode import GREY, ImageFiles, Source
from facog_lab.data.files import Files
from facog_lab.data.layout import NO_IMAGES, Layout
from facog_lab.data.listing import DataError, by_suffix, examples, shown

SCALED_UP = 4  # an image is small if it is scaled up by more
ELONGATED = 4  # and long if one side is so many times the other, or more

HALVES = "for training and for testing"
AGAIN = "more than once in a class"
ALARM = "⚠"

Pairs = dict[str, list[tuple[str, str]]]  # two files of the same content each, by where they are


@dataclass(frozen=True, repr=False)
class Audit:
    """What was found.

    Attributes:
        name: of the data set.
        layout: how the folder, the zip or the lists were understood.
        counts: images found of each class, for training and for testing.
        images: what their headers say, in words.
        copies: files that have a copy.
        alarms: what may spoil a result.
    """

    name: str
    layout: Layout
    counts: dict[str, tuple[int, int]]
    images: str
    copies: Pairs
    alarms: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, str]]:
        """The rows of the table: topic and text."""
        train, test = zip(*self.counts.values(), strict=True)
        yield "layout", shown(self.layout.words)
        yield "classes", f"{len(self.counts):,}: {examples(list(self.counts))}"
        yield "training", _sizes(train)
        yield "test", f"{_sizes(test)}; {shown(self.layout.test_from)}"
        yield "images", self.images
        if links := self.layout.links:
            yield "links", f"{len(links):,} followed: {examples(links)}"
        for reason, names in self.layout.unused.items():
            kinds = f" ({by_suffix(names)})" if reason == NO_IMAGES else ""
            yield "not used", f"{examples(names)}: {reason}{kinds}"
        for where, pairs in self.copies.items():
            told = (
                f"{len(pairs):,} image(s) {where}, for instance {' = '.join(map(shown, pairs[0]))}"
            )
            yield "copies" if where == AGAIN else ALARM, told
        for alarm in self.alarms:
            yield ALARM, alarm

    def __str__(self) -> str:
        lines = [f"  {about:<8}  {told}" for about, told in self.rows()]
        return "\n".join([f"{shown(self.name)}, looked through:", *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        left = "text-align:left;white-space:"
        rows = "".join(
            f'<tr><th scope="row" style="{left}nowrap">{html.escape(about)}</th>'
            f'<td style="{left}normal">{html.escape(told)}</td></tr>'
            for about, told in self.rows()
        )
        title = f"<caption>{html.escape(shown(self.name))}, looked through</caption>"
        return f"<table>{title}{rows}</table>"

    def as_dict(self) -> dict[str, Any]:
        """The same for machines, as JSON values; of long lists the first ten names."""

        def few(names: Sequence[str]) -> dict[str, Any]:
            return {"count": len(names), "first": [shown(name) for name in names[:10]]}

        return {
            "layout": shown(self.layout.words),
            "test_from": shown(self.layout.test_from),
            "classes": {name: list(pair) for name, pair in self.counts.items()},
            "images": self.images,
            "links": few(self.layout.links),
            "not_used": {reason: few(names) for reason, names in self.layout.unused.items()},
            "copies": {
                where: few([" = ".join(pair) for pair in pairs])
                for where, pairs in self.copies.items()
            },
            "alarms": list(self.alarms),
        }


def look(
    name: str, source: Source, kept: Tensor, published: bool, report: Report | None = None
) -> Audit | None:
    """Checks a data set; None if it has no files of the user's own.

    Args:
        name: of the data set.
        source: all of it.
        kept: (n,) int64, the training images that are used.
        published: whether copies stay as they were published.
        report: takes a line of progress now and then.

    Raises:
        DataError: if a file is listed but missing; or if a file that is used is in two classes, or
            both for training and for testing, and the set is not published.
    """
    images, test_images, layout = source.images, source.test_images, source.layout
    if layout is None or isinstance(images, Tensor) or isinstance(test_images, Tensor):
        return None
    alike = _alike(images.files, images.names + test_images.names, report)
    copies = _pairs(source, alike)
    if not published:
        used = {*kept.tolist(), *range(len(images), len(images) + len(test_images))}
        wrong = _pairs(source, [[row for row in rows if row in used] for rows in alike])
        if where := next((where for where in wrong if where != AGAIN), None):
            raise _spoilt(images.files, where, wrong[where], copies)
    counts = [
        labels.bincount(minlength=len(source.class_names)).tolist()
        for labels in (source.labels, source.test_labels)
    ]
    return Audit(
        name=name,
        layout=layout,
        counts=dict(zip(source.class_names, zip(*counts, strict=True), strict=True)),
        images=_headers(source, images),
        copies=copies,
        alarms=(*layout.notes, *_alarms(source, images, counts[1])),
    )


def _alike(files: Files, names: Sequence[str], report: Report | None) -> list[list[int]]:
    """The rows of files that hold the same, ascending; those alone have no group."""
    groups: list[list[int]] = list(_groups([stamp.size for stamp in stamps(files, names)]))
    rows = sorted(itertools.chain(*groups))  # a file whose size no other has is not read
    found = hashes(files, [names[row] for row in rows], report)
    return [[rows[i] for i in group] for group in _groups(found)]


def _groups(values: Sequence[Any]) -> Iterator[list[int]]:
    """The positions of each value that occurs more than once."""
    places: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        places.setdefault(value, []).append(place)
    return (found for found in places.values() if len(found) > 1)


def _pairs(source: Source, alike: Sequence[Sequence[int]]) -> Pairs:
    """Each file that has a copy before it, with the first of them."""
    names = [*source.images.names, *source.test_images.names]  # type: ignore[union-attr]
    labels = [*source.labels.tolist(), *source.test_labels.tolist()]
    pairs: Pairs = {}
    for row, first in sorted((row, rows[0]) for rows in alike for row in rows[1:]):
        if first < len(source.labels) <= row:
            where = HALVES
        elif labels[first] != labels[row]:
            one, other = (source.class_names[labels[r]] for r in (first, row))
            where = f"in the classes {one!r} and {other!r}"
        else:
            where = AGAIN
        pairs.setdefault(where, []).append((names[first], names[row]))
    return pairs


def _spoilt(files: Files, where: str, pairs: Sequence[tuple[str, str]], copies: Pairs) -> DataError:
    """The error for copies that would spoil a result; it names other copies, too."""
    one, other = map(shown, pairs[0])
    rest = [" = ".join(pair) for of in copies.values() for pair in of if pair != pairs[0]]
    more = f" There are {len(rest):,} more copies: {examples(rest, 9)}." if rest else ""
    return DataError(
        f"{files.path}: {len(pairs)} image(s) {where}, for instance {one} and {other}, which are "
        f"the same file. Delete one of each two.{more}"
    )


def _headers(source: Source, images: ImageFiles) -> str:
    """Sizes and kinds of images, in words."""
    used = f"used at {images.side}×{images.side}, {'grey' if images.channels == 1 else 'RGB'}"
    if source.headers is None:
        return used
    least, most = (of(source.headers.sizes, key=math.prod) for of in (min, max))
    sizes = f"{least[0]}×{least[1]}"
    if least != most:
        sizes += f" to {most[0]}×{most[1]}"
    kinds = [
        f"{count:,} {kind}"
        for kind, count in source.headers.kinds.items()
        if kind != GREY or images.channels == 3
    ]
    return ", ".join([f"{sizes} pixels", used, *kinds])


def _alarms(source: Source, images: ImageFiles, test_counts: Sequence[int]) -> Iterator[str]:
    single = [name for name, n in zip(source.class_names, test_counts, strict=True) if n == 1]
    if single:
        yield f"judged on one test image, so that recall is 0 or 1: {examples(single)}"
    if source.headers is None:
        return
    names = [*images.names, *source.test_images.names]  # type: ignore[union-attr]
    for what, odd in (
        (
            f"shown {SCALED_UP} times as large or more",
            lambda w, h: min(w, h) * SCALED_UP <= images.side,
        ),
        (f"cut to less than 1/{ELONGATED} of", lambda w, h: max(w, h) >= ELONGATED * min(w, h)),
    ):
        found = [
            f"{name} ({w}×{h})"
            for name, (w, h) in zip(names, source.headers.sizes, strict=True)
            if odd(w, h)
        ]
        if found:
            yield f"{len(found):,} images are {what}: {examples(found)}"


def _sizes(counts: Sequence[int]) -> str:
    most, least = f"{max(counts):,}", f"{min(counts):,}"
    return (
        f"{sum(counts):,} images, {most if most == least else f'{most} to {least}'} of each class"
    )
