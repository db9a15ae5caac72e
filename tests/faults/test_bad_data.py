"""Data that are wrong, at every way in: folders, zips, lists, arrays, dictionaries."""

import io
import re
import zipfile

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from facog_lab import runs
from facog_lab.config import ConfigError
from facog_lab.data import builtin, decode, files, listing
from facog_lab.data.files import DataError
from facog_lab.data.load import load
from facog_lab.dictionary import FeatureDictionary
from facog_lab.runs import presets, store
from facog_lab.settings import DataConfig, Phase2Config
from facog_lab.ui import parameters


def picture(number, mode="RGB", size=(12, 12)):
    """A picture of its own for every number."""
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65535, size[::-1], dtype=np.uint16))
    return image.convert(mode)


def encoded(number, mode="RGB", size=(12, 12)):
    stream = io.BytesIO()
    picture(number, mode, size).save(stream, "PNG")
    return stream.getvalue()


def tree(**changes):
    """Files of a good data set by name, with some changed; None takes one away."""
    places = [
        f"{half}/{name}/{i}.png"
        for half, count in (("train", 6), ("test", 3))
        for name in ("cat", "dog", "emu")
        for i in range(count)
    ]
    good = {place: encoded(number) for number, place in enumerate(places)}
    return {name: content for name, content in (good | changes).items() if content is not None}


def as_folder(content, where):
    for name, data in content.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(data)
    return where


def as_zip(content, where):
    path = where.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def as_lists(content, where):
    """The same images, named by lists as ImageNet-LT's are."""
    as_folder(content, where)
    labels = {"cat": 0, "dog": 1, "emu": 2}
    for half in ("train", "test"):
        lines = [
            f"{name} {labels[name.split('/')[1]]}" for name in content if name.startswith(half)
        ]
        (where / f"ImageNet_LT_{half}.txt").write_text("\n".join(lines))
    return where


WAYS = {"folder": as_folder, "zip": as_zip, "lists": as_lists}


def asked(way, path):
    if way == "lists":
        data = {"dataset": "imagenet_lt", "image_root": str(path), "profile": "as_found"}
    else:
        data = {"dataset": f"folder:{path}", "profile": "as_found"}
    return DataConfig(image_size=12, **data)


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def fails(way, tmp_path, outputs):
    """Expects an error that names the cause, and nothing left behind."""

    def check(content, message, path=None):
        path = path or WAYS[way](content, tmp_path / "pets")
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises((DataError, ConfigError), match=message):
            _ = load(asked(way, path)).images[:]
        assert sorted(tmp_path.rglob("*")) == before
        assert not outputs.exists()

    return check


def test_the_good_data_set_is_good(way, tmp_path):
    data = load(asked(way, WAYS[way](tree(), tmp_path / "pets")))
    assert data.class_counts.tolist() == [6, 6, 6]
    assert data.class_names == ("cat", "dog", "emu")


BROKEN = {
    "cut off": encoded(1)[: len(encoded(1)) // 2],
    "empty": b"",
    "text": b"no image at all",
    "of a format that runs programs": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "bad checksum": encoded(1)[:60] + b"\xff\xff\xff\xff" + encoded(1)[64:],
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("half", ["train", "test"])
def test_a_broken_image(kind, half, fails):
    name = f"{half}/dog/2.png"
    fails(tree(**{name: BROKEN[kind]}), rf"{name}: cannot be decoded .* Replace the file or delete")


def test_a_huge_image(fails, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    content = tree(**{"train/dog/2.png": encoded(1, size=(50, 50))})
    fails(content, r"train/dog/2.png: cannot be decoded \(50 × 50 pixels, above 1,000\)")


def test_one_image_under_two_labels(way, fails):
    if way == "lists":
        pytest.skip("published lists stay as they were published")
    content = tree()
    content["train/emu/5.png"] = content["train/cat/0.png"]
    content["train/emu/4.png"] = content["train/cat/1.png"]
    fails(content, r"2 image\(s\) in the classes 'cat' and 'emu', for instance train/cat/1.png and "
          r"train/emu/4.png, which are the same file. Delete one")  # fmt: skip


def test_train_and_test_overlap(way, fails):
    if way == "lists":
        pytest.skip("published lists stay as they were published")
    content = tree()
    content["test/dog/0.png"] = content["train/dog/3.png"]
    fails(content, r"1 image\(s\) for training and for testing, for instance train/dog/3.png and "
          r"test/dog/0.png")  # fmt: skip


def test_copies_within_a_class_are_no_error(tmp_path):
    content = tree()
    content["train/dog/0.png"] = content["train/dog/3.png"]
    assert len(load(asked("folder", as_folder(content, tmp_path / "pets"))).labels) == 18


def test_a_class_without_images(way, fails, tmp_path):
    content = {name: data for name, data in tree().items() if not name.startswith("train/emu")}
    if way == "lists":
        fails(content, r"ImageNet_LT_test.txt: label 2, but ImageNet_LT_train.txt has no image")
    else:
        fails(content, r"class 'emu' has images in test/ but no folder in train/")


@pytest.mark.parametrize("way", ["folder", "zip"])
def test_an_empty_class_folder(way, tmp_path):
    path = as_folder(tree(), tmp_path / "pets")
    if way == "folder":
        (path / "train" / "fox").mkdir()
    else:
        content = {**tree(), "train/fox/": b""}
        path = as_zip(content, tmp_path / "pets")
    with pytest.raises(DataError, match=r"fox: a class without images. Add some"):
        load(asked(way, path))


@pytest.mark.parametrize("way", ["folder", "zip"])
def test_one_image_and_no_test_folder(way, tmp_path):
    content = {name[6:]: data for name, data in tree().items() if name.startswith("train/")}
    content = {name: data for name, data in content.items() if name[:3] != "emu" or "/0" in name}
    path = WAYS[way](content, tmp_path / "pets")
    with pytest.raises(DataError, match="class 'emu' has one image, and there is no test folder"):
        load(asked(way, path))


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_of_one_or_two_images_runs_to_its_end_and_repetition_is_said(
    count, tmp_path, outputs, capsys
):
    content = tree()
    for i in range(count, 6):
        del content[f"train/emu/{i}.png"]
    path = as_folder(content, tmp_path / "pets")
    settings = presets.experiment(
        data={"dataset": f"folder:{path}", "image_size": 12},
        phase1={"epochs": 2, "warmup_epochs": 0, "batch_size": 8},
        phase2={"epochs": 2, "n_s": 5},
    )
    training = runs.open(settings, "cpu").phase2
    training.finish()
    said = f"n_s = 5, and class 'emu' has {count} feature(s): where a class has fewer than n_s"
    assert said in capsys.readouterr().out
    assert training.loop.step == training.loop.total_steps
    assert np.isfinite(training.history["steps"]["loss_cls"]).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "I;16", "CMYK"])
def test_grey_alpha_palette_and_16_bit_images_are_read(mode, way, tmp_path):
    stream = io.BytesIO()
    picture(5, mode).save(stream, "TIFF" if mode == "CMYK" else "PNG")
    content = tree(**{"train/dog/2.png": stream.getvalue()})
    data = load(asked(way, WAYS[way](content, tmp_path / "pets")))
    assert data.images[:].dtype == torch.uint8
    assert data.images[:].shape == (18, 3, 12, 12)


@pytest.mark.parametrize(
    ("label", "number"),
    [("-1", 2), ("1.5", 2), ("", 2), ("nan", 2), ("1e3", 2), ("٣", 2), ("9999999999", 2)],
)
def test_labels_that_are_no_labels(label, number, tmp_path):
    path = as_lists(tree(), tmp_path / "pets")
    file = path / "ImageNet_LT_train.txt"
    lines = file.read_text().splitlines()
    lines[number - 1] = f"{lines[number - 1].split()[0]} {label}".strip()
    file.write_text("\n".join(lines))
    with pytest.raises(
        DataError, match=rf"ImageNet_LT_train.txt, line {number}: .* Mend or remove"
    ):
        load(asked("lists", path))


def test_labels_with_gaps_are_mapped_once_and_the_mapping_is_kept(tmp_path):
    path = as_lists(tree(), tmp_path / "pets")
    (path / "flat").mkdir()
    for half in ("train", "test"):
        file = path / f"ImageNet_LT_{half}.txt"
        lines = []
        for i, line in enumerate(file.read_text().splitlines()):
            name, label = line.split()
            (path / "flat" / f"{half}{i}.png").write_bytes((path / name).read_bytes())
            lines.append(f"flat/{half}{i}.png {7 * int(label) + 3}")
        file.write_text("\n".join(lines))
    data = load(asked("lists", path))
    assert data.class_names == ("3", "10", "17")
    assert data.labels.unique().tolist() == data.test_labels.unique().tolist() == [0, 1, 2]
    assert data.class_counts.tolist() == [6, 6, 6]


@pytest.mark.parametrize("line", ["../out.png 0", "/etc/passwd 0", "train/cat/../../x.png 1"])
def test_lists_do_not_lead_out_of_their_folder(line, tmp_path):
    path = as_lists(tree(), tmp_path / "pets")
    file = path / "ImageNet_LT_test.txt"
    file.write_text(file.read_text() + "\n" + line)
    with pytest.raises(DataError, match=r"ImageNet_LT_test.txt, line 10"):
        load(asked("lists", path))


def test_an_empty_folder_and_a_file_where_a_folder_is_meant(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(encoded(1))
    with pytest.raises(DataError, match=r"empty: too few classes \(0\)"):
        load(asked("folder", tmp_path / "empty"))
    for path in (tmp_path / "file.png", tmp_path / "nowhere"):
        with pytest.raises(DataError, match=rf"{path.name}: no such folder or .zip file"):
            load(asked("folder", path))
    with pytest.raises(DataError, match="is no folder"):
        load(asked("lists", tmp_path / "file.png"))
    (tmp_path / "cut.zip").write_bytes(as_zip(tree(), tmp_path / "whole").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cut\.zip: not a whole zip"):
        load(asked("zip", tmp_path / "cut.zip"))


def test_idx_files_of_the_mnist_family(tmp_path):
    broken = tmp_path / "train-images-idx3-ubyte"
    broken.write_bytes(b"\x00\x00\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff")
    with pytest.raises(DataError, match="damaged"):
        builtin.read_idx(broken)


# Features


def built(**changes):
    of = tiny.dictionary((6, 3, 2))
    base = {
        "features": of.features,
        "labels": of.labels,
        "images": of.images,
        "class_names": of.class_names,
        "test_features": of.test_features,
        "test_labels": of.test_labels,
    }
    return FeatureDictionary.build(**base | changes)


def spoilt(tensor, value):
    changed = tensor.clone()
    changed[1] = value
    return changed


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("labels", lambda t: spoilt(t, -1), "training label -1: labels must be whole numbers from"),
        ("labels", lambda t: spoilt(t, 3), "training label 3: .* 0 to 2"),
        ("labels", lambda t: t.float() + 0.5, "training label 0.5"),
        ("labels", lambda t: t[:-1], "as many of each"),
        ("labels", lambda t: t.clamp(max=1), "'class 2' has no feature"),
        ("test_labels", lambda t: spoilt(t, 7), "test label 7"),
        ("features", lambda t: spoilt(t, np.nan), "feature 1 holds NaN or infinity"),
        ("features", lambda t: spoilt(t, np.inf), "feature 1 holds NaN or infinity"),
        ("test_features", lambda t: spoilt(t, np.nan), "test feature 1 holds NaN or infinity"),
    ],
)
def test_dictionaries(field, change, message):
    with pytest.raises(ValueError, match=message):
        built(**{field: change(getattr(tiny.dictionary((6, 3, 2)), field))})


def test_n_s_above_the_class_draws_with_replacement_and_below_it_without():
    of = tiny.dictionary((40, 4, 2))
    rng = torch.Generator().manual_seed(0)
    rows = of.draw(torch.tensor([0] * 50 + [1] * 50 + [2] * 50), 4, rng)
    distinct = [len(set(row)) for row in rows.tolist()]
    assert set(distinct[:100]) == {4}
    assert max(distinct[100:]) <= 2


def test_arrays():
    sampler = pytest.importorskip("facog_lab.estimators.oversampler")
    make = sampler.FeatureOversampler("smote", random_state=0)
    good = np.random.default_rng(0).normal(size=(12, 2)), np.array([0] * 9 + [1] * 3)
    for values, labels, message in (
        (np.where(good[0] > 1, np.nan, good[0]), good[1], "NaN"),
        (good[0] * np.inf, good[1], "infinity|NaN"),
        (good[0], good[1][:-1], "inconsistent numbers of samples"),
        (good[0], good[1] + 0.5, "Unknown label type|continuous"),
        (good[0], good[1] * 0, "needs to have more than 1 class"),
    ):
        with pytest.raises(ValueError, match=message):
            make.fit_resample(values, labels)
    _, balanced = make.fit_resample(good[0], np.where(good[1] == 0, -5, 300))  # kept as they are
    assert dict(zip(*np.unique(balanced, return_counts=True), strict=True)) == {-5: 9, 300: 9}


def test_every_way_in_is_named_by_the_notebooks_parameter(tmp_path, outputs):
    """From the parameters of a notebook on, nothing is made when the data are bad."""
    content = tree(**{"train/dog/2.png": b""})
    path = as_folder(content, tmp_path / "pets")
    settings = parameters.from_values({"dataset": f"folder:{path}", "image_size": 12}, "phase2")
    lab = runs.open(settings, "cpu")
    for ask in (lambda: lab.phase1, lambda: lab.phase2, lambda: lab.dictionary, lab.compare):
        with pytest.raises(DataError, match=re.escape("train/dog/2.png: cannot be decoded")):
            ask()
    assert not outputs.exists()


def test_the_limits_are_what_the_table_says():
    assert (listing.MAX_FILES, files.MAX_FILE_BYTES) == (3_000_000, 2**26)
    assert (files.MAX_COMPRESSION, files.MAX_OWN_BYTES) == (200, 2**30)
    assert (listing.MAX_FOLDERS, listing.MAX_DEPTH, listing.MAX_WAYS) == (300_000, 64, 16)
    assert (files.MAX_DIRECTORY_BYTES, decode.MAX_PIXELS) == (24 * 2**20, 50_000_000)
    assert Phase2Config is Phase2Config
    assert issubclass(store.DamagedError, store.StoreError)
