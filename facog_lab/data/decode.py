"""Images in files, decoded when they are wanted, and data sets made of them."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from facog_lab.config import digest
from facog_lab.data.contents import Report, hashes, parallel, told
from facog_lab.data.files import Files
from facog_lab.data.layout import Layout, recognised
from facog_lab.data.listing import DataError, examples

MAX_PIXELS = 50_000_000  # of one image, and of all that are decoded at a time: some 400 MB
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # no format that runs programs
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}

GREY = "grey"

DECODE_AT_MOST = 2**30  # bytes of decoded images in memory; more stay in their files
# The statistics of images that stay in their files: those of ImageNet.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# What PIL takes at a time: above 32 MiB, glibc gives it back to the system as soon as it is free.
Image.core.set_block_size(64 * 2**20)


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
        name, end = self.files.path.name, f"of {len(rows):,} images decoded"
        decoded = told(parallel(self._one, rows), lambda done: f"{name}: {done:,} {end}", report)
        for i, image in enumerate(decoded):
            images[i] = image
        return images

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """ImageNet's mean and standard deviation of each channel: nothing is decoded for it."""
        if self.channels == 3:
            return IMAGENET_MEAN, IMAGENET_STD
        return (sum(IMAGENET_MEAN) / 3,), (sum(IMAGENET_STD) / 3,)

    def content(self, report: Report | None = None) -> str:
        """A hash of names, of what the files hold, and of the shape; see `contents.hashes`."""
        return digest(self.names, hashes(self.files, self.names, report), self.shape)

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
    layout: Layout | None = None  # of files; None for published data sets
    headers: Headers | None = None  # of files whose headers were read


def class_source(
    files: Files,
    side: int | None = None,
    channels: int | None = None,
    report: Report | None = None,
) -> Source:
    """Any folder or zip of class folders.

    Args:
        files: see `layout.recognised`, also for what it raises.
        side: of the images in pixels; None: their own if all are square and of one size from 8 to
            512, else 64.
        channels: None: 1 if all images are grey, else 3.
        report: takes a line of progress now and then.
    """
    layout = recognised(files)
    train, test, headers = layout.train, layout.test, None
    halves = [[name for names in half.values() for name in names] for half in (train, test)]
    if side is None or channels is None:
        headers = survey(files, halves[0] + halves[1], report)
        channels = channels or headers.channels
        sides = {length for size in headers.sizes for length in size}
        own = sides.pop() if len(sides) == 1 else 0
        side = side or (own if 8 <= own <= 512 else 64)
    images, test_images = (ImageFiles(files, names, side, channels) for names in halves)
    labels, test_labels = (
        torch.arange(len(half)).repeat_interleave(torch.tensor([len(n) for n in half.values()]))
        for half in (train, test)
    )
    return Source(tuple(train), images, labels, test_images, test_labels, layout, headers)


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


class Headers(NamedTuple):
    """What the headers of images say.

    Attributes:
        sizes: (width, height) of each.
        kinds: how many are grey, and how many have another unusual format.
    """

    sizes: list[tuple[int, int]]
    kinds: Counter[str]

    @property
    def channels(self) -> int:
        """1 if all are grey, else 3."""
        return 1 if self.kinds[GREY] == len(self.sizes) else 3


def survey(files: Files, names: Sequence[str], report: Report | None = None) -> Headers:
    """Reads the headers of images, with a line of progress now and then.

    Raises:
        DataError: if some have none, naming the first, and their number.
    """

    def header(name: str) -> tuple[tuple[int, int], list[str]] | str:
        try:
            with opened(files, name) as image:
                return image.size, list(_kinds(image))
        except DataError as error:
            return str(error)  # the error itself would keep all that led to it in memory

    found, broken, first = [], [], ""
    end = f"of {len(names):,} images looked at"
    headers = told(parallel(header, names), lambda n: f"{files.path.name}: {n:,} {end}", report)
    for name, read in zip(names, headers, strict=True):
        if isinstance(read, str):
            first = first or read
            broken.append(name)
        else:
            found.append(read)
    if others := broken[1:]:
        first += f" {len(others):,} more cannot be decoded either: {examples(others)}."
    if broken:
        raise DataError(first)
    return Headers([size for size, _ in found], Counter(kind for _, k in found for kind in k))


def _kinds(image: Image.Image) -> Iterator[str]:
    if image.mode in GREY_MODES:
        yield GREY
    if image.mode.startswith("I"):
        yield "of 16 bits (the upper 8 are used)"
    if "A" in image.getbands() or "transparency" in image.info:
        yield "with transparency (which is dropped)"
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        yield f"{image.mode} (turned into RGB)"
    if image.format in ("GIF", "PNG", "WEBP", "TIFF"):  # a photograph's second one is its preview
        with contextlib.suppress(Exception):  # what comes after the first is not needed
            if getattr(image, "is_animated", False):
                yield "of several pictures (the first is used)"


@contextlib.contextmanager
def opened(files: Files, name: str) -> Iterator[Image.Image]:
    """An image whose header is read, its pixels not yet.

    Raises:
        DataError: naming the file, for any error while it is opened or used.
    """
    try:
        with files.open(name) as stream, Image.open(stream, formats=FORMATS) as image:
            number = image.width * image.height
            if number > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels, above {MAX_PIXELS:,}")
            with _room.taken(number), contextlib.closing(image):  # which frees its pixels
                yield image
    except Exception as error:  # PIL's decoders raise whatever a broken file makes them fall over
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it does not begin as an image does" if unknown else error
        raise DataError(
            f"{files.path / name}: cannot be decoded ({reason}). Replace the file or delete it; "
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
