"""What variables of the environment say: where files lie, however it is written; how many."""

import pytest
import torch
from image_files import as_found, write_folder

from facog_lab import paths
from facog_lab.config import ConfigError, DataError
from facog_lab.data import builtin, decode, files, load, places, prefetch
from facog_lab.runs import feature_files, replay, store
from facog_lab.settings import DataConfig, DictionaryConfig
from facog_lab.study import results, sweep_points


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with something in it; the current folder is another one."""
    where, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    where.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(where))
    monkeypatch.chdir(elsewhere)
    yield where
    assert not list(tmp_path.rglob("~*"))


def test_a_home_in_a_variable_is_the_home(home, monkeypatch):
    for name in ("FACOG_OUTPUTS", "FACOG_RESULTS", "FACOG_DATA"):
        monkeypatch.setenv(name, f"~/{name.lower()}")
    assert paths.outputs_root() == home / "facog_outputs"
    assert results.folder() == home / "facog_results"
    assert home / "facog_data" in places.data_folders()
    run = store.Run("digits", "dictionary", DictionaryConfig(), "upstream")
    run.save({}, {}, {}, True)
    assert (home / "facog_outputs" / "digits" / "dictionary" / run.key).is_dir()


def test_a_home_in_a_data_set_is_the_home(home):
    write_folder(home / "pets", {"cat": 3, "dog": 3})
    found = as_found("~/pets")
    assert (found.name, found.class_names) == ("pets", ("cat", "dog"))


def test_a_home_in_what_is_run_is_the_home(home):
    with pytest.raises(ConfigError, match=rf"{home}/book\.ipynb: cannot be read"):
        sweep_points.points("~/book.ipynb", {})
    with pytest.raises(store.StoreError, match=rf"{home}/run holds no manifest"):
        replay.repeat("~/run")


@pytest.mark.parametrize("name", ["FACOG_OUTPUTS", "FACOG_RESULTS", "FACOG_DATA"])
def test_a_home_of_nobody_is_said(home, monkeypatch, name):
    monkeypatch.setenv(name, "~nobody-of-that-name/x")
    where = {
        "FACOG_OUTPUTS": paths.outputs_root,
        "FACOG_RESULTS": results.folder,
        "FACOG_DATA": places.data_folders,
    }[name]
    with pytest.raises(store.StoreError, match=f"{name} = '~nobody-of-that-name/x': there is no"):
        where()


def test_a_data_set_in_a_home_of_nobody(home):
    with pytest.raises(DataError, match="~nobody-of-that-name/x: no such folder"):
        as_found("~nobody-of-that-name/x")
    with pytest.raises(ConfigError, match=r"~nobody-of-that-name/x\.ipynb: cannot be read"):
        sweep_points.points("~nobody-of-that-name/x.ipynb", {})


@pytest.mark.parametrize("value", ["two", "-1", "1.5", "٣", "99999999999999999999"])
def test_a_number_of_workers_that_is_none(value, tmp_path, monkeypatch):
    monkeypatch.setenv("FACOG_WORKERS", value)
    of = decode.ImageFiles(files.Folder(tmp_path), [], 8, 3)
    with pytest.raises(ConfigError, match=f"FACOG_WORKERS = '{value}': give a whole number"):
        prefetch.workers_for(of, torch.device("cpu"))


NO_PATHS = {"too long a name": "a" * 300, "too long a path": "a/" * 3000, "a null": "a\0b"}


@pytest.mark.parametrize("kind", NO_PATHS)
def test_what_no_path_can_be_is_said_shortly(kind, outputs, monkeypatch):
    text = NO_PATHS[kind]
    lists = {"dataset": "imagenet_lt", "image_root": str(outputs), "profile": "as_found"}
    outputs.mkdir()
    asked = {
        "a data set": lambda: as_found(text),
        "a root": lambda: load.load(DataConfig(**lists | {"image_root": text})),
        "a list": lambda: load.load(DataConfig(**lists, train_list=text)),
        "a notebook": lambda: sweep_points.points(text, {}),
        "a run": lambda: replay.repeat(text),
        "a dictionary": lambda: feature_files.read(outputs, text.replace("/", "")),
    }
    for ask in asked.values():
        with pytest.raises((DataError, ConfigError, store.StoreError)) as error:
            ask()
        assert str(error.value)
    if "\0" in text:
        return
    for name, ask in {
        "FACOG_OUTPUTS": paths.outputs_root,
        "FACOG_RESULTS": results.read,
        "FACOG_DATA": lambda: builtin.find_data("mnist"),
    }.items():
        monkeypatch.setenv(name, text)
        with pytest.raises(store.StoreError, match=rf"{name} = 'a.{{199}}…': File name too long"):
            ask()
        monkeypatch.delenv(name)
