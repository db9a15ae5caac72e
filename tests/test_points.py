"""The points of a grid: names, values, keys, and rows that are whole or not there."""

import itertools
import json

import pytest
from tiny import notebook

from facog_lab import points
from facog_lab.config import ConfigError
from facog_lab.points import points as made

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
    kept = point.keep(scores={"acsa": 0.5}, error="", seconds=1.0)
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
    assert points.said({"n": 1, "a": "b"}) == "n=1, a=b"
