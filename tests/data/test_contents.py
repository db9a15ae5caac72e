"""What files hold, as hashes that are kept: never of another content than what is there."""

import hashlib
import json
import os
import shutil
import zipfile

import pytest

from facog_lab.data import contents, files
from facog_lab.data.listing import DataError

NAMES = ["a/0.png", "a/1.png", "b/0.png"]
LONG_AGO = 10**18  # ns: in 2001


@pytest.fixture
def folder(tmp_path, outputs, monkeypatch):
    monkeypatch.setattr(contents, "WORTH_KEEPING", 1)
    monkeypatch.setattr(contents, "SETTLED_NS", 0)  # else ctime, which is now, is too fresh
    for i, name in enumerate(NAMES):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(f"image {i}".encode())
        os.utime(tmp_path / "pets" / name, ns=(LONG_AGO, LONG_AGO))
    return tmp_path / "pets"


@pytest.fixture
def read(monkeypatch):
    """The names of files that are read, in an order of threads."""
    names, really = [], contents._hash
    monkeypatch.setattr(
        contents, "_hash", lambda of, name: (names.append(name), really(of, name))[1]
    )
    return names


def hashes(path, names=NAMES):
    return contents.hashes(files.open_files(path), names)


def test_they_are_of_what_the_files_hold(folder):
    expected = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES]
    assert hashes(folder) == expected == hashes(folder)
    shutil.make_archive(str(folder), "zip", folder)
    assert hashes(folder.with_suffix(".zip")) == expected


def test_a_file_is_read_once(folder, read):
    first = hashes(folder)
    assert sorted(read) == NAMES
    assert hashes(folder) == first
    assert hashes(folder, NAMES[1:]) == first[1:]
    assert len(read) == 3


@pytest.mark.parametrize("way", ["written over", "replaced", "changed under its old times"])
def test_another_content_of_the_same_size_is_read(way, folder, read):
    before = hashes(folder)
    read.clear()
    path = folder / NAMES[1]
    if way == "replaced":
        (folder / "new").write_bytes(b"IMAGE 1")
        os.utime(folder / "new", ns=(LONG_AGO, LONG_AGO))
        (folder / "new").replace(path)
    else:
        path.write_bytes(b"IMAGE 1")
    if way == "changed under its old times":
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    after = hashes(folder)
    assert read == [NAMES[1]]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_another_zip_is_read_anew(folder, read):
    path = folder.with_suffix(".zip")
    for content in (b"image", b"IMAGE"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/0.png", content)
        assert hashes(path, ["a/0.png"]) == [hashlib.sha256(content).hexdigest()]
    assert len(read) == 2


def test_what_was_changed_just_now_is_not_kept(folder, read, monkeypatch):
    monkeypatch.setattr(contents, "SETTLED_NS", 10**11)
    assert hashes(folder) == hashes(folder)
    assert len(read) == 6


def test_little_is_not_kept(folder, read, outputs, monkeypatch):
    monkeypatch.setattr(contents, "WORTH_KEEPING", 2**26)
    assert hashes(folder) == hashes(folder)
    assert len(read) == 6
    assert not outputs.exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"[" * 100_000, b'{"a/0.png": 1}', b'{"a/0.png": [[1], "x"]}',
     b'{"a/0.png": [["x", 1, 1, 1], "x"]}'],
)  # fmt: skip
def test_a_damaged_file_of_hashes_costs_a_second_look(damage, folder, read, outputs):
    first = hashes(folder)
    (kept,) = (outputs / ".contents").iterdir()
    assert len(json.loads(kept.read_bytes())) == 3
    kept.write_bytes(damage)
    assert hashes(folder) == first
    assert len(read) == 6
    assert len(json.loads(kept.read_bytes())) == 3


def test_without_a_place_to_keep_them(folder, read, outputs):
    outputs.write_text("a file where the folder would be")
    assert hashes(folder) == hashes(folder)
    assert len(read) == 6


def test_missing_files_are_counted(folder):
    with pytest.raises(DataError, match=r"x.png: listed, but missing .*of 2 of 4 files. Add the f"):
        hashes(folder, ["x.png", "y.png", *NAMES[:2]])
