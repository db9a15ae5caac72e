import ast
import json
from pathlib import Path

import pytest

import facog_lab
from facog_lab import registry, runs
from facog_lab.cli import tables
from facog_lab.config import ConfigError, LabError, TrainingError
from facog_lab.data.files import DataError
from facog_lab.paths import StoreError
from facog_lab.runs import feature_files, presets
from facog_lab.runs.memory import OutOfMemoryError
from facog_lab.study import grid, paper, results, run_grid
from facog_lab.study.grid import Cell, Task


@pytest.fixture
def folder(outputs, tmp_path, monkeypatch):
    """A folder for results, and a preset of digits that takes a second."""
    monkeypatch.setenv("FACOG_RESULTS", str(tmp_path / "results"))
    short = {"epochs": 2, "warmup_epochs": 1}, {"epochs": 2}
    monkeypatch.setitem(registry.datasets["digits"].facts["presets"], "cpu", short)
    return tmp_path / "results"


def command(*more, methods=("phase1", "facog", "balanced_softmax")):
    return ["--table", "1", "--datasets", "digits", "--methods", *methods, *more]


def read(path):
    return json.loads(path.read_text())


def test_a_command_writes_a_file_a_seed_and_runs_nothing_twice(folder, monkeypatch, capsys):
    assert tables.main(command("--seeds", "0", "1", "--level", "feature")) == 0
    names = ["digits_lt_20_cpu_seed0.json", "digits_lt_20_cpu_seed1.json"]
    assert sorted(p.name for p in folder.iterdir()) == names
    first = read(folder / names[0])
    assert {(r["method"], r["level"], r["variant"]) for r in first["rows"]} == {
        ("phase1", "network", ""),
        ("facog", "feature", ""),
        ("facog", "feature", "references=fixed"),
        ("facog", "feature", "logit_prior=seen"),
        ("facog", "feature", "label_selection=as_found, logit_prior=seen"),
        ("balanced_softmax", "feature", ""),
    }
    (run,) = first["meta"]["runs"]
    assert run["command"].startswith("facog-lab tables --table 1 --datasets")
    assert {"date", "git", "versions", "processor", "threads", "device"} <= set(run)
    assert all(row["run"] == 0 for row in first["rows"])
    capsys.readouterr()

    monkeypatch.setattr(grid, "measure", None)
    assert tables.main(command("--seeds", "0", "1", "--level", "feature")) == 0
    assert "12 cells, 0 to run" in capsys.readouterr().out
    assert read(folder / names[0]) == first


def test_rows_are_what_the_package_scores(folder):
    tables.main(command())
    settings = presets.experiment(data={"dataset": "digits", "split_seed": 0}, seed=0)
    training = runs.open(settings, "cpu").phase2
    assert training.complete
    rows = {(r["method"], r["level"], r["variant"]): r for r in results.read()}
    assert rows["facog", "feature", ""]["acsa"] == round(training.loop.evaluate().acsa, 5)
    network = rows["balanced_softmax", "network", ""]
    assert network["key"] != rows["balanced_softmax", "feature", ""]["key"]
    assert network["acsa"] != rows["balanced_softmax", "feature", ""]["acsa"]


def test_a_cut_off_command_goes_on_and_changed_settings_are_run_again(folder, monkeypatch, capsys):
    measure = grid.measure

    def cut(task, about, device):
        if task.cell.method == "balanced_softmax":
            raise KeyboardInterrupt
        return measure(task, about, device)

    with monkeypatch.context() as patch:
        patch.setattr(grid, "measure", cut)
        with pytest.raises(KeyboardInterrupt):
            tables.main(command("--level", "feature"))
    path = folder / "digits_lt_20_cpu_seed0.json"
    assert len(read(path)["rows"]) == 5
    tables.main(command("--level", "feature"))
    assert "6 cells, 1 to run" in capsys.readouterr().out
    assert len(read(path)["rows"]) == 6

    kept = registry.datasets["digits"].facts["presets"]
    phase1, phase2 = kept["cpu"]
    monkeypatch.setitem(kept, "cpu", (phase1, phase2 | {"lr_classifier": 0.1}))
    tables.main(command("--level", "feature", methods=["facog"]))
    rows = read(path)["rows"]
    assert len(rows) == 6  # in the place of what they replace
    assert len({row["key"] for row in rows}) == 6


ERRORS = [
    TrainingError("phase 2, step 3: loss_d became NaN"),
    OutOfMemoryError("phase 1, step 1: out of memory on cpu"),
    ConfigError("64 < 99: raise projection_dim"),
    DataError("train/cat/1.png cannot be read"),
    StoreError("outputs/digits: 3 MB were to be written"),
    MemoryError("9 GiB"),
    KeyError("a fault in the code"),
]


def test_a_cell_that_fails_stays_empty_and_the_others_are_run(folder, monkeypatch, capsys):
    measure, coming, raised = grid.measure, iter(ERRORS), {}

    def failing(task, about, device):
        if task.cell.method in ("facog", "tailcalib"):
            if error := next(coming, None):
                raised[f"{task.cell.method} {task.cell.variant or task.cell.level}"] = error
                raise error
            pytest.fail("more cells than errors")
        return measure(task, about, device)

    monkeypatch.setattr(grid, "measure", failing)
    methods = ("phase1", "facog", "tailcalib", "balanced_softmax")
    assert tables.main(command("--level", "feature", methods=methods)) == 1
    said = capsys.readouterr()
    assert list(raised.values()) == ERRORS
    assert "7 without a result:" in said.err
    for cell, error in raised.items():
        assert str(error) in said.out
        line = f"  digits_lt_20_cpu_seed0 · {cell}: {type(error).__name__}: {error}\n"
        assert line in said.err
    assert said.err.count("Traceback") == sum(not isinstance(e, LabError) for e in ERRORS)
    methods = {row["method"] for row in read(folder / "digits_lt_20_cpu_seed0.json")["rows"]}
    assert methods == {"phase1", "balanced_softmax"}


def test_ctrl_c_ends_the_command(folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(grid, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tables.main(command())


def test_a_data_set_that_cannot_be_read_leaves_the_others(folder, capsys):
    wanted = command("--level", "feature", methods=["phase1"])
    wanted[3:4] = ["digits", "folder:/nowhere"]
    assert tables.main(wanted) == 1
    said = capsys.readouterr()
    assert "1 without a result:" in said.err
    assert "folder:/nowhere · seed 0: DataError: " in said.err
    assert [row["method"] for row in read(folder / "digits_lt_20_cpu_seed0.json")["rows"]]
    wanted.remove("digits")
    with pytest.raises(DataError):
        tables.main(wanted)


def test_a_cell_whose_settings_are_wrong_leaves_the_others(folder, monkeypatch, capsys):
    wrong = Cell("facog", changes=(("phase2.n_s", 99),))
    monkeypatch.setitem(grid.TABLES, "fig3", [grid.PHASE1, wrong])
    assert tables.main(["--table", "fig3", "--datasets", "digits"]) == 1
    said = capsys.readouterr()
    assert "digits_lt_20_cpu_seed0 · facog n_s=99: ConfigError: n_s = 99" in said.err
    assert [r["method"] for r in read(folder / "digits_lt_20_cpu_seed0.json")["rows"]] == ["phase1"]


def test_every_error_of_the_lab_has_one_base():
    ours = {"LabError"}
    classes = [
        node
        for path in Path(facog_lab.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    ]
    for _ in classes:  # a base may come after what is derived from it
        ours |= {c.name for c in classes if ours & {ast.unparse(base) for base in c.bases}}
    assert {c.name for c in classes} == ours
    assert {"ConfigError", "DataError", "StoreError", "TrainingError"} <= ours


def test_on_kept_features_only_phase_2_is_run(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(feature_files, "FOLDER", tmp_path / "kept")
    tables.main(command("--publish", methods=["phase1"]))
    (name,) = feature_files.names(feature_files.FOLDER)
    assert name == "digits_lt_20_cpu_seed0"
    tables.main(["--table", "1", "views", "--dictionary", name, "--seeds", "3", "--methods",
                       "phase1", "smote", "ce"])  # fmt: skip
    rows = results.read([f"on_{name}_seed3"])
    assert {(r["method"], r["level"], r["variant"]) for r in rows} == {
        ("phase1", "network", ""),
        ("smote", "feature", ""),
        ("ce", "feature", ""),
    }
    assert {row["dictionary"] for row in rows} == {name}


def test_the_clock_knows_what_it_has_seen():
    def row(method, seconds, seed=0):
        about = {"dataset": "a", "imbalance_ratio": 1.0, "preset": "cpu"}
        return about | {"level": "feature", "method": method, "variant": "", "seconds": seconds}

    def job(method):
        about = {"dataset": "a", "imbalance_ratio": 1.0, "preset": "cpu"}
        return run_grid.Job(Task(Cell(method), None), None, about)

    clock = run_grid.Clock([row("facog", 100.0), row("facog", 140.0), row("smote", 10.0)])
    assert clock.left([job("facog")]) == "about 2 min left"
    assert clock.left([job("smote")]) == "about 10 s left"
    assert clock.left([job("gamo")]) == "about 2 min left"  # the median of the level: 100
    assert "1 of a kind not yet timed" in run_grid.Clock([]).left([job("gamo")])


@pytest.mark.parametrize("name", grid.TABLES)
def test_every_cell_of_every_table_has_settings_of_its_own(name, outputs):
    base = presets.experiment("cpu", data={"dataset": "digits"})
    tasks = [Task(cell, base) for cell in grid.TABLES[name]]
    for task in tasks:
        grid.check(task)
    if name != "5":  # digits have no AutoAugment to leave out, only the keys differ
        assert len({task.key() for task in tasks}) == len(tasks)
    assert len(set(grid.TABLES[name])) == len(tasks)


def test_the_variants_of_tables_4_and_5_are_those_of_the_paper():
    for table in ("4", "5"):
        ours = {(c.method, c.level, c.variant) for c in grid.TABLES[table]}
        theirs = {(r["method"], r["level"], r["variant"]) for r in paper.rows(table)}
        assert theirs <= ours


def test_every_method_of_the_papers_tables_is_run_or_said_to_be_missing():
    ours = {(c.method, c.level) for c in grid.TABLES["2"]}
    for table in ("1", "2", "3"):
        for row in paper.rows(table):
            assert (row["method"], row["level"]) in ours or row["method"] in paper.NOT_BUILT
    assert not {method for method, _ in ours} & set(paper.NOT_BUILT)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Cell("smoke"), "no feature method named 'smoke'. Did you mean 'smote'"),
        (Cell("smote", "network"), "network method named 'smote'"),
    ],
)
def test_a_method_that_its_level_does_not_have(cell, message, outputs):
    base = presets.experiment(data={"dataset": "digits"})
    with pytest.raises(ConfigError, match=message):
        grid.check(Task(cell, base))


def test_options_that_do_not_go_together(capsys):
    for arguments, message in (
        (["--dictionary", "nothing"], "--dictionary nothing: there are cifar100_lt_100_seed0"),
        (["--dictionary", "cifar100_lt_100_seed0", "--ratios", "10"], "replaces --datasets"),
    ):
        with pytest.raises(SystemExit):
            tables.parsed(["--table", "1", *arguments])
        assert message in capsys.readouterr().err


def test_the_papers_figures_that_the_notes_repeat():
    def figure(table, method, **wanted):
        (row,) = (
            r
            for r in paper.rows(table)
            if r["method"] == method and wanted.items() <= r.items() and "=" not in r["variant"]
        )
        return row

    assert figure("1", "facog", dataset="mnist")["gm"] == 0.95
    assert figure("1", "facog", dataset="fashion_mnist")["acsa"] == 0.83
    for ratio, c10, c100 in ((100.0, 83.90, 51.34), (50.0, 87.86, 56.64), (10.0, 92.22, 68.11)):
        wanted = {"imbalance_ratio": ratio}
        assert figure("2", "facog", dataset="cifar10", **wanted)["top1"] == c10 / 100
        assert figure("2", "facog", dataset="cifar100", **wanted)["top1"] == c100 / 100
    assert figure("3", "facog")["few"] == 0.389
    assert figure("4", "phase1", imbalance_ratio=50.0)["top1"] == 0.53
    assert not [r for r in paper.rows("1") if r["method"] == "dos" and r["dataset"] == "mnist"]
