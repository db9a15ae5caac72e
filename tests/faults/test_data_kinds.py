"""Kinds of folders, zips and lists that people have: each is read as they mean it, or refused, and
what is not used is said. None may hang: a process of its own reads them, within a time.

tests/faults/test_bad_data.py and tests/data/test_folders.py have more: broken images, labels that
are no labels, one image in two classes or in both halves, members that lead out of a zip, bombs.
"""

import gzip
import io
import itertools
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

SECONDS = 20  # for what takes a fraction of one
PETS = {"cat": 5, "dog": 4}
NOBODY = 65534

READER = """
import json, os, sys
from facog_lab.config import DataError
from facog_lab.data.load import load
from facog_lab.settings import DataConfig

for line in sys.stdin:
    asked = json.loads(line)
    if asked["nobody"] and os.geteuid() == 0:
        os.seteuid(asked["nobody"])  # a root is not held by permissions
    try:
        said = []
        data = load(DataConfig(**asked["data"]), report=said.append)
        counts = {
            name: [data.available[label], int((data.test_labels == label).sum())]
            for label, name in enumerate(data.class_names)
        }
        data.images[:], data.test_images[:]
        answer = {"counts": counts, "said": "\\n".join(said), "record": data.audit.as_dict()}
    except DataError as error:
        answer = {"refused": str(error)}
    except Exception as error:
        answer = {"crashed": repr(error)}
    if os.getuid() == 0:
        os.seteuid(0)
    print(json.dumps(answer), flush=True)
"""


class Reader:
    """A process that loads data sets; one that hangs is killed, and the next one is begun."""

    def __init__(self, outputs):
        self.outputs, self.process = outputs, None

    def ask(self, data, nobody=0, seconds=SECONDS):
        if self.process is None:
            environment = {"PYTHONPATH": str(ROOT), "FACOG_OUTPUTS": str(self.outputs)}
            self.process = subprocess.Popen(
                [sys.executable, "-c", READER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            )
            self.ask({"dataset": "digits"}, seconds=120)  # with all that it has to import
        self.process.stdin.write(json.dumps({"data": data, "nobody": nobody}).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            self.end()
            pytest.fail(f"hangs: no answer after {seconds} s")
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process = None


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    made = Reader(tmp_path_factory.mktemp("outputs"))
    yield made
    if made.process:
        made.end()


class Kind(NamedTuple):
    """One kind: how it is made, and what is to come of it."""

    make: object
    refused: str | None
    loads: dict | None
    said: tuple
    nobody: bool


KINDS = {}


def kind(name, *said, refused=None, loads=None, nobody=False):
    """Registers a kind: what its function makes is refused in these words, or loads, with these."""

    def register(make):
        assert name not in KINDS
        KINDS[name] = Kind(make, refused, loads, said, nobody)
        return make

    return register


# What the kinds are made of

numbers = itertools.count()


def picture(size=(12, 12), mode="RGB"):
    """A picture like no other."""
    pixels = np.random.default_rng(next(numbers)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(pixels).convert(mode)


def encoded(size=(12, 12), mode="RGB", format="PNG", **options):
    stream = io.BytesIO()
    picture(size, mode).save(stream, format, **options)
    return stream.getvalue()


def images(folder, number=3, suffix=".png", first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + number):
        (folder / f"{i}{suffix}").write_bytes(encoded())


def classes(folder, number=3, names=("cat", "dog")):
    for name in names:
        images(folder / name, number)


def halves(root, train="train", test="test", names=("cat", "dog")):
    classes(root / train, 3, names)
    classes(root / test, 2, names)


def zipped(root, name="pets", change=lambda name: name, extra=()):
    """The folder as a zip beside it."""
    path = root.parent / f"{name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.writestr(change(file.relative_to(root).as_posix()), file.read_bytes())
        for member, content in extra:
            archive.writestr(member, content)
    return path


def lists(root, change=lambda half, lines: lines, labels=None, newline="\n", encoding="utf-8"):
    """The halves of a folder as two lists; returns settings for them."""
    labels = labels or {"cat": 0, "dog": 1}
    for half in ("train", "test"):
        lines = [
            f"{file.relative_to(root).as_posix()} {labels[file.parent.name]}"
            for file in sorted((root / half).rglob("*.png"))
        ]
        text = newline.join(change(half, lines)) + newline
        (root / f"ImageNet_LT_{half}.txt").write_bytes(text.encode(encoding))
    return {"dataset": "imagenet_lt", "image_root": str(root)}


BOTH = {"cat": [3, 2], "dog": [3, 2]}
HELD_OUT = {"cat": [2, 1], "dog": [2, 1]}

# Layouts


@kind("Train and Test", "layout .*Train/<class>/. and Test/<class>", loads=BOTH)
def _(root):
    halves(root, "Train", "Test")


@kind("TRAIN and TEST in a folder", "layout .*my pets/TRAIN/<class>/. and my pets/TEST", loads=BOTH)
def _(root):
    halves(root / "my pets", "TRAIN", "TEST")


@kind("training and testing", "test .*; from testing/", loads=BOTH)
def _(root):
    halves(root, "training", "testing")


@kind("train and valid", "test .*; from valid/, as there is no other test folder", loads=BOTH)
def _(root):
    halves(root, "train", "valid")


@kind("Training and Validation", "test .*; from Validation/, as there is no other", loads=BOTH)
def _(root):
    halves(root, "Training", "Validation")


@kind("train and eval", "test .*; from eval/, as there is no other", loads=BOTH)
def _(root):
    halves(root, "train", "eval")


@kind("training_set and test-set", "layout .*training_set/<class>/. and test-set", loads=BOTH)
def _(root):
    halves(root, "training_set", "test-set")


@kind(
    "train, test and val",
    "not used  val/ .6 images.: another folder has the test images",
    loads=BOTH,
)
def _(root):
    halves(root)
    classes(root / "val")


@kind("halves twice in each other", "layout .*train/train/<class>/. and test/test/", loads=BOTH)
def _(root):
    halves(root, "train/train", "test/test")


@kind(
    "train alone", "a fifth of each class of train/, held out, as there is no test", loads=HELD_OUT
)
def _(root):
    classes(root / "train")


@kind("classes alone", "layout .* <class>/.", "a fifth of each class, held out", loads=HELD_OUT)
def _(root):
    classes(root)


@kind("Train and train", refused="Train/ and train/ could each be the one that is meant. Rename")
def _(root):
    halves(root, "Train", "test")
    classes(root / "train")


@kind("train and training", refused="train/ and training/ could each be the one")
def _(root):
    halves(root)
    classes(root / "training")


@kind("test and testing", refused="test/ and testing/ could each be the one")
def _(root):
    halves(root)
    classes(root / "testing")


@kind("val and valid", refused="val/ and valid/ could each be the one")
def _(root):
    halves(root, "train", "val")
    classes(root / "valid")


@kind("test alone", refused="only test/, and no folder of training images. Add train/<class>")
def _(root):
    classes(root / "test")


@kind("val alone", refused="only val/, and no folder of training images. .* or give .*/val/ itself")
def _(root):
    classes(root / "val")


@kind("val and test without train", refused="only test/ and val/, and no folder of training")
def _(root):
    halves(root, "val", "test")


@kind("train beside class folders", refused="ambiguous, train/ beside cat/ and dog/. If train/ h")
def _(root):
    classes(root / "train")
    classes(root)


@kind("test beside class folders", refused="ambiguous, test/ beside cat/ and dog/")
def _(root):
    classes(root / "test")
    classes(root)


@kind("vehicles: train, bus, car", refused="ambiguous, train/ beside bus/ and car/.*train/bus/")
def _(root):
    classes(root, names=("train", "bus", "car"))


@kind("vehicles, by the remedy", loads={n: [2, 1] for n in ("bus", "car", "test", "train")})
def _(root):
    classes(root / "train", names=("train", "bus", "car", "test"))


@kind("vehicles in halves", loads={"bus": [3, 2], "test": [3, 2], "train": [3, 2]})
def _(root):
    halves(root, names=("train", "bus", "test"))


@kind("seg_train and seg_test", refused="ambiguous, 'seg_test' and 'seg_train' could be halves")
def _(root):
    halves(root, "seg_train", "seg_test")


@kind("cats_train, cats_test", refused="ambiguous, 'cats_test' and 'cats_train' could be")
def _(root):
    classes(root, names=("cats_train", "cats_test", "dogs_train", "dogs_test"))


@kind("train station and test tube", loads={"test tube": [2, 1], "train station": [2, 1]})
def _(root):
    classes(root, names=("train station", "test tube"))


@kind("halves in each class", refused="cat/: cat/test/ and cat/train/ lie in what would be a class")
def _(root):
    for name in ("cat", "dog"):
        halves(root / name, names=("good",))


@kind("test images without labels", "not used  test/ .4 images.: no folders of classes in it",
      "held out, as no test folder has class folders", loads=HELD_OUT)  # fmt: skip
def _(root):
    classes(root / "train")
    images(root / "test", 4)


@kind("test images without labels, and val", "not used  test/ .4 images", "; from val/", loads=BOTH)
def _(root):
    halves(root, "train", "val")
    images(root / "test", 4)


@kind("test images in a folder named images", "not used  test/ .4 images., val/ .3", loads=HELD_OUT)
def _(root):
    classes(root / "train")
    for half, number in (("test", 4), ("val", 3)):
        images(root / half / "images", number)
        (root / half / "annotations.txt").write_text("0.png cat\n")


@kind("an empty test folder", refused="test/: a test folder without images. Add")
def _(root):
    classes(root / "train")
    (root / "test").mkdir()


@kind(
    "folders beside the halves",
    "not used  docs/ .0 images., extra/ .2 images.: not named",
    loads=BOTH,
)
def _(root):
    halves(root)
    images(root / "extra", 2)
    (root / "docs").mkdir()
    (root / "docs" / "readme.md").write_text("pets")


@kind("the whole set in itself again", "not used  pets/ .10 images.: not named as", loads=BOTH)
def _(root):
    halves(root)
    shutil.copytree(root, root.parent / "again")
    shutil.move(root.parent / "again", root / "pets")


@kind(
    "images beside the class folders",
    "not used  0.png, 1.png: beside the class folders",
    loads=HELD_OUT,
)
def _(root):
    classes(root)
    images(root, 2)


@kind(
    "classes below an image",
    "not used  my pets/0.png: beside",
    "layout    my pets/<c",
    loads=HELD_OUT,
)
def _(root):
    classes(root / "my pets")
    images(root / "my pets", 1)


@kind(
    "a folder of data sets", refused="lie in what would be a class. If it is a data set, give it i"
)
def _(root):
    halves(root / "one")
    halves(root / "two")


@kind("one class", refused=r"too few classes \(1: cat\). A data set")
def _(root):
    classes(root, names=["cat"])


@kind(
    "images beside the classes of a half", "not used  train/0.png, test/0.png: beside", loads=BOTH
)
def _(root):
    halves(root)
    images(root / "train", 1)
    images(root / "test", 1)


@kind(
    "images and no folder",
    refused=r"too few classes \(0\) and 5 images in no folder, but files .*1 .csv",
)
def _(root):
    images(root, 5)
    (root / "labels.csv").write_text("0.png,cat\n")


@kind("halves without classes", refused=r"train: too few classes \(0\) and 3 images in no folder")
def _(root):
    images(root / "train")
    images(root / "test")


@kind("boxes, not classes", refused="train/labels: a class without images, but .*: 2 .txt")
def _(root):
    for half in ("train", "valid"):
        images(root / half / "images", 2)
        (root / half / "labels").mkdir()
        for i in range(2):
            (root / half / "labels" / f"{i}.txt").write_text("0 0.5 0.5 1 1\n")


# Classes


@kind("an empty class", refused="emu: a class without images. Add some")
def _(root):
    classes(root)
    (root / "emu").mkdir()


@kind(
    "a class of HEIC", refused="emu: a class without images, but files that are not read: 3 .heic"
)
def _(root):
    classes(root)
    images(root / "emu", suffix=".HEIC")


@kind(
    "classes of one image", refused="'emu' has one image, .*The same is true of 2 classes: emu, fox"
)
def _(root):
    classes(root)
    images(root / "emu", 1)
    images(root / "fox", 1)


@kind("one test image", "⚠ .*judged on one test image, .*: emu$", loads={**BOTH, "emu": [9, 1]})
def _(root):
    halves(root)
    images(root / "train" / "emu", 9)
    images(root / "test" / "emu", 1)


@kind(
    "classes missing in test",
    refused="'emu' has images in train/ but no folder in test/.*2 classes",
)
def _(root):
    halves(root)
    images(root / "train" / "emu")
    images(root / "train" / "fox")


@kind(
    "a class in test alone", refused="'emu' has images in test/ but no folder in train/. Add train"
)
def _(root):
    halves(root)
    images(root / "test" / "emu")


@kind("Cat in train, cat in test", refused="'Cat' has images in train/.*There is 'cat', whose name")
def _(root):
    classes(root / "train", names=("Cat", "dog"))
    classes(root / "test", names=("cat", "dog"))


@kind("two spellings of one accent", refused="no folder in .*differs in case, spaces or Unicode")
def _(root):
    classes(root / "train", names=(unicodedata.normalize("NFC", "café"), "dog"))
    classes(root / "test", names=(unicodedata.normalize("NFD", "café"), "dog"))


@kind("A and a", "⚠ .*differ in case.*: A, a$", loads={n: [2, 1] for n in "Aab"})
def _(root):
    classes(root, names=("A", "a", "b"))


@kind(
    "folders in a class",
    "⚠ .*several folders are one class: cat$",
    loads={"cat": [6, 2], "dog": [3, 2]},
)
def _(root):
    halves(root)
    images(root / "train" / "cat" / "persian", 2)
    images(root / "train" / "cat" / "old" / "tabby", 1)


# Names


@kind("odd names", r"classes +4: '  spaces ', <b>&\"', 'two\\nlines' and 1 more", loads={
    n: [2, 1] for n in ("Ünïcode 猫", "two\nlines", "<b>&\"'", "  spaces ")})  # fmt: skip
def _(root):
    classes(root, names=("Ünïcode 猫", "two\nlines", "<b>&\"'", "  spaces "))


@kind(
    "hidden files and folders",
    "not used  .cache, .ipynb_checkpoints, cat/.thumbs and 1 more: hidden",
    loads=HELD_OUT,
)
def _(root):
    classes(root)
    for name in (".ipynb_checkpoints", ".cache", "cat/.thumbs"):
        images(root / name, 2)
    images(root / "dog", 1, ".png", 7)
    (root / "dog" / "7.png").rename(root / "dog" / ".7.png")


@kind(
    "what systems leave behind",
    "DS_Store, __MACOSX: hidden",
    ": of no format.*2 .db, 1 .ini",
    loads=BOTH,
)
def _(root):
    halves(root)
    (root / ".DS_Store").write_bytes(b"x")
    images(root / "__MACOSX" / "train" / "cat")
    for name in ("train/Thumbs.db", "train/cat/Thumbs.db", "desktop.ini"):
        (root / name).write_bytes(b"x")


@kind("previews of a NAS", "not used  cat/@eaDir: hidden, or made by a system", loads=HELD_OUT)
def _(root):
    classes(root)
    images(root / "cat" / "@eaDir" / "0.png", 2, ".jpg")


@kind("a class's name that is no text", refused=r"the folder .\\udcff.* is not named in UTF-8")
def _(root):
    classes(root)
    images(Path(os.fsdecode(bytes(root / "cat")[:-3] + b"\xff\xfe")))


@kind("a file's name that is no text", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    Path(os.fsdecode(bytes(root / "cat") + b"/\xff.png")).write_bytes(encoded())


# Files that are no plain images


@kind("all spellings of JPEG", loads={"cat": [6, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    for suffix in ("jfif", "jpe", "JPG", "JPEG"):
        (root / "cat" / f"x.{suffix}").write_bytes(encoded(format="JPEG"))


@kind(
    "formats that are not read",
    "not used  cat/photo.*of no format .*.2 .heic, 1 without suffix, 1 .svg",
    loads=HELD_OUT,
)
def _(root):
    classes(root)
    for name in ("x.heic", "y.HEIC", "x.svg", "photo"):
        (root / "cat" / name).write_bytes(encoded())


@kind("a text called .png", refused="cat/x.png: cannot be decoded")
def _(root):
    classes(root)
    (root / "cat" / "x.png").write_text("not a picture")


@kind("a file of 0 bytes", refused=r"cat/x.png: cannot be decoded \(0 bytes")
def _(root):
    classes(root)
    (root / "cat" / "x.png").touch()


@kind("three broken files", refused="cat/x.png: cannot be .*2 more cannot be decoded either:")
def _(root):
    classes(root)
    for name in ("cat/x.png", "cat/y.png", "dog/z.png"):
        (root / name).write_text("not a picture")


@kind("a cut image", refused="cat/x.jpg: cannot be decoded .*truncated")
def _(root):
    classes(root)
    (root / "cat" / "x.jpg").write_bytes(encoded((64, 64), format="JPEG")[:1500])


@kind("an image of another format", refused="cat/x.jpg: cannot be decoded")
def _(root):
    classes(root)
    (root / "cat" / "x.jpg").write_bytes(encoded(format="PCX"))


@kind("an animation", "1 of several pictures .the first", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    picture().save(root / "cat" / "x.gif", save_all=True, append_images=[picture(), picture()])


@kind("pages of a TIFF", "1 of several pictures .the first", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    picture().save(root / "cat" / "x.tif", save_all=True, append_images=[picture()])


@kind("a photograph with its preview", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    picture((64, 48)).save(root / "cat" / "x.jpg", "MPO", save_all=True, append_images=[picture()])


@kind("16 bits", "1 of 16 bits .the upper 8", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    (root / "cat" / "x.png").write_bytes(encoded(mode="I;16"))


@kind("CMYK", "1 CMYK .turned into RGB", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    (root / "cat" / "x.jpg").write_bytes(encoded(mode="CMYK", format="JPEG"))


@kind("a transparent palette", "1 with transparency", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    (root / "cat" / "x.png").write_bytes(encoded(mode="P", transparency=0))


@kind("grey among colour", "RGB, 1 grey", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    (root / "cat" / "x.png").write_bytes(encoded(mode="L"))


@kind("turned by EXIF", "12×12 to 40×20 pixels", loads={"cat": [3, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "cat" / "x.jpg").write_bytes(encoded((40, 20), format="JPEG", exif=exif))


@kind(
    "one pixel",
    r"⚠ .*1 images are shown 4 .*: cat/x.png \(1×1\)",
    loads={"cat": [3, 1], "dog": [2, 1]},
)
def _(root):
    classes(root)
    for file in root.rglob("*.png"):
        file.write_bytes(encoded((40, 30)))
    (root / "cat" / "x.png").write_bytes(encoded((1, 1)))


@kind(
    "a panorama", r"⚠ .*1 images .*: cat/x.png \(20000×10\)", loads={"cat": [3, 1], "dog": [2, 1]}
)
def _(root):
    classes(root)
    (root / "cat" / "x.png").write_bytes(encoded((20_000, 10)))


@kind("too many pixels", refused="cat/x.png: cannot be decoded .8000 × 8000 pixels, above 50")
def _(root):
    classes(root)
    Image.new("1", (8000, 8000)).save(root / "cat" / "x.png")


@kind(
    "a terabyte of nothing", refused="cat/x.png: cannot be decoded .1,099,5.* bytes; 1 to 1,073,7"
)
def _(root):
    classes(root)
    (root / "cat" / "x.png").write_bytes(encoded())
    os.truncate(root / "cat" / "x.png", 2**40)
    os.symlink(root / "cat" / "x.png", root / "cat" / "y.png")


# What is no file, and links


@kind("a pipe", "not used  cat/x.png: a pipe, socket or device, never opened", loads=HELD_OUT)
def _(root):
    classes(root)
    os.mkfifo(root / "cat" / "x.png")


@kind("a pipe in place of a class", "not used  emu: a pipe, socket or device", loads=HELD_OUT)
def _(root):
    classes(root)
    os.mkfifo(root / "emu")


@kind("a socket", "not used  x.png: a pipe, socket or device", loads=HELD_OUT)
def _(root):
    classes(root)
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(root)  # a socket's path may have 108 bytes
        made.bind("x.png")
        os.chdir(here)


@kind("a link to a device", "not used  cat/x.png: a pipe, socket or device", loads=HELD_OUT)
def _(root):
    classes(root)
    (root / "cat" / "x.png").symlink_to("/dev/zero")


@kind("a link to a kernel's file", refused=r"cat/x.png: cannot be decoded \(0 bytes")
def _(root):
    classes(root)
    (root / "cat" / "x.png").symlink_to("/proc/kmsg")


@kind("a link into /proc", "not used  cat/self/: a part of the running system", loads=HELD_OUT)
def _(root):
    classes(root)
    (root / "cat" / "self").symlink_to("/proc/self")


@kind("/proc/self", refused="/proc/self: a part of the running system.*Give a folder of images")
def _(root):
    return Path("/proc/self")


@kind("/dev", refused="/dev: a part of the running system")
def _(root):
    return Path("/dev")


@kind("a pipe in place of a folder", refused="no such folder or .zip file, but a pipe")
def _(root):
    os.mkfifo(root / "pets.zip")
    return root / "pets.zip"


@kind("a name with a zero in it", refused=r"no path \(embedded null byte\)")
def _(root):
    return Path(f"{root}\0")


@kind(
    "a link to the folder it is in", "not used  train/cat/loop/: a link that leads back", loads=BOTH
)
def _(root):
    halves(root)
    (root / "train" / "cat" / "loop").symlink_to(".")


@kind(
    "a link to all that is above",
    "not used  cat/out/, cat/up/: a link that leads back",
    loads=HELD_OUT,
)
def _(root):
    classes(root)
    (root / "cat" / "up").symlink_to("../..")
    (root / "cat" / "out").symlink_to("/")


@kind("two classes that hold each other", refused="6 image.s. in the classes 'cat' and 'dog'")
def _(root):
    halves(root)
    (root / "train" / "cat" / "dog").symlink_to(root / "train" / "dog")
    (root / "train" / "dog" / "cat").symlink_to(root / "train" / "cat")


@kind("test is a link to train", refused="image.s. for training and for testing, for instance")
def _(root):
    classes(root / "train")
    (root / "test").symlink_to("train")


@kind("classes that are links elsewhere", "links +2 followed: train/cat/, train/dog/", loads=BOTH)
def _(root):
    halves(root, "train", "test")
    shutil.move(root / "train", root.parent / "elsewhere")
    (root / "train").mkdir()
    for name in ("cat", "dog"):
        (root / "train" / name).symlink_to(root.parent / "elsewhere" / name)


@kind("images that are links", "links +2 followed: cat/x.png", loads={"cat": [4, 1], "dog": [2, 1]})
def _(root):
    classes(root)
    images(root.parent / "elsewhere", 2)
    for i, name in enumerate("xy"):
        (root / "cat" / f"{name}.png").symlink_to(root.parent / "elsewhere" / f"{i}.png")


@kind("links that multiply", "not used .*: a link into a folder that 16", "more than once", loads={
    "cat": [19, 2], "dog": [3, 2]})  # fmt: skip
def _(root):
    halves(root)
    for i in range(40):  # each link doubles the ways
        (root / "train" / "cat" / str(i)).mkdir()
        for name in "ab":
            (root / "train" / "cat" / str(i) / name).symlink_to(root / "train" / "cat" / str(i + 1))
    images(root / "train" / "cat" / "40", 1)


@kind("a broken link to an image", refused="cat/x.png: cannot be read .a link that leads nowhere")
def _(root):
    classes(root)
    (root / "cat" / "x.png").symlink_to("nowhere.png")


@kind("a broken link to a class", refused="emu: cannot be read .a link that leads nowhere")
def _(root):
    classes(root)
    (root / "emu").symlink_to("/mnt/nowhere/emu")


@kind("another broken link", "not used  notes.txt: a link that leads nowhere", loads=HELD_OUT)
def _(root):
    classes(root)
    (root / "notes.txt").symlink_to("nowhere.txt")


@kind(
    "a file that may not be read", refused="cat/x.png: cannot be decoded .*Permission", nobody=True
)
def _(root):
    classes(root)
    (root / "cat" / "x.png").write_bytes(encoded())
    (root / "cat" / "x.png").chmod(0)


@kind("a folder that may not be read", refused="cat/more: cannot be read .Permission denied",
      nobody=True)  # fmt: skip
def _(root):
    classes(root)
    images(root / "cat" / "more")
    (root / "cat" / "more").chmod(0)


# Copies


@kind(
    "one image in two test classes",
    refused="1 image.s. in the classes 'cat' and 'dog', for .*test/",
)
def _(root):
    halves(root)
    shutil.copy(root / "test" / "cat" / "0.png", root / "test" / "dog" / "0.png")


@kind("an image twice in its class", "copies .*1 image.s. more than once .*cat/0.png = .*/9.png",
      loads={**BOTH, "cat": [4, 2]})  # fmt: skip
def _(root):
    halves(root)
    shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / "9.png")


@kind(
    "hard links in one class", "copies .*1 image.s. more than once", loads={**BOTH, "cat": [4, 2]}
)
def _(root):
    halves(root)
    (root / "train" / "cat" / "9.png").hardlink_to(root / "train" / "cat" / "0.png")


@kind("hard links in two classes", refused="1 image.s. in the classes 'cat' and 'dog'")
def _(root):
    halves(root)
    (root / "train" / "dog" / "9.png").hardlink_to(root / "train" / "cat" / "0.png")


# Zips


@kind("a zip of a folder called test", "layout .* test/<class>/.", loads=HELD_OUT)
def _(root):
    classes(root / "test")
    return zipped(root, "test")


@kind("zips in a zip", refused=r"too few classes \(0\), but files that are not read: 2 .zip")
def _(root):
    for name in ("train", "test"):
        (root / f"{name}.zip").write_bytes(b"PK")
    return zipped(root)


@kind("two members of one name", refused="two members are named 'train/cat/0.png', and their con")
def _(root):
    halves(root)
    return zipped(root, extra=[("train/cat/0.png", encoded())])


@kind(
    "two members that are no images", "not used  readme.txt: in the zip a second time", loads=BOTH
)
def _(root):
    halves(root)
    return zipped(root, extra=[("readme.txt", b"one"), ("readme.txt", b"two")])


@kind("one member twice", "not used  train/cat/0.png: in the zip a second time", loads=BOTH)
def _(root):
    halves(root)
    return zipped(root, extra=[("train/cat/0.png", (root / "train/cat/0.png").read_bytes())])


@kind("backslashes in a zip", loads=BOTH)
def _(root):
    halves(root)
    return zipped(root, change=lambda name: name.replace("/", "\\"))


@kind("dots before a zip's names", loads=BOTH)
def _(root):
    halves(root)
    return zipped(root, change=lambda name: f"./{name}")


@kind("a zip as Macs make it", "__MACOSX/pets/train/cat/._0.png: hidden", loads=BOTH)
def _(root):
    halves(root)
    return zipped(root, change=lambda name: f"pets/{name}",
                  extra=[("__MACOSX/pets/train/cat/._0.png", b"Mac OS X")])  # fmt: skip


@kind("a zip that does not say its alphabet", "⚠ .*does not mark as UTF-8 may be gar", loads={
    "dog": [3, 2], "ññ": [3, 2]})  # fmt: skip
def _(root):
    halves(root, names=("xx", "dog"))
    path = zipped(root)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"/xx/", b"/\xa4\xa4/"))
    return path


@kind("folders without end in a zip", refused="member 'a/a/a/.* lies more than 64 folders deep")
def _(root):
    return zipped(root, extra=[("a/" * 32_000 + "x.png", b"")])


@kind("cat and CAT in a zip", "⚠ .*differ in case", loads={"CAT": [2, 1], "cat": [2, 1]})
def _(root):
    classes(root, names=("CAT", "cat"))
    return zipped(root)


@kind(
    "another archive", refused="no such folder or .zip file, but a file of another kind. .*unpack"
)
def _(root):
    (root.parent / "pets.tar.gz").write_bytes(gzip.compress(bytes(10_000)))
    return root.parent / "pets.tar.gz"


# Lists


@kind("lists", "layout .*lists ImageNet_LT_train.txt and ImageNet_LT_test", loads=BOTH)
def _(root):
    halves(root)
    return lists(root)


@kind(
    "lists of files that are gone",
    refused="train/cat/0.png: listed, but missing .*of 3 of 10 files",
)
def _(root):
    halves(root)
    found = lists(root)
    shutil.rmtree(root / "train" / "cat")
    return found


@kind("lists from Windows", loads=BOTH)
def _(root):
    halves(root)
    return lists(root, newline="\r\n", encoding="utf-8-sig")


@kind("a list in UTF-16", refused="ImageNet_LT_train.txt: cannot be read as a list")
def _(root):
    halves(root)
    return lists(root, encoding="utf-16")


@kind("a blank line", refused="ImageNet_LT_train.txt, line 3: '' is not `relative/path label`")
def _(root):
    halves(root)
    return lists(root, lambda half, lines: [*lines[:2], "", *lines[2:]])


@kind("lists with commas", refused="line 1: 'train/cat/0.png,0' is not")
def _(root):
    halves(root)
    return lists(root, lambda half, lines: [line.replace(" ", ",") for line in lines])


@kind("a third column", refused="train/cat/0.png 0: listed, but missing .*of 10 of 10")
def _(root):
    halves(root)
    return lists(root, lambda half, lines: [f"{line} 1" for line in lines])


@kind("paths of Windows", refused="listed, but missing .*of 10 of 10")
def _(root):
    halves(root)
    return lists(root, lambda half, lines: [line.replace("/", "\\") for line in lines])


@kind("paths out of the folder", refused="line 1: '../pets/train/cat/0.png 0' is not")
def _(root):
    halves(root)
    return lists(root, lambda half, lines: [f"../pets/{line}" for line in lines])


@kind("labels with gaps", "⚠ .*labels 3, 10 are counted as 0 to 1", loads=BOTH)
def _(root):
    halves(root)
    return lists(root, labels={"cat": 3, "dog": 10})


@kind("lists that number differently", refused="folder 'cat' have label 1, but in .* have label 0")
def _(root):
    halves(root)
    swap = {"0": "1", "1": "0"}
    return lists(root, lambda half, lines: lines if half == "train" else
                 [line[:-1] + swap[line[-1]] for line in lines])  # fmt: skip


@kind("a label without test images", refused="no image of label 1, which ImageNet_LT_train.txt has")
def _(root):
    halves(root)
    return lists(root, lambda half, lines: lines if half == "train" else lines[:2])


@kind("an image under another label", "⚠ .*1 images have another label .*: train/cat/2.png", loads={
    "cat": [2, 2], "dog": [4, 2]})  # fmt: skip
def _(root):
    halves(root)
    return lists(root, lambda half, lines: lines if half == "test" else
                 [line.replace("cat/2.png 0", "cat/2.png 1") for line in lines])  # fmt: skip


@kind("folders that are not the classes", loads={"0": [5, 2], "1": [5, 2]})
def _(root):
    classes(root / "train", 5, ("camera a", "camera b"))
    classes(root / "test", 2, ("camera a", "camera b"))
    numbers = {"train": "0001111100", "test": "1001"}
    return lists(
        root,
        lambda half, lines: [line + n for line, n in zip(lines, numbers[half], strict=True)],
        {"camera a": "", "camera b": ""},
    )


@kind("an image in both lists", "⚠ .*1 image.s. for training and for testing", loads={
    "cat": [4, 2], "dog": [3, 2]})  # fmt: skip
def _(root):
    halves(root)
    return lists(root, lambda half, lines: lines + ["test/cat/0.png 0"] * (half == "train"))


@kind("a list that is a pipe", refused="list.txt: cannot be read as a list of images .a pipe")
def _(root):
    halves(root)
    os.mkfifo(root / "list.txt")
    return lists(root) | {"train_list": str(root / "list.txt")}


@kind("a list without end", refused="/dev/zero: cannot be read as a list of images .a device")
def _(root):
    halves(root)
    return lists(root) | {"train_list": "/dev/zero"}


@kind("a listed pipe", refused="train/cat/x.png: cannot be decoded .a pipe, which is never opened")
def _(root):
    halves(root)
    os.mkfifo(root / "train" / "cat" / "x.png")
    return lists(root)


# All of them


@pytest.fixture
def root(request, tmp_path):
    if not KINDS[request.node.callspec.params["name"]].nobody:
        path = tmp_path / "pets"
        path.mkdir()
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to anyone else
        os.chmod(folder, 0o755)
        path = Path(folder) / "pets"
        path.mkdir()
        yield path
        for inner in path.rglob("*"):
            inner.chmod(0o755)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # two members of one name are a kind
@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_silent_and_nothing_hangs(name, reader, root):
    asked = KINDS[name]
    made = asked.make(root)
    settings = made if isinstance(made, dict) else {"dataset": f"folder:{made or root}"}
    answer = reader.ask(settings | {"profile": "as_found"}, NOBODY if asked.nobody else 0)
    assert "crashed" not in answer, answer
    if asked.refused:
        assert "refused" in answer, f"not refused: {answer}"
        assert re.search(asked.refused, answer["refused"], re.S), answer["refused"]
        return
    assert "counts" in answer, answer
    assert answer["counts"] == asked.loads
    assert answer["record"]["classes"] == answer["counts"]
    for words in asked.said:
        assert re.search(words, answer["said"], re.M), f"not said: {words}\n{answer['said']}"


def test_there_are_as_many_kinds_as_promised():
    assert len(KINDS) >= 74
    assert all(bool(kind.refused) != bool(kind.loads) for kind in KINDS.values())
