"""What a parameter may name for a cluster, and what it may not: nothing that is named is run."""

import functools
import json
import os
import subprocess
import sys

import dask_jobqueue.slurm
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import notebook

from facog_lab.cli import sweep as sweep_command
from facog_lab.config import ConfigError
from facog_lab.study import clusters
from facog_lab.study.clusters import OPTIONS, Where


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that leaves a file when it is imported, and has a class like a cluster's."""
    (tmp_path / "evil.py").write_text(
        "import pathlib, distributed\npathlib.Path(__file__).with_name('owned').touch()\n"
        "class Cluster(distributed.LocalCluster): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "owned").exists()


NAMES = [
    *("os.system", "subprocess.Popen", "builtins.exec", "evil.Cluster", "evil", "posix.system"),
    *("distributed.", ".LocalCluster", "distributed..LocalCluster", "LocalCluster", ""),
    *("distributed.Local Cluster", "distributed/../evil.Cluster", "distributed\n.LocalCluster"),
    *("dask_jobqueuе.SLURMCluster", "__import__('os').system", "runpy.run_path"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_another_package_is_not_even_imported(name, evil):
    with pytest.raises(ConfigError, match=r"^cluster = "):
        Where(cluster=name, cluster_options={})
    assert "evil" not in sys.modules


THINGS = [
    *("distributed.Client", "distributed.Nanny", "distributed.SSHCluster", "distributed.wait"),
    *("distributed.SubprocessCluster", "distributed.deploy.Cluster", "distributed.SpecCluster"),
    *("distributed.deploy.spec.SpecCluster", "dask.config.get", "distributed.utils.import_term"),
    *("dask.utils.os", "distributed.process.AsyncProcess", "dask.base.tokenize"),
]


@pytest.mark.parametrize("name", THINGS)
def test_what_is_no_class_of_clusters_is_not_called(name):
    with pytest.raises(ConfigError, match=r"that is no class of clusters, so it is not called"):
        clusters.started(Where(cluster=name))


@pytest.mark.parametrize("name", ["distributed.os.system", "dask.utils.os.system"])
def test_modules_that_a_package_has_imported_are_none_of_its_own(name):
    with pytest.raises(ConfigError, match="there is no such class"):
        clusters.started(Where(cluster=name))


CODE = {
    "scheduler": {"cls": "os.system", "options": {"command": "touch owned"}},
    "workers": {"a": {"cls": "os.system"}},
    "command": "touch owned",
    "worker_class": "os.system",
    "job_cls": "os.system",
    "preload": ["evil.py"],
    "preload_nanny": "evil.py",
    "plugins": "evil",
    "worker_command": "touch owned;",
    "worker_extra_args": ["--preload", "evil.py"],
    "extra": ["--preload evil.py"],
    "job_script_prologue": ["touch owned"],
    "env_extra": ["touch owned"],
    "job_extra_directives": ["--wrap touch"],
    "job_extra": ["x\ntouch owned"],
    "job_directives_skip": ["x"],
    "shebang": "#!/bin/touch owned",
    "python": "touch owned; python",
    "config_name": "evil",
    "image": "evil/image",
    "env": {"LD_PRELOAD": "evil.so"},
    "custom_cluster_spec": "evil.yaml",
    "scheduler_options": {"preload": ["evil.py"]},
    "host": "0.0.0.0",
    "interface": "eth0",
    "security": True,
    "submit_command_extra": ["; touch owned"],
}


@pytest.mark.parametrize("name", CODE)
def test_options_that_can_be_code_are_refused(name, evil):
    message = r"(?s)^cluster_options = .*no option to be given here named '\w+'.*Dask's own conf"
    with pytest.raises(ConfigError, match=message):
        Where(cluster="dask_jobqueue.SLURMCluster", cluster_options={name: CODE[name]})


VALUES = [
    *("cpu\ntouch owned", "cpu; touch owned", "$(touch owned)", "`touch owned`", "cpu && touch"),
    *(
        "cpu --preload evil.py",
        "--preload=evil.py",
        "-x",
        "a'b",
        'a"b',
        "a\\b",
        "a|b",
        "a>b",
        "a#b",
    ),
    *("{os.environ}", "a\tb", "a\rb", "a\0b", "é", "a*b", "a?b", "[a]", "(a)", "a\u2028b", "!x"),
    *("~/x", "~root"),
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["queue", "walltime", "local_directory", "scheduler_options"])
def test_words_that_a_shell_would_read_are_refused(name, value, evil):
    given_ = {"dashboard_address": value} if name == "scheduler_options" else value
    with pytest.raises(
        ConfigError, match=r"^cluster_options = .* are allowed, and no - at the beg"
    ):
        Where(cluster="dask_jobqueue.SLURMCluster", cluster_options={name: given_})


@pytest.mark.parametrize("value", [["a"], [], object(), 1j])
def test_lists_and_other_things_are_refused(value):
    with pytest.raises(ConfigError, match="give a number, a word, True, False or None"):
        Where(cluster_options={"queue": value})


def script(options):
    """A job's script, as the cluster writes it for options that were let through."""
    Where(cluster="dask_jobqueue.SLURMCluster", cluster_options=options)
    job = dask_jobqueue.slurm.SLURMJob("tcp://here:1", "worker", cores=1, memory="1GB", **options)
    return job.job_script()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["queue", "account", "walltime", "job_mem", "local_directory", "job_name"]),
    st.from_regex(clusters.PLAIN, fullmatch=True).filter(bool),
)
def test_a_job_runs_what_it_ran_before_whatever_words_are_let_through(name, value):
    """Comments stay comments, and the commands have the value for one word and no other."""
    usual, made = (script({name: word}).splitlines() for word in ("Q7Q", value))
    comments = [[line.startswith("#") for line in lines] for lines in (usual, made)]
    assert comments[0] == comments[1]
    before, after = (
        words(tuple(line for line in lines if not line.startswith("#"))) for lines in (usual, made)
    )
    assert after == [word.replace("Q7Q", value) for word in before]


@functools.cache
def words(lines):
    """What the shell itself makes of lines: their words, and between lines a line break."""
    commands = "\n".join(f"printf '%s\\0' {line}\nprintf '\\n\\0'" for line in lines)
    done = subprocess.run(["bash", "-c", commands], capture_output=True, check=True, text=True)
    return done.stdout.split("\0")


def test_what_is_usual_is_let_through():
    usual = {"queue": "gpu_4,long", "walltime": "04:00:00", "memory": "3.5GB", "cores": 4,
             "local_directory": "/scratch/a-b_c", "account": "u@x.org", "processes": False,
             "scheduler_options": {"dashboard_address": ":0"}, "name": None}  # fmt: skip
    assert Where(cluster="dask_jobqueue.PBSCluster", cluster_options=usual).cluster_options == usual
    assert len(set(OPTIONS)) == len(OPTIONS)


# The whole way: what a person would type


@pytest.mark.parametrize(
    ("cluster", "options"),
    [
        ("os.system", {"command": "touch owned"}),
        ("evil.Cluster", {}),
        ("distributed.SpecCluster", CODE),
        ("distributed.LocalCluster", {"preload": "evil.py"}),
    ],
)
def test_the_command_line_runs_nothing(cluster, options, evil, outputs, capsys):
    book = notebook(evil / "book.ipynb", "n")
    command = [str(book), "--grid", "n=1", "--cluster", cluster]
    assert sweep_command.main([*command, "--cluster-options", json.dumps(options)]) == 2
    assert capsys.readouterr().err.startswith("cluster")
    assert not outputs.exists()


@pytest.mark.parametrize("text", ["[]", "{", "3", '"a"'])
def test_options_that_are_no_options(text, tmp_path, outputs, capsys):
    book = notebook(tmp_path / "book.ipynb", "n")
    command = [str(book), "--grid", "n=1", "--cluster", "distributed.LocalCluster"]
    try:
        status = sweep_command.main([*command, "--cluster-options", text])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert "cluster" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    ("cluster", "options"),
    [
        ("os.system", '{"command": "touch owned"}'),
        ("distributed.SpecCluster", '{"scheduler": {"cls": "os.system"}}'),
        ("dask_jobqueue.SLURMCluster", '{"job_script_prologue": ["touch owned"]}'),
    ],
)
def test_notebook_09_runs_nothing(cluster, options, tmp_path):
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "09_sweep.ipynb"),
               "out.ipynb", "-p", "cluster", cluster, "-y",
               json.dumps({"cluster_options": json.loads(options)})]  # fmt: skip
    own = {"PYTHONPATH": str(ROOT), "FACOG_OUTPUTS": str(tmp_path / "outputs")}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | own
    )
    assert done.returncode != 0
    assert "ParameterError: cluster" in done.stderr
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "outputs").exists()
