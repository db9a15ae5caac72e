"""The points of a grid: names, values, keys, and rows that are whole or not there."""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_files import write_idx
from PIL import Image
from tiny import notebook

from facog_lab import paths
from facog_lab.config import ConfigError
from facog_lab.data import builtin, places
from facog_lab.paths import StoreError
from facog_lab.study import run_notebook, sweep_points
from facog_lab.study.sweep_points import points as made

PARAMETERS = """from_: int = 0
n: int = 1  # a number
ratio: Optional[float] = None  # of something
name: str = "a"
on: bool = False
sizes: list[int] = [1, 2]
plain = 3"""


@pytest.fixture
def book(tmp_path, outputs):
    return notebook(tmp_path / "book.ipynb", "print(n)", parameters=PARAMETERS)


def test_a_grid_is_every_combination_the_last_name_fastest(book):
    found = [p.values for p in made(book, {"n": [1, 2], "name": ["x", "y"]}, {"on": True})]
    product = itertools.product([1, 2], "xy")
    assert found == [{"on": True, "n": n, "name": name} for n, name in product]


def test_texts_become_values_of_the_parameters_types(book):
    (point,) = made(
        book, {"n": ["5"], "ratio": ["1e-3"], "name": ["7"], "on": ["true"], "plain": ["4"]}
    )
    assert point.values == {"n": 5, "ratio": 0.001, "name": "7", "on": True, "plain": 4}
    (point,) = made(book, {"ratio": ["None"], "name": ["None"], "sizes": [[3]]})
    assert point.values == {"ratio": None, "name": "None", "sizes": [3]}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"nn": [1]}, "no parameter of book.ipynb named 'nn'. Did you mean 'n'.* Known: from_, n"),
        ({"n": ["five"]}, "n = 'five': not allowed, book.ipynb has n: int. Give a value"),
        ({"n": [1, 2.5]}, "n = 2.5: not allowed"),
        ({"n": [True]}, "n = True: not allowed"),
        ({"ratio": ["nan"]}, r"ratio = 'nan': not allowed, .* ratio: Optional\[float\]"),
        ({"n": [None]}, "n = None: not allowed"),
        ({"n": []}, r"n = \[\]: give a list of values"),
        ({"n": 5}, "n = 5: give a list of values"),
        ({"name": "ab"}, "name = 'ab': give a list of values"),
    ],
)
def test_bad_names_and_values(book, outputs, grid, message):
    with pytest.raises(ConfigError, match=message):
        made(book, grid)
    assert not outputs.exists()


def test_all_that_is_wrong_is_said_at_once(book):
    with pytest.raises(ConfigError) as error:
        made(book, {"n": ["a", "b"], "other": [1]})
    assert len(str(error.value).splitlines()) == 3


def test_a_grid_of_more_points_than_can_be_run_is_refused_at_once(book, outputs):
    grid = {"n": list(range(10_000)), "plain": list(range(10_000)), "from_": list(range(10_000))}
    with pytest.raises(ConfigError, match=r"grid: 1,000,000,000,000 points, and at most 1,000,000"):
        made(book, grid)
    assert not outputs.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no JSON", "no notebook of Jupyter's format 4"),
        ('{"cells": 3}', "no notebook of Jupyter's format 4"),
        ('{"cells": []}', "has no parameters to sweep over: give one code cell the tag"),
    ],
)
def test_what_is_no_notebook(tmp_path, outputs, content, message):
    path = tmp_path / "book.ipynb"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        made(path, {"n": [1]})


def test_a_notebook_that_is_not_there_and_one_that_computes_its_parameters(tmp_path, outputs):
    with pytest.raises(ConfigError, match=r"nowhere.ipynb: cannot be read \(No such file"):
        made(tmp_path / "nowhere.ipynb", {})
    book = notebook(tmp_path / "book.ipynb", parameters="n: int = open('x').read()")
    with pytest.raises(ConfigError, match="no parameters to sweep over"):
        made(book, {"n": [1]})


def test_a_notebook_of_the_lab_is_known_by_its_name(outputs):
    (point,) = made("03_phase2.ipynb", {"n_s": [3]})
    assert point.source.read_text().startswith("{")
    assert point.cwd.name == "notebooks"


def test_a_key_is_the_code_and_all_parameters(book, tmp_path):
    def key(grid=None, source="print(n)", parameters=PARAMETERS):
        notebook(book, source, parameters=parameters)
        (point,) = made(book, grid or {})
        return point.key

    usual = key()
    assert key({"n": [1]}) == usual  # the notebook's own value
    assert key(parameters=PARAMETERS.replace("a number", "a count")) == usual
    others = [
        key({"n": [2]}),
        key(source="print(n + 1)"),
        key(parameters=PARAMETERS.replace('"a"', '"b"')),
    ]
    assert len({usual, *others}) == 4


def test_equal_points_are_one(book):
    assert len(made(book, {"n": [1, "1", 2]})) == 2


def test_the_notebook_may_change_while_its_points_run(book):
    before = book.read_text()
    (point,) = made(book, {"n": [2]})
    notebook(book, "print(n + 1)")
    assert point.source.read_text() == before


def test_rows_are_whole_or_not_there(book):
    (point,) = made(book, {"n": [2]})
    assert point.row() is None
    kept = point.kept(scores={"acsa": 0.5}, seconds=1.0)
    assert point.row() == kept
    assert kept["executed"] == ""  # there is none
    path = point.folder / "row.json"
    whole = json.loads(path.read_text())
    for damaged in ("", "{", json.dumps(whole | {"key": "another"}), json.dumps(whole)[:40]):
        path.write_text(damaged)
        assert point.row() is None


def test_parameters_are_the_environment_of_all_runs(book, outputs, monkeypatch):
    monkeypatch.setenv("FACOG_DATA", "/somewhere")
    monkeypatch.setenv("OTHER", "1")
    (point,) = made(book, {})
    own = {k: v for k, v in point.environment.items() if k in ("FACOG_DATA", "FACOG_OUTPUTS")}
    assert own == {"FACOG_DATA": "/somewhere", "FACOG_OUTPUTS": str(outputs)}
    assert "OTHER" not in point.environment
    assert sweep_points.said({"n": 1, "a": "b"}) == "n=1, a=b"


FORGED = {
    "a list": "[]",
    "null": "null",
    "no scores": lambda row: row.pop("scores"),
    "scores in a list": lambda row: row.update(scores=[1]),
    "a score that is a list": lambda row: row.update(scores={"acsa": [0.9]}),
    "an error that is a number": lambda row: row.update(error=0),
    "no error": lambda row: row.pop("error"),
    "seconds in words": lambda row: row.update(seconds="<b>9</b>"),
    "another format": lambda row: row.update(format=1),
    "a score that is no number": lambda row: row.update(scores={"acsa": float("nan")}),
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_no_row_is_none(kind, book):
    (point,) = made(book, {"n": [2]})
    row = point.kept(scores={"acsa": 0.5}, seconds=1.0)
    change = FORGED[kind]
    path = point.folder / "row.json"
    if isinstance(change, str):
        path.write_text(change)
    else:
        change(row)
        path.write_text(json.dumps(row))
    assert point.row() is None


@pytest.mark.parametrize("thing", ["pipe", "folder", "device"])
def test_a_row_or_a_notebook_that_is_no_file_is_not_waited_for(thing, book, tmp_path):
    (point,) = made(book, {"n": [2]})
    point.folder.mkdir()
    put = {
        "pipe": os.mkfifo,
        "folder": os.mkdir,
        "device": lambda path: os.symlink("/dev/zero", path),
    }[thing]
    put(point.folder / "row.json")
    assert point.row() is None
    put(tmp_path / "thing.ipynb")
    with pytest.raises(ConfigError, match=r"(thing\.ipynb|/dev/zero): is no file"):
        made(tmp_path / "thing.ipynb", {})


def test_a_row_has_the_values_that_this_sweep_gives(book):
    """Points of one key may be given by other names: some are the notebook's own values."""
    (one,) = made(book, {"n": [1]})
    one.kept(scores={"acsa": 0.5})
    (other,) = made(book, {"n": [1], "name": ["a"], "on": [False]})
    assert other.key == one.key
    assert other.row()["values"] == {"n": 1, "name": "a", "on": False}


# Where nothing can be written


def test_a_row_that_cannot_be_kept_says_so(book, monkeypatch):
    (point,) = made(book, {"n": [2]})

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sweep_points, "write", full)
    row = point.kept(scores={"acsa": 0.5}, error="cell failed", seconds=1.0)
    assert row["scores"] == {"acsa": 0.5}
    assert row["error"].startswith(f"cell failed Not kept: {point.folder}: nothing was saved (No ")
    assert row["error"].endswith("name another folder in FACOG_OUTPUTS.")
    assert point.row() is None


@pytest.mark.parametrize("place", ["outputs", "sweeps", "book", ".locks"])
def test_a_file_in_the_place_of_a_folder(place, book, outputs):
    folders = {"sweeps": outputs / "sweeps", "book": outputs / "sweeps" / "book",
               ".locks": outputs / ".locks"}  # fmt: skip
    path = folders.get(place, outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")
    with (
        pytest.raises(StoreError, match=rf"{path} is a file, and a folder belongs there"),
        made(book, {})[0].alone(),
    ):
        pass


@pytest.fixture
def read_only(book, outputs, monkeypatch):
    """A sweep whose folder can no longer be written: for root, too."""
    todo = made(book, {"n": [1, 2]})
    todo[0].kept(scores={"acsa": 0.5})

    def refuse(path, *_, real=os.mkdir, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for owner, name in ((Path, "mkdir"), (sweep_points, "write")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(paths.FileLock, "acquire", refuse)
    return todo


def test_what_was_run_is_read_from_a_folder_that_cannot_be_written(read_only, book):
    assert [p.key for p in made(book, {"n": [1, 2]})] == [p.key for p in read_only]
    assert read_only[0].row()["scores"] == {"acsa": 0.5}
    notebook(book, "print(n, 'changed')", parameters=PARAMETERS)
    with pytest.raises(StoreError, match=r"nothing was saved \(Read-only file system\)"):
        made(book, {"n": [1]})


def test_a_point_there_is_a_failed_row(read_only):
    row = run_notebook.run(read_only[1])
    assert "nothing was saved (Read-only file system)" in row["error"]
    assert row["scores"] == {}


# The data that a point is a result of

ABOUT_DATA = (
    PARAMETERS
    + """
dataset: str = "digits"
image_root: Optional[str] = None
imbalance_ratio: Optional[float] = None"""
)


def key_of(book, **values):
    (point,) = made(book, {name: [value] for name, value in values.items()})
    return point.key


@pytest.fixture
def about_data(tmp_path, outputs):
    return notebook(tmp_path / "book.ipynb", "print(n)", parameters=ABOUT_DATA)


def changed_into_noise(path):
    """The same file, of the same name, size and time, with other pixels."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-40:] = bytes(255 - byte for byte in content[-40:])
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_images_that_were_replaced_make_another_point(about_data, tmp_path):
    pets = tree_of_bitmaps(tmp_path / "pets")
    dataset = f"folder:{pets}"
    before = key_of(about_data, dataset=dataset)
    assert key_of(about_data, dataset=dataset) == before
    changed_into_noise(pets / "train" / "cat" / "0.bmp")
    after = key_of(about_data, dataset=dataset)
    assert after != before
    changed_into_noise(pets / "test" / "dog" / "0.bmp")
    assert key_of(about_data, dataset=dataset) not in (before, after)
    assert key_of(about_data, dataset="digits") not in (before, after)


def tree_of_bitmaps(where):
    rng = np.random.default_rng(0)
    for half in ("train", "test"):
        for name in ("cat", "dog"):
            (where / half / name).mkdir(parents=True)
            for i in range(3):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(where / half / name / f"{i}.bmp")
    return where


def test_files_of_a_published_set_that_were_replaced_make_another_point(
    about_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("FACOG_DATA", str(tmp_path))
    monkeypatch.setattr(places, "PACKAGED", tmp_path / "none")
    for module in (builtin, places):
        monkeypatch.setattr(module, "project_root", lambda: tmp_path / "none")
    keys = set()
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "mnist", ignore_errors=True)
        write_idx(tmp_path / "mnist", seed)
        keys.add(key_of(about_data, dataset="mnist"))
        keys.add(key_of(about_data, dataset="mnist"))
    assert len(keys) == 2


def test_another_version_of_the_lab_makes_another_point(about_data, book, monkeypatch):
    before = key_of(about_data), key_of(book)
    monkeypatch.setattr(sweep_points, "__version__", "another")
    assert not {key_of(about_data), key_of(book)} & set(before)


def test_data_that_cannot_be_read_are_the_points_own_error(about_data, monkeypatch):
    """It is run, and says what is wrong; data are looked at once for all points of a grid."""
    looks = []
    monkeypatch.setattr(sweep_points, "fingerprint", lambda *a, **k: looks.append(a) or "same")
    assert len(made(about_data, {"n": [1, 2, 3], "imbalance_ratio": [2.0, 3.0]})) == 6
    assert len(looks) == 1
    monkeypatch.undo()
    for dataset in ("folder:/nowhere", "cifar11", "folder:"):
        key_of(about_data, dataset=dataset)


def test_relative_paths_are_those_of_the_notebook(about_data, tmp_path, monkeypatch):
    """The kernel runs in its folder, and not in that of the command."""
    tree_of_bitmaps(tmp_path / "pets")
    absolute = sweep_points._data({"dataset": f"folder:{tmp_path / 'pets'}"}, tmp_path, {})
    elsewhere = tmp_path / "elsewhere"
    other = tree_of_bitmaps(elsewhere / "pets")
    changed_into_noise(other / "train" / "cat" / "0.bmp")
    monkeypatch.chdir(elsewhere)
    assert sweep_points._data({"dataset": "folder:pets"}, tmp_path, {}) == absolute
    assert sweep_points._data({"dataset": "folder:pets"}, elsewhere, {}) != absolute
