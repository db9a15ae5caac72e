"""The look at one's own data: what it says, where it is kept, and that good data stay as they were.

tests/faults/test_data_kinds.py has what is said of some hundred kinds of folders.
"""

import io
import json
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from facog_lab import runs
from facog_lab.data import decode
from facog_lab.data.layout import NO_IMAGES
from facog_lab.data.listing import DataError
from facog_lab.data.load import fingerprint, load
from facog_lab.runs import presets
from facog_lab.settings import DataConfig

TRAIN, TEST = {"cat": 9, "dog": 6, "emu": 3}, {"cat": 2, "dog": 2, "emu": 2}


def encoded(seed, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(stream, "PNG")
    return stream.getvalue()


def content(halves, mode="RGB"):
    """Files by name: halves give the number of images of each class."""
    places = [
        f"{half}{name}/{i:02}.png"
        for half, counts in halves.items()
        for name, count in counts.items()
        for i in range(count)
    ]
    return {place: encoded(number, mode) for number, place in enumerate(places)}


def as_folder(files, where):
    for name, data in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(data)
    return where


def as_zip(files, where):
    path = where.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def pets(tmp_path):
    return as_folder(content({"train/": TRAIN, "test/": TEST}), tmp_path / "pets")


def asked(path, **settings):
    return DataConfig(dataset=f"folder:{path}", **{"profile": "as_found"} | settings)


# Fingerprints, as_found and exponential, before there was an audit: keys of runs are made of them.
GOOD = {
    "train and test": ({"train/": TRAIN, "test/": TEST}, "430b14aa9ce010cd", "2964aaa936f3369e"),
    "train and val": ({"train/": TRAIN, "val/": TEST}, "430b14aa9ce010cd", "2964aaa936f3369e"),
    "all three": (
        {"train/": TRAIN, "test/": TEST, "val/": TEST},
        "430b14aa9ce010cd",
        "2964aaa936f3369e",
    ),
    "train alone": ({"train/": TRAIN}, "688a0515d578d61e", "3b3711e7ab5423e0"),
    "classes": ({"": TRAIN}, "688a0515d578d61e", "3b3711e7ab5423e0"),
    "classes in a folder": ({"a/b/": TRAIN}, "688a0515d578d61e", "3b3711e7ab5423e0"),
    "halves in a folder": (
        {"a/train/": TRAIN, "a/test/": TEST},
        "430b14aa9ce010cd",
        "2964aaa936f3369e",
    ),
    "deeper": (
        {"train/": {"cat/x": 4, "cat/y/z": 3, "dog": 5}, "test/": {"cat": 2, "dog": 2}},
        "bb150490fef0a882",
        "cfd48b9e370ac0ef",
    ),
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("way", [as_folder, as_zip])
def test_good_data_have_the_bytes_that_they_had(kind, way, tmp_path):
    halves, as_found, exponential = GOOD[kind]
    path = way(content(halves), tmp_path / "pets")
    assert load(asked(path)).fingerprint.startswith(as_found)
    thinned = asked(path, profile="exponential", imbalance_ratio=4, split_seed=3)
    assert load(thinned).fingerprint.startswith(exponential)


def test_good_grey_data_and_lists_have_the_bytes_that_they_had(tmp_path):
    files = content({"train/": TRAIN, "test/": TEST}, "L")
    assert load(asked(as_folder(files, tmp_path / "l"))).fingerprint.startswith("a7cc7106ddeae0a8")
    files = content({"train/": TRAIN, "test/": TEST})
    root = as_folder(files, tmp_path / "pets")
    for half in ("train", "test"):
        lines = [f"{n} {sorted(TRAIN).index(n.split('/')[1])}" for n in files if half in n]
        (root / f"ImageNet_LT_{half}.txt").write_text("\n".join(lines))
    config = DataConfig(
        dataset="imagenet_lt", image_root=str(root), image_size=12, profile="as_found"
    )
    assert load(config).fingerprint.startswith("430b14aa9ce010cd")


def test_published_sets_are_as_they_were_and_nothing_is_said(capsys):
    said = []
    digits = load(DataConfig(), report=said.append)
    assert digits.fingerprint.startswith("4011962fb4042971")
    assert digits.audit is None
    assert said == []


# What is said


def test_it_is_said_by_loading_and_kept_in_the_record(pets, outputs, capsys):
    (pets / "readme.txt").write_text("pets")
    (pets / "train" / "cat" / "00.png").with_name("copy.png").write_bytes(encoded(0))
    settings = presets.experiment(
        data={"dataset": f"folder:{pets}"},
        phase1={"epochs": 1, "warmup_epochs": 0, "batch_size": 8},
    )
    training = runs.open(settings, "cpu").phase1
    assert capsys.readouterr().out == (
        "pets, looked through:\n"
        "  layout    train/<class>/* and test/<class>/*\n"
        "  classes   3: cat, dog, emu\n"
        "  training  19 images, 10 to 3 of each class\n"
        "  test      6 images, 2 of each class; from test/\n"
        "  images    12×12 pixels, used at 12×12, RGB\n"
        "  not used  readme.txt: of no format that is read; save pictures as JPEG or PNG (1 .txt)\n"
        "  copies    1 image(s) more than once in a class, for instance train/cat/00.png = "
        "train/cat/copy.png\n"
    )
    training.finish()
    audit = training.run.load().record["audit"]
    assert audit["classes"] == {"cat": [10, 2], "dog": [6, 2], "emu": [3, 2]}
    assert audit["not_used"] == {NO_IMAGES: {"count": 1, "first": ["readme.txt"]}}
    assert audit["alarms"] == []
    assert audit == json.loads(json.dumps(load(settings.data).audit.as_dict()))


def test_the_record_of_a_published_set_has_no_audit(outputs):
    settings = presets.experiment(phase1={"epochs": 1, "warmup_epochs": 0})
    training = runs.open(settings, "cpu").phase1
    training.finish()
    assert "audit" not in training.run.load().record


def test_a_page_shows_it_as_a_table_and_names_as_text(tmp_path):
    odd = {"<script>alert(1)</script>": 2, "dog": 2}
    data = load(asked(as_folder(content({"": odd}), tmp_path / "<b>pets")))
    page = data.audit._repr_html_()
    assert page.count("<tr>") == len(list(data.audit.rows()))
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page
    assert str(data.audit) == repr(data.audit)


def test_thousands_of_classes_and_files_are_said_in_few_words(tmp_path):
    files = content({"": {f"class {i:04}": 2 for i in range(300)}})
    files |= {f"class 0000/{i}.txt": b"" for i in range(500)}
    files |= {f"class 0001/{i}.{i}": b"" for i in range(50)}
    audit = load(asked(as_zip(files, tmp_path / "many"))).audit
    assert len(str(audit)) < 1200
    assert len(json.dumps(audit.as_dict())) < 12_000
    assert "(500 .txt, " in str(audit)
    assert "class 0000, class 0001, class 0002 and 297 more" in str(audit)


# Copies


def test_copies_that_the_profile_leaves_out_are_said_and_no_error(pets):
    (pets / "train" / "dog" / "x.png").write_bytes(encoded(0))
    words = r"1 image\(s\) in the classes 'cat' and 'dog'"
    with pytest.raises(DataError, match=words):
        load(asked(pets))
    left_out, kept = (
        asked(pets, profile="exponential", imbalance_ratio=9, split_seed=seed) for seed in (1, 3)
    )
    assert re.search(rf"⚠ +{words}", str(load(left_out).audit))
    with pytest.raises(DataError, match=words):
        load(kept)


# Fingerprints of contents


@pytest.fixture
def in_files(monkeypatch):
    """As if these data were too large for memory."""
    monkeypatch.setattr(decode, "DECODE_AT_MOST", 0)


@pytest.mark.parametrize("half", ["train", "test"])
def test_a_large_folder_is_known_by_what_its_files_hold(half, pets, outputs, in_files):
    before = load(asked(pets))
    assert not isinstance(before.images, torch.Tensor)
    assert load(asked(pets)).fingerprint == before.fingerprint
    path = pets / half / "cat" / "01.png"
    raw = bytearray(path.read_bytes())
    raw[-20] ^= 1
    path.write_bytes(raw)  # of the same name and size
    after = load(asked(pets))
    assert after.split_hash == before.split_hash
    assert after.fingerprint != before.fingerprint


def test_a_data_set_has_one_fingerprint_whatever_is_kept_of_it(pets, outputs):
    found = fingerprint(asked(pets))
    other = asked(pets, profile="exponential", imbalance_ratio=4, split_seed=3)
    assert fingerprint(other) == found
    assert fingerprint(DataConfig()) == fingerprint(DataConfig(split_seed=1))
    assert len({found, fingerprint(DataConfig())}) == 2
    (pets / "train" / "cat" / "01.png").write_bytes(encoded(10**6))
    changed = fingerprint(asked(pets))
    assert changed != found
    (pets / "train" / "dog").rename(pets / "train" / "fox")
    (pets / "test" / "dog").rename(pets / "test" / "fox")
    assert fingerprint(asked(pets)) not in (found, changed)
