"""A sweep through real processes of Dask, of notebooks that train nothing."""

import builtins
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import dask
import nbformat
import psutil
import pytest
import yaml
from conftest import ROOT
from tiny import notebook

from facog_lab.cli import sweep as sweep_command
from facog_lab.cli import tables
from facog_lab.config import ConfigError
from facog_lab.study import clusters, report, run_notebook, sweep
from facog_lab.study.sweep_points import points

HERE = sweep.Where(workers=2)
SCORES = "from facog_lab.study import report\nreport.scores(acsa=n / 10, gm=float('nan'))"
FAILS = "if n == 3:\n    raise ValueError('three\\nis bad')"
KEEPS_COUNT = """import os, pathlib
pathlib.Path(os.environ["FACOG_OUTPUTS"], f"ran-{n}-{os.getpid()}").write_text(str(os.getppid()))"""

NEVER_ENDS = """import os, subprocess, sys, time
heart = '''import os, sys, time
while True:
    open(sys.argv[1], "w").write(str(time.time()))
    time.sleep(0.05)'''
def beat(name):
    return [sys.executable, "-c", heart, os.path.join(os.environ["FACOG_OUTPUTS"], "heart-" + name)]
if n == 2:
    subprocess.Popen(beat("child"))
    subprocess.Popen(beat("group"), start_new_session=True)
    twice = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    subprocess.run([sys.executable, "-c", twice, *beat("nobody")])
    time.sleep(1)
while n == 2:
    try:
        time.sleep(1000)
    except BaseException:
        pass"""


def said_by(process):
    """The command line of a process; empty if it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture
def folder(outputs):
    outputs.mkdir()
    return outputs


def ran(folder, n):
    """How often a point was begun."""
    return len(list(folder.glob(f"ran-{n}-*")))


class TestProcesses:
    def test_points_are_run_skipped_and_failed_ones_are_rows(self, folder, tmp_path, capfd):
        book = notebook(tmp_path / "book.ipynb", KEEPS_COUNT, FAILS, SCORES)
        grid = ["--grid", "n=1,2,3", "--workers", "2"]
        assert sweep_command.main([str(book), *grid]) == 1
        said = capfd.readouterr().out
        assert "n=1: acsa 0.1, gm None" in said
        assert "n=3: FAILED, cell In [4] failed with ValueError: three\n" in said
        assert "Sweep of book: 3 points in" in said

        rows = {p.values["n"]: p.row() for p in points(book, {"n": [1, 2, 3]})}
        assert {n: row["scores"] for n, row in rows.items()} == {
            1: {"acsa": 0.1, "gm": None}, 2: {"acsa": 0.2, "gm": None}, 3: {},
        }  # fmt: skip
        for n, row in rows.items():
            executed = nbformat.read(row["executed"], as_version=4)
            assert any(f"n = {n}" in cell.source for cell in executed.cells)
        assert "is bad" in Path(rows[3]["executed"]).read_text()  # the failed cell with its error

        assert sweep_command.main([str(book), *grid]) == 1
        assert [ran(folder, n) for n in (1, 2, 3)] == [1, 1, 2]  # the failed one once more

    @pytest.mark.long
    def test_a_notebook_that_was_mended_is_another_and_one_that_was_is_known(
        self, folder, tmp_path, capfd
    ):
        book = notebook(tmp_path / "book.ipynb", KEEPS_COUNT, FAILS, SCORES)
        grid = ["--grid", "n=1,3", "--workers", "2"]
        assert sweep_command.main([str(book), *grid]) == 1
        notebook(book, KEEPS_COUNT, "", SCORES)
        assert sweep_command.main([str(book), *grid]) == 0
        notebook(book, KEEPS_COUNT, FAILS, SCORES)
        assert sweep_command.main([str(book), *grid]) == 1
        assert [ran(folder, n) for n in (1, 3)] == [2, 3]

    @pytest.mark.long
    def test_a_worker_is_killed_and_nothing_is_lost(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", KEEPS_COUNT, "import time; time.sleep(2)", SCORES)
        todo = points(book, {"n": [1, 2, 3, 4]})
        killed = []

        def kill():
            while not (begun := list(folder.glob("ran-*"))) or not begun[0].read_text():
                time.sleep(0.05)
            n = int(begun[0].name.split("-")[1])
            killed.append((n, todo[n - 1].row()))
            os.kill(int(begun[0].read_text()), signal.SIGKILL)  # the worker, its kernel's parent

        killer = threading.Thread(target=kill)
        killer.start()
        rows = list(sweep.rows(todo, HERE))
        killer.join()
        assert sorted(row["scores"]["acsa"] for row in rows) == [0.1, 0.2, 0.3, 0.4]
        ((n, row_then),) = killed
        assert row_then is None
        assert ran(folder, n) == 2
        assert {path.name for path in todo[0].folder.parent.rglob("*") if path.is_file()} == {
            "row.json", "executed.ipynb", todo[0].source.name,
        }  # fmt: skip

    @pytest.mark.long
    def test_a_kernel_that_dies_is_tried_again_and_then_a_row(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", KEEPS_COUNT, "os._exit(1)")
        ((point),) = points(book, {"n": [1]})
        (row,) = sweep.rows([point], sweep.Where(workers=1))
        assert row["error"].startswith("DeadKernelError: ")
        assert row == point.row()
        assert KEEPS_COUNT in nbformat.read(row["executed"], as_version=4).cells[-2].source
        assert ran(folder, 1) == 1 + sweep.RETRIES

    def test_two_sweeps_of_one_point_run_it_once(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", KEEPS_COUNT, "import time; time.sleep(1)", SCORES)
        (point,) = points(book, {"n": [1]})
        made = []
        threads = [
            threading.Thread(target=lambda: made.append(run_notebook.run(point))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made[0] == made[1]
        assert ran(folder, 1) == 1

    @pytest.mark.long
    def test_a_point_that_never_ends_is_ended_with_all_that_it_started(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", KEEPS_COUNT, NEVER_ENDS, SCORES)
        command = [str(book), "--grid", "n=1,2,3", "--workers", "2", "--timeout", "20"]
        began = time.monotonic()
        assert sweep_command.main(command) == 1
        assert time.monotonic() - began < 150
        rows = {p.values["n"]: p.row() for p in points(book, {"n": [1, 2, 3]})}
        assert [rows[n]["error"] for n in (1, 3)] == ["", ""]
        assert rows[1]["scores"]["acsa"] == 0.1
        assert rows[2]["error"].startswith("timed out: 20 s were over, and it was ended with all")
        assert rows[2]["scores"] == {}
        executed = nbformat.read(rows[2]["executed"], as_version=4)  # as far as it came
        assert any("heart" in cell.source for cell in executed.cells)
        beats = list(folder.glob("heart-*"))
        assert len(beats) == 3  # a child, one in a group of its own, one that is nobody's child
        before = [path.read_text() for path in beats]
        time.sleep(1)
        assert [path.read_text() for path in beats] == before
        assert not [p for p in psutil.process_iter() if str(folder) in said_by(p)]

    def test_what_a_point_left_behind_is_ended_with_it(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", NEVER_ENDS.replace("while n == 2", "while n > 9"))
        (point,) = points(book, {"n": [2]})
        assert run_notebook.run(point)["error"] == ""
        before = [path.read_text() for path in folder.glob("heart-*")]
        time.sleep(1)
        assert [path.read_text() for path in folder.glob("heart-*")] == before

    def test_a_point_that_another_runs_is_not_waited_for_without_end(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", KEEPS_COUNT, SCORES)
        (point,) = points(book, {"n": [1]})
        with point.alone():
            row = run_notebook.run(point, timeout=0.5)
        assert row["error"] == "timed out: it is being run elsewhere, and 0.5 s were over."
        assert point.row() is None
        assert run_notebook.run(point, timeout=60)["error"] == ""
        assert ran(folder, 1) == 1

    def test_a_point_that_is_done_in_time_is_no_failure(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", SCORES)
        (point,) = points(book, {"n": [1]})
        row = run_notebook.run(point, timeout=100)
        assert (row["error"], row["scores"]["acsa"]) == ("", 0.1)

    def test_folders_in_braces(self, folder, tmp_path, monkeypatch):
        """papermill would put parameters into them."""
        where = tmp_path / "{n} {pm} {}" / "{n.__class__}"
        where.mkdir(parents=True)
        monkeypatch.setenv("FACOG_OUTPUTS", str(where / "outputs"))
        monkeypatch.setattr(run_notebook.tempfile, "tempdir", str(where))
        book = notebook(where / "{n}.ipynb", SCORES)
        (point,) = points(book, {"n": [1]})
        row = run_notebook.run(point)
        assert (row["error"], row["scores"]["acsa"]) == ("", 0.1)
        assert Path(row["executed"]).is_file()

    def test_a_class_of_cluster_by_its_name(self, folder, tmp_path):
        book = notebook(tmp_path / "book.ipynb", SCORES)
        where = sweep.Where(
            cluster="distributed.LocalCluster",
            cluster_options={"n_workers": 0, "processes": False, "dashboard_address": None},
            workers=1,
        )
        (row,) = sweep.rows(points(book, {"n": [4]}), where)
        assert row["scores"]["acsa"] == 0.4

    def test_cells_of_the_papers_tables_a_task_for_each_file(self, monkeypatch, capfd):
        monkeypatch.setattr(tables, "main", said_seed)
        command = [
            sweep_command.TABLES,
            "--table",
            "1",
            "--datasets",
            "digits",
            "--seeds",
            "0",
            "1",
        ]
        options = '{"n_workers": 0, "processes": false, "dashboard_address": null}'
        command += ["--cluster", "distributed.LocalCluster", "--cluster-options", options]
        assert sweep_command.main(command) == 1
        said = capfd.readouterr().out
        assert "--table 1 --datasets digits --seeds 0 --preset auto --device auto: done" in said
        assert "--seeds 1 --preset auto --device auto: not all of it could be run" in said


def said_seed(arguments):
    """Fails for seed 1."""
    return int(arguments[arguments.index("--seeds") + 1])


def blocked(name, *rest, real=builtins.__import__):
    if name.partition(".")[0] in ("dask", "distributed"):
        raise ModuleNotFoundError(f"No module named {name!r}")
    return real(name, *rest)


def test_without_dask_the_error_says_so_and_what_was_run_is_read(folder, tmp_path, monkeypatch):
    book = notebook(tmp_path / "book.ipynb", SCORES)
    one, two = points(book, {"n": [1, 2]})
    for name in [n for n in sys.modules if n.partition(".")[0] in ("dask", "distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(clusters.MissingDaskError, match=r"pip install -e '.\[cluster\]'"):
        list(sweep.rows([one, two], HERE))
    monkeypatch.undo()
    kept = one.kept(seconds=1.0)
    assert list(sweep.rows([one], HERE)) == [kept]
    assert clusters.MissingDaskError()._render_traceback_() == [
        f"MissingDaskError: {clusters.MissingDaskError()}"
    ]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"scheduler": "tcp://127.0.0.1:9"}, "nobody answers there.*Start one with `dask sched"),
        ({"scheduler": "nonsense"}, "scheduler = 'nonsense': nobody answers there"),
        ({"scheduler": "tls://127.0.0.1:9"}, "nobody answers there .TLS expects a `ssl_context`"),
        ({"scheduler": ""}, "scheduler = '': nobody answers there"),
        ({"cluster": "dask_cuda.LocalCUDACluster"}, "Cluster': there is no such class"),
        ({"cluster": "distributed.Cluster"}, "there is no such class"),
        (
            {"cluster": "distributed.LocalCluster", "cluster_options": {"walltime": "1:00"}},
            "LocalCluster' with {'walltime': '1:00'} could not be started",
        ),
    ],
)
def test_clusters_that_are_not_there(where, message, monkeypatch):
    monkeypatch.setattr(clusters, "TIMEOUT", "1s")
    with pytest.raises(ConfigError, match=message), sweep.client(sweep.Where(**where), 1):
        pass


def test_dasks_own_setting_names_a_scheduler(monkeypatch):
    monkeypatch.setattr(clusters, "TIMEOUT", "1s")
    with (
        dask.config.set({"scheduler-address": "tcp://127.0.0.1:9"}),
        pytest.raises(ConfigError, match=r"scheduler = 'tcp://127\.0\.0\.1:9': nobody answers"),
        sweep.client(sweep.Where(), 1),
    ):
        pass


def test_the_job_script_of_the_page_is_that_of_its_configuration():
    page = (ROOT / "docs" / "sweeps.md").read_text()
    (configuration,) = re.findall(r"```yaml\n(jobqueue:.*?)```", page, re.S)
    (script,) = re.findall(r"```bash\n(.*?)```", page, re.S)
    pytest.importorskip("dask_jobqueue")  # whose defaults the page's file is merged with
    merged = dask.config.merge(dask.config.config, yaml.safe_load(configuration))
    with dask.config.set(merged):
        cluster = clusters.started(sweep.Where(cluster="dask_jobqueue.SLURMCluster"))
        with cluster:
            made = re.sub(r"tcp://\S+", "tcp://ADDRESS", cluster.job_script())
    assert made.strip() == script.strip()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "n_s"], "--grid n_s: write NAME=VALUE,VALUE"),
        (["--grid", "n_s=1", "--grid", "n_s=2"], "each name once"),
        (["--tabel", "1"], "unknown: --tabel 1"),
    ],
)
def test_options_that_are_none(options, message, capsys):
    with pytest.raises(SystemExit):
        sweep_command.main(["03_phase2.ipynb", *options])
    assert message in capsys.readouterr().err


def test_errors_of_a_command_are_one_line_and_nothing_is_made(outputs, capsys):
    assert sweep_command.main(["03_phase2.ipynb", "--grid", "n_sss=1"]) == 2
    assert "no parameter of 03_phase2.ipynb named 'n_sss'. Did you mean 'n_s'" in (
        capsys.readouterr().err
    )
    assert not outputs.exists()


def test_the_papers_tables_have_no_time_of_a_point(capsys):
    command = [sweep_command.TABLES, "--table", "1", "--datasets", "digits", "--timeout", "5"]
    assert sweep_command.main(command) == 2
    assert "timeout = 5: tables has none" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon", "1e9"])
def test_a_time_that_is_none(value, tmp_path, capsys):
    book = notebook(tmp_path / "book.ipynb", SCORES)
    assert sweep_command.main([str(book), "--grid", "n=1", "--timeout", value]) == 2
    assert capsys.readouterr().err.startswith("timeout = ")


def test_what_is_shown_is_in_the_grid():
    with pytest.raises(ConfigError, match=r"upwards = 'n_s': the grid has lr, seed\."):
        sweep.SweepConfig(grid={"lr": [1], "seed": [0]}, across="lr")


def test_parts_of_a_command_have_a_file_each():
    assert tables.parts(["--table", "2", "--seeds", "3", "4", "--publish"])[:2] == [
        ["--table", "2", "--datasets", "cifar10", "--ratios", ratio, "--seeds", "3",
         "--preset", "auto", "--device", "auto", "--publish"]
        for ratio in ("100.0", "50.0")
    ]  # fmt: skip
    assert len(tables.parts(["--table", "2", "--seeds", "3", "4"])) == 2 * 2 * 3
    kept = ["--table", "fig5", "--dictionary", "cifar100_lt_100_seed0", "--methods", "facog"]
    assert tables.parts([*kept, "--seeds", "0", "5"]) == [
        ["--table", "fig5", "--seeds", seed, "--preset", "auto", "--device", "auto",
         "--methods", "facog", "--dictionary", "cifar100_lt_100_seed0"]
        for seed in ("0", "5")
    ]  # fmt: skip


def test_what_is_reported_is_found_by_name():
    def cell(scores):
        output = nbformat.v4.new_output("display_data", data={report.MIME: scores})
        return nbformat.v4.new_code_cell(outputs=[output])

    made = nbformat.v4.new_notebook(cells=[cell({"a": 1, "b": 2}), cell({"b": 3})])
    assert report.found(made) == {"a": 1, "b": 3}


def test_reports_are_json(capsys):
    report.scores(acsa=0.5, gm=float("nan"), worst=float("-inf"), method="facog", few=None)
    assert "acsa 0.5, gm None, worst None, method facog, few None" in capsys.readouterr().out
    json.dumps({"gm": None}, allow_nan=False)
