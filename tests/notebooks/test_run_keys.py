"""Notebooks that are asked for the same thing make the same runs: their keys, without training."""

import ast
import dataclasses
import functools
import re
import zipfile

import listed
import nbformat
import numpy as np
import papermill
import pytest
import tiny
from conftest import ROOT
from PIL import Image

from facog_lab import registry
from facog_lab.cli import tables
from facog_lab.config import digest
from facog_lab.runs import presets, stages
from facog_lab.study import run_grid
from facog_lab.ui import parameters

NOTEBOOKS = sorted((ROOT / "notebooks").glob("0[0-8]_*.ipynb"))
WALK = NOTEBOOKS[:7]  # 00 to 06; 08 runs others of them
STUDIES = ("05_ablations", "06_benchmark")  # which make what is missing by their command
PUBLISHED = ("mnist", "fashion_mnist", "cifar10", "cifar100")
STAGES = ("phase1", "dictionary", "phase2")


def folder_of_images(folder, counts=(30, 12, 5)):
    """Class folders of small pictures."""
    rng = np.random.default_rng(0)
    for half, numbers in (("train", counts), ("test", (3,) * len(counts))):
        for label, number in enumerate(numbers):
            (folder / half / f"class{label}").mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / half / f"class{label}" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What stands for {folder}, {zip} and ImageNet-LT's files."""
    root = tmp_path_factory.mktemp("data")
    folder = folder_of_images(root / "own images")
    with zipfile.ZipFile(root / "packed.zip", "w") as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder))
    listed.tree(root / "imagenet_lt", [6, 4, 2])
    return root


@pytest.fixture
def data(places, outputs, monkeypatch):
    """Digits, folders, zips and lists are read; published sets are known by their config alone."""
    monkeypatch.setenv("FACOG_DATA", str(places))
    read = stages.data.__wrapped__

    @functools.cache
    def loaded(config):
        if config.dataset not in PUBLISHED:
            return read(config)
        known = digest(config.model_dump(mode="json"))
        return dataclasses.replace(tiny.long_tailed(), name=config.dataset, fingerprint=known)

    monkeypatch.setattr(stages, "data", loaded)


def cells_of(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    tagged = [i for i, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])]
    return code[0].source, code[tagged[0]].source, code[tagged[0] + 1].source


def settings_of(notebook, given, monkeypatch):
    """The notebook's settings with some parameters given, and the commands that it runs."""
    imports, values, check = cells_of(notebook)
    commands = []
    monkeypatch.setattr(tables, "main", commands.append)
    namespace = {"__name__": notebook.stem}
    exec(imports, namespace)
    exec(values, namespace)
    names = [line.target.id for line in ast.parse(values).body]
    namespace |= {name: value for name, value in given.items() if name in names}
    if notebook.stem in STUDIES:
        namespace |= {"run_missing": True, "seeds": 2}
        exec(check, namespace)
    else:  # the check alone: what follows trains
        first = ast.parse(check).body[:1]
        exec(compile(ast.Module(first, []), notebook.stem, "exec"), namespace)
    return namespace["settings"], commands


def keys_of(settings):
    return {stage: stages.run_of(settings, stage).key for stage in STAGES}


def datasets(places):
    return {"folder": f"folder:{places / 'own images'}", "zip": f"folder:{places / 'packed.zip'}"}


SETS = ["digits", *PUBLISHED, "imagenet_lt", "folder", "zip"]
CASES = [
    (dataset, preset)
    for dataset in SETS
    for preset in ("auto", "cpu", "paper")
    if (dataset, preset) != ("imagenet_lt", "cpu")  # there is none of that name
]


@pytest.mark.parametrize(("dataset", "preset"), CASES)
def test_all_notebooks_ask_for_the_same_runs(dataset, preset, data, places, monkeypatch):
    name = datasets(places).get(dataset, dataset)
    expected = keys_of(presets.experiment(preset, data={"dataset": name}))
    (walk_03,) = (path for path in WALK if path.stem.startswith("03"))
    for notebook in WALK:
        given = {"dataset": name, "preset": preset}
        settings, commands = settings_of(notebook, given, monkeypatch)
        if notebook.stem.startswith("00"):  # has no training and hence no preset
            split = stages.data(settings.data)
            assert split.fingerprint == stages.data(presets.experiment(
                preset, data={"dataset": name}).data).fingerprint  # fmt: skip
            continue
        assert keys_of(settings) == expected, notebook.name
        for command in commands:
            made = {
                (job.task.cell.method, job.about["seed"]): job.task.key()
                for job in run_grid.jobs(tables.parsed(command), run_grid.Failures())
                if job.task.cell.method in ("phase1", "facog") and not job.task.cell.variant
            }
            for seed in (0, 1):  # each of a study's seeds has a split of its own
                given = {"dataset": name, "preset": preset, "seed": seed, "split_seed": seed}
                asked = keys_of(settings_of(walk_03, given, monkeypatch)[0])
                assert made["phase1", seed] == asked["dictionary"], notebook.name
                assert made["facog", seed] == asked["phase2"], notebook.name
        assert len(commands) == (notebook.stem in STUDIES)


@pytest.mark.parametrize("dataset", ["folder", "digits"])
def test_what_the_preset_decides_can_be_given_and_left_again(dataset, data, places, monkeypatch):
    """The value itself, None, and "None", which a shell's `-r` and a sweep's texts send."""
    name = datasets(places).get(dataset, dataset)
    usual = presets.experiment(data={"dataset": name}).phase2.batch_size
    (notebook,) = (path for path in WALK if path.stem.startswith("03"))
    keys = [
        keys_of(settings_of(notebook, {"dataset": name, "batch_size": value}, monkeypatch)[0])
        for value in (None, "None", usual, str(usual), 32)
    ]
    assert keys[0] == keys[1] == keys[2] == keys[3]
    assert keys[4]["phase2"] != keys[0]["phase2"]
    assert keys[4]["dictionary"] == keys[0]["dictionary"]


def decided():
    """(stage, field) of all that any preset decides for any data set."""
    return {
        (stage, field)
        for preset in presets.PRESETS
        for family in registry.datasets
        if (preset, family) != ("cpu", "imagenet_lt")
        for stage, fields in presets.decided(preset, family).items()
        for field in fields
    }


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_parameter_that_a_preset_decides_is_none_and_says_so(notebook):
    """A number copied into a notebook would hold where the preset has another one."""
    _, values, check = cells_of(notebook)
    main = re.search(r'parameters\.check\(main="(\w+)"', check)[1]
    places = parameters._places(main, None)
    assert ("phase2", "batch_size") in decided()
    listed_ = papermill.inspect_notebook(str(notebook))  # as `papermill --help-notebook` reads it
    for line in ast.parse(values).body:
        parameter, value = listed_[line.target.id], ast.literal_eval(line.value)
        assert parameter["default"] == ast.unparse(line.value).replace("'", '"')
        if value is None:  # it misreads `int | None`
            assert re.fullmatch(r"Optional\[\w+\]", parameter["inferred_type_name"])
        if places.get(line.target.id) in decided():
            assert value is None, line.target.id
            assert "None: " in parameter["help"], line.target.id
