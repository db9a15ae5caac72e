"""Images in files, decoded when they are wanted, and data sets made of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from facog_lab.config import digest
from facog_lab.files import DataError, Files, class_folders

MAX_PIXELS = 50_000_000  # of one image, and of all that are decoded at a time: some 400 MB
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # no format that runs programs
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}

DECODE_AT_MOST = 2**30  # bytes of decoded images in memory; more stay in their files
# The statistics of images that stay in their files: those of ImageNet.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# What PIL takes at a time: above 32 MiB, glibc gives it back to the system as soon as it is free.
Image.core.set_block_size(64 * 2**20)

CHUNK = 8  # images a thread decodes at a time: small ones cost less than handing them out
SECONDS_BETWEEN_REPORTS = 3.0

Report = Callable[[str], None]
A = TypeVar("A")
T = TypeVar("T")


class ImageFiles:
    """Images that stay in their files and are decoded, by threads, when they are indexed.

    An image is scaled so that its shorter side is `side` and its middle is cut out.

    Args:
        files: where they are.
        names: N of them.
        side: of the images, in pixels.
        channels: 1 (grey) or 3 (RGB; transparency is dropped, grey is repeated).
    """

    def __init__(self, files: Files, names: Sequence[str], side: int, channels: int) -> None:
        self.files, self.names, self.side, self.channels = files, list(names), side, channels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, channels, side, side)."""
        return len(self.names), self.channels, self.side, self.side

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Tensor | slice | int) -> Tensor:
        """Some images, by whatever indexes a tensor's rows: (B, channels, side, side) uint8.

        Raises:
            DataError: naming the file that is missing, damaged or too large.
        """
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index]
        return self._one(int(rows)) if rows.ndim == 0 else self.decode(rows.tolist())

    def take(self, index: Tensor) -> ImageFiles:
        """The images at `index` (B,) int64, as files still."""
        names = [self.names[row] for row in index.tolist()]
        return ImageFiles(self.files, names, self.side, self.channels)

    def decode(self, rows: Sequence[int], report: Report | None = None) -> Tensor:
        """Some images, with a line of progress now and then."""
        images = torch.empty((len(rows), *self.shape[1:]), dtype=torch.uint8)
        reported = time.monotonic()
        for i, image in enumerate(parallel(self._one, rows)):
            images[i] = image
            if report and time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
                report(f"{self.files.path.name}: {i + 1:,} of {len(rows):,} images decoded")
                reported = time.monotonic()
        return images

    def content(self) -> str:
        """A hash of what can be known without reading the files: names, sizes, shape.

        Raises:
            DataError: naming a file that is missing.
        """
        return digest(self.names, list(parallel(self._size, self.names)), self.shape)

    def hash_of(self, name: str) -> str:
        """A hash of what a file holds.

        Raises:
            DataError: naming it, if it cannot be read.
        """
        try:
            with self.files.open(name) as file:
                return hashlib.blake2b(file.read(), digest_size=16).hexdigest()
        except OSError as error:
            raise DataError(f"{self.files.path / name}: cannot be read ({error}).") from error

    def _size(self, name: str) -> int:
        try:
            return self.files.size(name)
        except OSError as error:
            raise DataError(
                f"{self.files.path / name}: listed, but missing ({error.strerror}). Add the file, "
                "or give the folder that holds all of them."
            ) from error

    def _one(self, row: int) -> Tensor:
        with opened(self.files, self.names[row]) as image:
            return pixels(image, self.side, self.channels)


Images = Tensor | ImageFiles


@dataclass(frozen=True)
class Source:
    """A data set before any of it is left out."""

    class_names: tuple[str, ...]
    images: Images  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    test_images: Images  # (M, C, H, W) uint8
    test_labels: Tensor  # (M,) int64


def class_source(files: Files, side: int | None = None, channels: int | None = None) -> Source:
    """Any folder or zip of class folders.

    Args:
        files: see `files.class_folders`, also for what it raises.
        side: of the images in pixels; None: their own if all are square and of one size from 8 to
            512, else 64.
        channels: None: 1 if all images are grey, else 3.
    """
    train, test = class_folders(files)
    halves = [[name for names in half.values() for name in names] for half in (train, test)]
    if side is None or channels is None:
        found, sizes = survey(files, halves[0] + halves[1])
        channels = channels or found
        sides = {length for size in sizes for length in size}
        own = sides.pop() if len(sides) == 1 else 0
        side = side or (own if 8 <= own <= 512 else 64)
    images, test_images = (ImageFiles(files, names, side, channels) for names in halves)
    labels, test_labels = (
        torch.arange(len(half)).repeat_interleave(torch.tensor([len(n) for n in half.values()]))
        for half in (train, test)
    )
    return Source(tuple(train), images, labels, test_images, test_labels)


def chosen(source: Source, index: Tensor, report: Report) -> tuple[Images, Images]:
    """The training images at `index` and all test images, decoded if they fit in memory."""
    if isinstance(source.images, Tensor) or isinstance(source.test_images, Tensor):
        return source.images[index], source.test_images
    images, test_images = source.images.take(index), source.test_images
    if math.prod(images.shape) + math.prod(test_images.shape) > DECODE_AT_MOST:
        return images, test_images
    return images.decode(range(len(images)), report), test_images.decode(
        range(len(test_images)), report
    )


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on the scale from 0 to 1, exact.

    Of images in files: ImageNet's. The deviation is at least one grey level, so that constant
    images can be divided by it.
    """
    if isinstance(images, ImageFiles):
        if images.channels == 3:
            return IMAGENET_MEAN, IMAGENET_STD
        return (sum(IMAGENET_MEAN) / 3,), (sum(IMAGENET_STD) / 3,)
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        share = channel.flatten().bincount(minlength=256).double() / channel.numel()  # by level
        mean = (share * levels).sum().item()
        means.append(mean)
        stds.append(max(1 / 255, math.sqrt((share * (levels - mean) ** 2).sum().item())))
    return tuple(means), tuple(stds)


def survey(files: Files, names: Sequence[str]) -> tuple[int, set[tuple[int, int]]]:
    """What the headers of images say.

    Returns:
        1 if all are grey, else 3; and the (width, height) that occur.
    """

    def header(name: str) -> tuple[bool, tuple[int, int]]:
        with opened(files, name) as image:
            return image.mode in GREY_MODES, image.size

    greys, sizes = zip(*parallel(header, names), strict=True)
    return 1 if all(greys) else 3, set(sizes)


@contextlib.contextmanager
def opened(files: Files, name: str) -> Iterator[Image.Image]:
    """An image whose header is read, its pixels not yet.

    Raises:
        DataError: naming the file, for whatever goes wrong while it is opened or used.
    """
    try:
        with files.open(name) as stream, Image.open(stream, formats=FORMATS) as image:
            number = image.width * image.height
            if number > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels, above {MAX_PIXELS:,}")
            with _room.taken(number), contextlib.closing(image):  # which frees its pixels
                yield image
    except Exception as error:  # PIL's decoders raise whatever a broken file makes them fall over
        raise DataError(
            f"{files.path / name}: cannot be decoded ({error}). Replace the file or delete it; "
            f"known formats: {', '.join(FORMATS)}."
        ) from error


def pixels(image: Image.Image, side: int, channels: int) -> Tensor:
    """(channels, side, side) uint8: upright, 16 bits reduced to the upper 8, scaled and cropped.

    Raises:
        ValueError: for 32-bit pixels, whose range a file does not tell.
    """
    # "I" is how older versions of PIL open a 16-bit PNG.
    sixteen = image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG")
    ImageOps.exif_transpose(image, in_place=True)  # a copy would take as much again
    if sixteen:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits have no known range: save it with 8 or 16")
    elif "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != (mode := "L" if channels == 1 else "RGB"):
        image = image.convert(mode)
    if image.size != (side, side):
        image = ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image).reshape(side, side, channels)).permute(2, 0, 1)


class _Room:
    """Lets threads decode images as long as all of them together have MAX_PIXELS at most."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pixels = 0

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._pixels + pixels <= MAX_PIXELS)
            self._pixels += pixels
        try:
            yield
        finally:
            with self._changed:
                self._pixels -= pixels
                self._changed.notify_all()


_room = _Room()


def check_copies(
    images: ImageFiles, labels: Tensor, test_images: ImageFiles, class_names: Sequence[str]
) -> None:
    """Looks for files of the same content where they would spoil a result.

    Args:
        images: (N,) for training.
        labels: (N,) int64.
        test_images: (M,) for testing.
        class_names: by label.

    Raises:
        DataError: if a file is in two classes, or both in training and test; naming two files.
    """
    files, names = images.files, images.names + test_images.names
    sizes: dict[int, list[int]] = {}
    for row, size in enumerate(parallel(images._size, names)):
        sizes.setdefault(size, []).append(row)
    alike = sorted(row for rows in sizes.values() if len(rows) > 1 for row in rows)

    def content(row: int) -> bytes:
        with files.open(names[row]) as file:
            return hashlib.blake2b(file.read(), digest_size=16).digest()

    first: dict[bytes, int] = {}
    twice: dict[str, list[tuple[int, int]]] = {}
    for row, found in zip(alike, parallel(content, alike), strict=True):
        before = first.setdefault(found, row)
        if row >= len(images) > before:
            twice.setdefault("for training and for testing", []).append((before, row))
        elif row < len(images) and labels[row] != labels[before]:
            classes = " and ".join(repr(class_names[int(labels[r])]) for r in (before, row))
            twice.setdefault(f"in the classes {classes}", []).append((before, row))
    for where, pairs in twice.items():
        one, other = (names[row] for row in pairs[0])
        raise DataError(
            f"{files.path}: {len(pairs)} image(s) {where}, for instance {one} and {other}, which "
            "are the same file. Delete one of each two."
        )


def parallel(function: Callable[[A], T], items: Sequence[A]) -> Iterator[T]:
    """The function of every item, in order, computed by threads."""
    chunks = [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]
    for results in _pool().map(lambda chunk: [function(item) for item in chunk], chunks):
        yield from results


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1), "facog-images")
