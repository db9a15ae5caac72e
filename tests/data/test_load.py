"""The long tail of every data set: its counts, its split, where it is looked for."""

import gzip
import hashlib
import json
import subprocess
import sys
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from conftest import ROOT
from image_files import as_found, idx_bytes, write_folder, write_idx
from PIL import Image

from facog_lab.config import ConfigError, DataError
from facog_lab.data import builtin
from facog_lab.data import decode as images_module
from facog_lab.data import places as places_module
from facog_lab.data.load import load
from facog_lab.data.long_tail import long_tail_counts
from facog_lab.dataset import LongTailed
from facog_lab.settings import DataConfig

SHARED = ROOT.parent / "shared" / "data"
GOLDEN = SHARED.with_name("golden")
FASHION_PACKAGE = Path("/usr/share/datasets/fashion-mnist")
GAMO = [4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40]
C10_100 = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def needs(path):
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not there")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty project, an empty FACOG_DATA and an empty folder of packages, in this order."""
    folders = [tmp_path / "project" / "data", tmp_path / "mine", tmp_path / "packages"]
    for folder in folders:
        folder.mkdir(parents=True)
    for module in (builtin, places_module):
        monkeypatch.setattr(module, "project_root", lambda: folders[0].parent)
    monkeypatch.setenv("FACOG_DATA", str(folders[1]))
    monkeypatch.setattr(places_module, "PACKAGED", folders[2])
    return folders


@pytest.fixture
def shared(monkeypatch):
    monkeypatch.setenv("FACOG_DATA", str(SHARED))


# Counts


@pytest.mark.parametrize(
    ("classes", "each", "ratio", "total", "smallest"),
    [
        (10, 5000, 100, 12_406, 50),
        (10, 5000, 50, 13_996, 100),
        (10, 5000, 10, 20_431, 500),
        (100, 500, 100, 10_847, 5),
        (100, 500, 50, 12_608, 10),
        (100, 500, 10, 19_573, 50),
        (10, 5000, 1, 50_000, 5000),
    ],
)
def test_the_exponential_counts_of_cifar(classes, each, ratio, total, smallest):
    counts = long_tail_counts("exponential", [each] * classes, ratio)
    assert sum(counts) == total
    assert (counts[0], counts[-1]) == (each, smallest)
    assert counts == sorted(counts, reverse=True)


def test_the_counts_of_single_classes():
    assert long_tail_counts("exponential", [5000] * 10, 100) == C10_100
    assert long_tail_counts("gamo", [6000] * 10, 1) == GAMO
    assert long_tail_counts("as_found", [3, 9, 1], 100) == [3, 9, 1]


@pytest.mark.parametrize(
    ("classes", "each", "ratio", "last"),
    [(2, 49, 49, 1), (10, 49, 49, 1), (3, 147, 49, 3), (10, 98, 49, 2), (2, 21, 2.1, 10),
     (2, 9999, 9999, 1), (2, 500, 100, 5), (4, 1000, 1000, 1), (4, 999, 1000, 0)],
)  # fmt: skip
def test_a_count_that_is_a_whole_number_is_not_truncated_below_it(classes, each, ratio, last):
    """int(49 · (1/49)) is 0, since 1/49 is a hair below what it stands for."""
    if last == 0:
        with pytest.raises(DataError, match="asks for 0: take an imbalance_ratio of at most 999, "):
            long_tail_counts("exponential", [each] * classes, ratio)
        return
    counts = long_tail_counts("exponential", [each] * classes, ratio)
    assert counts[-1] == last
    by_float = [int(each * (1 / ratio) ** (i / (classes - 1))) for i in range(classes)]
    assert all(0 <= ours - theirs <= 1 for ours, theirs in zip(counts, by_float, strict=True))


def test_exact_counts_are_powers_of_whole_numbers():
    """Cubes: every class's count is whole, and no rounding may take one from it."""
    for base in range(2, 22):
        counts = long_tail_counts("exponential", [base**3] * 4, base**3)
        assert counts == [base**3, base**2, base, 1]


@needs(GOLDEN)
def test_the_published_counts():
    cases = json.loads((GOLDEN / "long_tail_counts.json").read_text())["cases"]
    cases = [case for case in cases if case["settings"].get("type") == "exp"]
    assert len(cases) >= 10
    for case in cases:
        given = case["settings"]
        available = [given["largest"]] * given["classes"]
        ours = long_tail_counts("exponential", available, given["ratio"])
        assert ours == case["expected"]["counts"], case["id"]


def test_unequal_classes_are_ranked_by_what_they_have():
    counts = long_tail_counts("exponential", [40, 100, 70, 100], 8)
    assert counts == [12, 100, 25, 50]  # 100, 50, 25, 12.5 in the order 1, 3, 2, 0


@pytest.mark.parametrize(
    ("profile", "available", "ratio", "message"),
    [
        ("exponential", [100, 9], 10, r"'b' has 9 .*imbalance_ratio 10 asks for 10: .*at least 11"),
        ("exponential", [100, 9], 11, None),
        ("exponential", [9, 9, 9], 20, r"'c' has 9 .* asks for 0: .*of at most 9"),
        ("exponential", [5, 0, 5], 1, "'b' has no training images"),
        ("as_found", [5, 5, 0], 1, "'c' has no training images"),
        ("gamo", [6000] * 3, 1, "ten classes, and there are 3"),
        ("gamo", [6000] * 9 + [39], 1, "'j' has 39 .* asks for 40: use profile = 'exponential'"),
    ],
)
def test_too_few_images(profile, available, ratio, message):
    names = "abcdefghij"[: len(available)]
    if message is None:
        long_tail_counts(profile, available, ratio, names)
        return
    with pytest.raises(DataError, match=message):
        long_tail_counts(profile, available, ratio, names)


@pytest.mark.parametrize("ratio", [1, 2, 5, 9])
def test_the_remedy_of_too_small_a_ratio_helps(ratio):
    """Of CIFAR-10, what ratio 10 needs and five more, as in the shared zip."""
    available = [min(5000, n + 5) for n in long_tail_counts("exponential", [5000] * 10, 10)]
    with pytest.raises(DataError, match="an imbalance_ratio of at least 10, or") as caught:
        long_tail_counts("exponential", available, ratio)
    assert "'class 1' has 3,876 training images" in str(caught.value)
    assert sum(long_tail_counts("exponential", available, 10)) == 20_431


# Config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "cifar11"}, "data set named 'cifar11'. Did you mean 'cifar10'"),
        ({"dataset": "fashion-mnist"}, "mean 'fashion_mnist'.*digits, mnist, .*, folder:PATH"),
        ({"dataset": "folder"}, "write the path"),
        ({"dataset": "folder:"}, "write the path"),
        ({"imbalance_ratio": 0.5}, "imbalance_ratio = 0.5: not allowed, .* at least 1"),
        ({"imbalance_ratio": 10_001}, "at most 10000"),
        ({"split_seed": -1}, "split_seed = -1"),
        ({"profile": "gammo"}, "'exponential', 'gamo', 'as_found'"),
        ({"dataset": "folder:x", "image_size": 7}, "image_size = 7"),
        ({"dataset": "cifar10", "image_size": 32}, "image_size = 32: cifar10 has no use for it"),
        ({"dataset": "folder:x", "image_root": "y"}, "image_root = 'y': folder has no use"),
    ],
)
def test_settings_that_are_wrong(settings, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig(**settings)


def test_settings_as_papermill_sends_them():
    assert DataConfig(imbalance_ratio="1e2", split_seed="3").imbalance_ratio == 100


# Digits, and what holds for every data set


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig())


def check(data: LongTailed):
    """What every data set promises."""
    counts = data.class_counts
    assert (counts >= 1).all()
    assert counts.sum() == len(data.labels) == len(data.images) == len(data.index)
    assert len(data.test_images) == len(data.test_labels)
    assert data.labels.dtype == data.index.dtype == data.test_labels.dtype == torch.int64
    assert (data.index.diff() > 0).all()  # without replacement, in the source's order
    assert data.images.shape[1:] == (data.channels, data.side, data.side)
    assert data.test_images.shape[1:] == data.images.shape[1:]
    assert data.images[torch.tensor([0])].dtype == torch.uint8
    assert len(data.mean) == len(data.std) == data.channels
    assert min(data.std) > 0
    assert data.test_protocols["full"].tolist() == list(range(len(data.test_labels)))
    little = [x.numpy().astype("<i8").tobytes() for x in (data.index, data.labels)]
    assert data.split_hash == hashlib.sha256(b"".join(little)).hexdigest()
    assert len(data.fingerprint) == 64


def test_digits(digits):
    check(digits)
    assert digits.class_names == tuple("0123456789")
    assert digits.test_labels.bincount().tolist() == [50] * 10
    assert sorted(digits.class_counts.tolist())[::-1] == long_tail_counts(
        "exponential", [133] * 10, 20
    )
    assert repr(digits) == (
        "digits: 449 training images of 1×8×8 in 10 classes, 133 to 6 (ratio 22.2); 500 test images"
    )


def test_the_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    found = load_digits()
    train, test = builtin.digits_split(torch.from_numpy(found.target))
    assert sorted(train.tolist() + test.tolist()) == list(range(1797))
    whole = load(DataConfig(profile="as_found"))
    assert len(whole.labels) == 1297
    assert whole.class_counts.tolist() == list(whole.available)
    assert load(DataConfig()).available == whole.available  # whatever of it is kept
    for ours, places in ((whole.images, train), (whole.test_images, test)):
        difference = ours[:, 0].numpy() * (16 / 255) - found.images[places.numpy()]
        assert np.abs(difference).max() <= 8 / 255


def test_the_test_set_does_not_depend_on_the_split(digits):
    for other in (load(DataConfig(split_seed=1)), load(DataConfig(imbalance_ratio=5))):
        assert torch.equal(other.test_images, digits.test_images)
        assert other.split_hash != digits.split_hash
        assert other.fingerprint != digits.fingerprint


def test_a_larger_ratio_keeps_a_part_of_what_a_smaller_one_keeps(digits):
    more = load(DataConfig(imbalance_ratio=5))
    assert set(digits.index.tolist()) < set(more.index.tolist())


def test_the_same_split_in_another_process(digits):
    program = (
        "from facog_lab.data.load import load; from facog_lab.settings import DataConfig;"
        "d = load(DataConfig());"
        "print(d.split_hash, d.fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digits.split_hash, digits.fingerprint]


def test_the_split_of_seed_0_stays_what_it_is(digits):
    """Recorded runs name it: a change here makes them another experiment."""
    assert digits.split_hash.startswith("70e680cb")


def test_gamo_does_not_fit_digits():
    with pytest.raises(DataError, match=r"'0' has 128 .* asks for 4,000: .*'exponential'"):
        load(DataConfig(profile="gamo"))


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load(DataConfig())


# The MNIST family: where it is found, and its files


def first_pixel(name="mnist"):
    return load(DataConfig(dataset=name, profile="as_found")).images[0, 0, 0, 0].item()


def test_the_order_in_which_data_are_found(places):
    project, mine, packages = places
    write_idx(packages / "fashion-mnist", seed=1)
    assert first_pixel("fashion_mnist") == 1
    write_idx(mine / "fashion-mnist", seed=2, compress=False)
    assert first_pixel("fashion_mnist") == 2
    write_idx(mine / "FashionMNIST" / "raw", seed=3)
    assert first_pixel("fashion_mnist") == 3
    write_idx(project / "FashionMNIST" / "raw", seed=4)
    assert first_pixel("fashion_mnist") == 4
    (project / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert first_pixel("fashion_mnist") == 3  # the first that has all four files


def test_compressed_and_plain_files_hold_the_same(places):
    write_idx(places[0] / "mnist", compress=True)
    write_idx(places[0] / "MNIST" / "raw", compress=False)
    plain = load(DataConfig(dataset="mnist", profile="as_found"))
    check(plain)
    theirs = torchvision.datasets.MNIST(str(places[0]), train=True)
    assert torch.equal(plain.images[:, 0], theirs.data)
    assert torch.equal(plain.labels, theirs.targets)
    for file in (places[0] / "MNIST" / "raw").iterdir():
        file.unlink()
    assert load(DataConfig(dataset="mnist", profile="as_found")).fingerprint == plain.fingerprint


def test_images_are_part_of_the_fingerprint_but_not_of_the_split(places):
    write_idx(places[0] / "mnist", compress=False)
    before = load(DataConfig(dataset="mnist", profile="as_found"))
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        path = places[0] / "mnist" / name
        raw = path.read_bytes()
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        after = load(DataConfig(dataset="mnist", profile="as_found"))
        assert after.split_hash == before.split_hash
        assert after.fingerprint != before.fingerprint
        path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte.gz", lambda raw: raw[:-20], "damaged"),
        ("train-images-idx3-ubyte.gz", lambda raw: b"<html>", "damaged"),
        ("train-images-idx3-ubyte.gz", lambda raw: gzip.compress(b""), "damaged"),
        (
            "t10k-labels-idx1-ubyte.gz",
            lambda raw: gzip.compress(gzip.decompress(raw)[:-1]),
            r"its header tells of \(120,\) bytes, and 119 follow",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            lambda raw: gzip.compress(idx_bytes(np.zeros(119, np.uint8))),
            r"labels of shape \(119,\)",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            lambda raw: gzip.compress(idx_bytes(np.full(120, 10, np.uint8))),
            "must be from 0 to 9",
        ),
    ],
)
def test_damaged_idx_files(places, name, change, message):
    write_idx(places[0] / "mnist")
    path = places[0] / "mnist" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load(DataConfig(dataset="mnist", profile="as_found"))
    assert "run again" in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_without_a_network_the_error_says_what_to_put_where(places, monkeypatch, name):
    def no_network(*args, **kwargs):
        raise URLError("Name or service not known")

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", no_network)
    lines = []
    with pytest.raises(DataError) as caught:
        load(DataConfig(dataset=name), report=lines.append)
    message = str(caught.value)
    for folder in places:
        for place in builtin.PLACES[name]:
            assert f"\n  {folder / place}" in message
    assert "FACOG_DATA" in message
    assert ("t10k-labels-idx1-ubyte.gz" in message) == ("mnist" in name)
    assert lines == [f"Downloading {name} into {places[0]}, once"]


def test_the_gamo_test_protocol(places):
    write_idx(places[0] / "mnist", per_class=1000)
    data = load(DataConfig(dataset="mnist", profile="as_found"))
    check(data)
    chosen = data.test_protocols["gamo"]
    assert data.test_labels[chosen].bincount().tolist() == [100] * 10
    assert (chosen.diff() > 0).all()
    for label in range(10):
        first = (data.test_labels == label).nonzero()[:800, 0].tolist()
        assert set(chosen[data.test_labels[chosen] == label].tolist()) < set(first)
    again = load(DataConfig(dataset="mnist", profile="as_found", split_seed=1))
    assert not torch.equal(again.test_protocols["gamo"], chosen)


# The real ones


@needs(SHARED / "MNIST")
def test_mnist(shared):
    data = load(DataConfig(dataset="mnist", profile="gamo"))
    check(data)
    assert data.class_counts.tolist() == GAMO
    assert data.images.shape == (9000, 1, 28, 28)
    assert len(data.test_labels) == 10_000
    whole = load(DataConfig(dataset="mnist", profile="as_found"))
    digest = hashlib.md5(idx_bytes(whole.images[:, 0].numpy())).hexdigest()
    assert digest == "6bbc9ace898e44ae57da46a324031adb"  # of the original, uncompressed
    assert torch.equal(whole.images[data.index], data.images)
    check(load(DataConfig(dataset="mnist", imbalance_ratio=100)))


@needs(FASHION_PACKAGE)
def test_fashion_mnist_from_debians_package(places, monkeypatch):
    monkeypatch.setattr(places_module, "PACKAGED", FASHION_PACKAGE.parent)
    data = load(DataConfig(dataset="fashion_mnist", profile="gamo"))
    check(data)
    assert data.class_counts.tolist() == GAMO
    assert data.class_names == tuple(torchvision.datasets.FashionMNIST.classes)
    assert data.imbalance_ratio == 100


@needs(SHARED / "cifar100.zip")
def test_cifar100(shared):
    data = load(DataConfig(dataset="cifar100", imbalance_ratio=100))
    check(data)
    assert data.class_counts.tolist() == long_tail_counts("exponential", [500] * 100, 100)
    assert len(data.labels) == 10_847
    assert data.test_labels.bincount().tolist() == [100] * 100
    assert data.class_names[:3] == ("apple", "aquarium_fish", "baby")
    assert data.images.shape[1:] == (3, 32, 32)
    # Chosen by labels, before any is decoded: the files are those of the index.
    path = builtin.find_data("cifar100")
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("train/"))
        for i in (0, 5000, 10_846):
            with archive.open(names[data.index[i]]) as stream:
                expected = np.asarray(Image.open(stream).convert("RGB"))
            assert np.array_equal(data.images[i].permute(1, 2, 0).numpy(), expected)


@needs(SHARED / "cifar10.zip")
def test_cifar10(shared):
    data = load(DataConfig(dataset="cifar10", imbalance_ratio=100))
    check(data)
    assert data.class_counts.tolist() == C10_100
    assert data.class_names[0] == "airplane"
    assert data.class_names[-1] == "truck"
    with pytest.raises(DataError, match=r"'automobile' has 3,876 .*ratio of at least 10"):
        load(DataConfig(dataset="cifar10", imbalance_ratio=5))


def test_class_folders_that_are_not_cifar(places):
    write_folder(places[0] / "cifar10", {"a": 3, "b": 2})
    with pytest.raises(DataError, match="2 classes and 4 test images, not the 10 and 10,000"):
        load(DataConfig(dataset="cifar10"))


def test_cifar_in_torchvisions_form(places, monkeypatch):
    class Pretend:
        classes = tuple(f"class {i}" for i in range(10))

        def __init__(self, root, train):
            assert root == places[1]
            self.data = np.arange(50 * 3072, dtype=np.uint32).astype(np.uint8)
            self.data = self.data.reshape(50, 32, 32, 3)[: 50 if train else 20]
            self.targets = list(range(10)) * (5 if train else 2)

    (places[1] / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"cifar-10-batches-py: damaged .*Delete it"):
        load(DataConfig(dataset="cifar10"))
    monkeypatch.setattr("torchvision.datasets.CIFAR10", Pretend)
    data = load(DataConfig(dataset="cifar10", profile="as_found"))
    check(data)
    assert data.class_names == Pretend.classes
    assert data.images[0, 2, 0, 1] == 5  # blue of the second pixel


# Folders and zips


def test_a_folder_and_its_zip_are_the_same_data_set(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "flowers", {"rose": 12, "tulip": 12, "iris": 9})
    with zipfile.ZipFile(tmp_path / "flowers.zip", "w") as archive:
        for file in root.rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
    for at_most in (2**30, 0):  # in memory, and in their files
        monkeypatch.setattr(images_module, "DECODE_AT_MOST", at_most)
        pair = [
            load(DataConfig(dataset=f"folder:{root}{suffix}", imbalance_ratio=3))
            for suffix in ("", ".zip")
        ]
        for data in pair:
            check(data)
            assert isinstance(data.images, torch.Tensor) == (at_most > 0)
        a, b = pair
        assert a.name == b.name == "flowers"
        assert a.class_names == b.class_names == ("iris", "rose", "tulip")
        assert a.class_counts.tolist() == [4, 12, 6]  # ranked by what there is
        assert a.split_hash == b.split_hash
        assert torch.equal(a.images[:], b.images[:])
        assert torch.equal(a.test_images[:], b.test_images[:])
        if at_most:
            assert a.fingerprint == b.fingerprint
            decoded = a
    assert torch.equal(a.images[torch.arange(len(a.labels))], decoded.images)
    assert a.split_hash == decoded.split_hash


def test_a_folder_as_found(tmp_path):
    data = as_found(write_folder(tmp_path / "x", {"a": 3, "b": 7}, grey=True))
    check(data)
    assert data.class_counts.tolist() == [3, 7]
    assert data.channels == 1


def test_a_relative_path_is_sought_from_here_and_from_the_project(places, monkeypatch):
    write_folder(places[0] / "flowers", {"a": 3, "b": 2})
    monkeypatch.chdir(places[1])
    assert len(as_found("data/flowers").labels) == 5
    monkeypatch.chdir(places[0])
    assert as_found("flowers").name == "flowers"
    assert len(as_found(".").class_names) == 2  # a folder's own name, not "."
    with pytest.raises(DataError, match="project/nowhere: no such folder"):
        as_found("nowhere")


def test_a_class_with_too_few_images_for_the_profile(tmp_path):
    root = write_folder(tmp_path / "x", {"a": 20, "b": 2, "c": 1})
    with pytest.raises(DataError, match=r"'b' has 2 .*imbalance_ratio 10 asks for 6"):
        load(DataConfig(dataset=f"folder:{root}", imbalance_ratio=10))


# ImageNet-LT


@pytest.fixture
def imagenet(places):
    root = write_folder(places[1] / "images", {"n01": 6, "n02": 3, "n03": 2})
    for half in ("train", "test"):
        lines = [
            f"{path.relative_to(root).as_posix()} {int(path.parent.name[1:]) - 1}"
            for path in sorted((root / half).rglob("*.png"))
        ]
        (root / f"ImageNet_LT_{half}.txt").write_text("\n".join(lines) + "\n")
    return root


def imagenet_lt(root, **settings):
    settings = {"profile": "as_found", "image_root": root and str(root), **settings}
    return load(DataConfig(dataset="imagenet_lt", **settings))


def test_imagenet_lt(imagenet, places, monkeypatch):
    monkeypatch.setattr(images_module, "DECODE_AT_MOST", 0)
    data = imagenet_lt(imagenet)
    check(data)
    assert data.class_names == ("n01", "n02", "n03")
    assert data.class_counts.tolist() == [6, 3, 2]
    assert data.images.shape == (11, 3, 256, 256)
    assert data.mean == (0.485, 0.456, 0.406)
    own = imagenet_lt(imagenet, image_size=8)
    picture = np.array(Image.open(imagenet / "train" / "n02" / "1.png"))
    assert np.array_equal(own.images[7].permute(1, 2, 0).numpy(), picture)
    for half in ("train", "test"):  # the lists may lie in a data folder as well
        (imagenet / f"ImageNet_LT_{half}.txt").rename(places[0] / f"ImageNet_LT_{half}.txt")
    assert imagenet_lt(imagenet).fingerprint == data.fingerprint
    imagenet.rename(places[1] / "imagenet_lt")
    assert imagenet_lt(None).fingerprint == data.fingerprint
    lists = {
        f"{half}_list": str(places[0] / f"ImageNet_LT_{half}.txt") for half in ("train", "test")
    }
    assert imagenet_lt(None, **lists).fingerprint == data.fingerprint


def test_the_classes_of_images_in_one_folder_are_named_by_label(imagenet):
    for half in ("train", "test"):
        lines = []
        for i, path in enumerate(sorted((imagenet / half).rglob("*.png"))):
            path.rename(imagenet / f"{half}{i}.png")
            lines.append(f"{half}{i}.png {i % 2}")
        (imagenet / f"ImageNet_LT_{half}.txt").write_text("\n".join(lines))
    assert imagenet_lt(imagenet).class_names == ("0", "1")


def test_what_is_wrong_with_imagenet_lt(imagenet, places):
    with pytest.raises(DataError, match=r"no data folder holds imagenet_lt/.*set image_root"):
        imagenet_lt(None)
    with pytest.raises(DataError, match="nowhere is no folder"):
        imagenet_lt(places[0] / "nowhere")
    train, test = (imagenet / f"ImageNet_LT_{half}.txt" for half in ("train", "test"))
    good = train.read_text()

    def fails(text, message):
        train.write_text(text)
        with pytest.raises(DataError, match=message):
            imagenet_lt(imagenet)
        train.write_text(good)

    fails(good + "train/n01/0.png\n", r"ImageNet_LT_train.txt, line 12: 'train/n01/0.png' is not")
    fails(good.replace(" 2\n", " 1\n"), r"ImageNet_LT_test.txt: label 2, but .* no image of that")
    fails(good + "train/n01/gone.png 0\n", r"images/train/n01/gone.png: ")
    test.unlink()
    with pytest.raises(DataError, match=r"ImageNet_LT_test.txt is in none of .*set test_list"):
        imagenet_lt(imagenet)


def test_a_file_that_unpacks_to_more_than_any_is_not_read_whole(places):
    """Gzip makes a gigabyte of a megabyte."""
    write_idx(places[1] / "mnist")
    path = places[1] / "mnist" / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes([0, 0, 8, 3]))
        for _ in range(300):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"damaged \(more than 67,108,864 bytes\)"):
        load(DataConfig(dataset="mnist", profile="as_found"))
    assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    tracemalloc.stop()


class Downloads:
    """torchvision's class in the place of a network: slow, and never twice at once."""

    def __init__(self):
        self.begun, self.inside = 0, 0

    def __call__(self, root, download):
        assert download
        self.begun += 1
        self.inside += 1
        assert self.inside == 1
        folder = Path(root) / "MNIST" / "raw"
        write_idx(folder)
        (folder / "t10k-labels-idx1-ubyte.gz").unlink()
        time.sleep(0.3)  # in which it is not whole
        write_idx(Path(root) / "again")
        (Path(root) / "again" / "t10k-labels-idx1-ubyte.gz").rename(
            folder / "t10k-labels-idx1-ubyte.gz"
        )
        self.inside -= 1


def test_two_that_ask_at_once_download_once_and_see_the_whole(places, outputs, monkeypatch):
    downloads = Downloads()
    monkeypatch.setattr(builtin, "_of_torchvision", lambda name: downloads)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: builtin.find_or_download("mnist", print), range(3)))
    assert downloads.begun == 1
    assert set(found) == {places[0] / "MNIST" / "raw"}
    assert load(DataConfig(dataset="mnist", profile="as_found")).num_classes == 10
    assert [path.name for path in places[0].iterdir()] == ["MNIST"]


def test_nothing_is_left_of_a_download_that_failed(places, outputs, monkeypatch):
    def breaks(root, download):
        (Path(root) / "MNIST").mkdir()
        raise OSError("the network is gone")

    monkeypatch.setattr(builtin, "_of_torchvision", lambda name: breaks)
    with pytest.raises(DataError, match="the network is gone"):
        builtin.find_or_download("mnist", print)
    assert list(places[0].iterdir()) == []
