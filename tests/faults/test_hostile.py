"""What a stranger's files and texts may not do."""

import ast
import html.parser
import json
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib

import numpy as np
import pandas
import psutil
import pytest
import tiny
import torch
from conftest import ROOT

from facog_lab import runs
from facog_lab.data.files import DataError
from facog_lab.data.load import load
from facog_lab.plots import charts
from facog_lab.runs import mmap, presets, replay, store
from facog_lab.runs.manifest import as_json
from facog_lab.settings import DataConfig, DictionaryConfig
from facog_lab.study import significance
from facog_lab.ui import explorers, phase2_panel

NAMES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "{{7*7}} ${7*7} %{x}",
)

# No code in state


def python_sources():
    for folder in ("facog_lab", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, path.read_text()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        lines = "\n".join(code).splitlines()
        yield path, "\n".join(line for line in lines if not line.startswith(("%", "!")))


FORBIDDEN = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("eval", "exec", "compile", "__import__"),
}
LOADERS = {("torch", "load"), ("torch", "save"), ("yaml", "load"), ("os", "system")}
# Whatever they are called on: what runs a module, a command or a file by its name, or unpickles.
RUNNERS = {
    *("import_module", "run_path", "run_module", "exec_module", "spec_from_file_location"),
    *("popen", "execv", "execve", "execvp", "spawnv", "read_pickle", "unsafe_load", "full_load"),
}
# A class of cluster by its name, from a list of packages: tests/study/test_clusters.py.
ALLOWED = {
    "clusters.py: calls importlib.import_module",
    "registry.py: calls importlib.import_module",  # of our own modules
    "__init__.py: calls importlib.import_module",
    "main.py: calls importlib.import_module",
}


def offences(source):
    """Uses of what turns bytes into code or objects."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or ""
            names = {module.split(".")[0], *(alias.name.split(".")[0] for alias in node.names)}
            if found := names & FORBIDDEN:
                yield f"imports {found}"
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in FORBIDDEN:
                yield f"calls {called.id}"
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                owner = called.value.id
                fixed = all(isinstance(argument, ast.Constant) for argument in node.args)
                runs = called.attr in RUNNERS and not fixed
                if (owner, called.attr) in LOADERS or owner in FORBIDDEN or runs:
                    yield f"calls {owner}.{called.attr}"
            for option in node.keywords:
                value = getattr(option.value, "value", None)
                if (option.arg, value) in {
                    ("allow_pickle", True), ("weights_only", False), ("shell", True)
                }:  # fmt: skip
                    yield f"says {option.arg}={value}"


def test_no_source_can_unpickle_or_evaluate():
    found = {
        f"{path.name}: {offence}"
        for path, source in python_sources()
        for offence in offences(source)
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "np.load('x', allow_pickle=True)",
        "torch.load('x', weights_only=False)",
        "eval('1')",
        "subprocess.run('x', shell=True)",
        "importlib.import_module(name)",
        "runpy.run_path(path)",
        "pd.read_pickle(path)",
        "os.popen(command)",
    ],
)
def test_the_test_above_can_fail(bad):
    assert list(offences(bad))


def test_nothing_of_a_run_is_parsed_before_it_is_checked(outputs, monkeypatch):
    run = store.Run("digits", "dictionary", DictionaryConfig(), "upstream")
    run.save({"a": torch.ones(3)}, {"t": {}}, {}, True)
    (state,) = run.folder.glob("state-*")
    (history,) = run.folder.glob("history-*")
    parsed = []

    def noted(owner, name):
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda path, *a: parsed.append(path) or function(path, *a))

    noted(mmap, "read")
    noted(store, "read_history")
    assert run.load() is not None
    assert parsed == [state, history]  # in this order, so that this test can fail
    for path in (history, state):
        parsed.clear()
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b"\x00")
        with pytest.raises(store.DamagedError, match=path.name):
            run.load()
        assert parsed == []
        path.write_bytes(whole)
    for text in (b"[]", b"null", b'{"digest": 1}', b"[" * 100_000, b'{"a":' * 5000, b"\xff"):
        (run.folder / "manifest.json").write_bytes(text)
        with pytest.raises(store.DamagedError, match=r"manifest\.json"):
            run.load()
        assert parsed == []


@pytest.mark.parametrize("name", ["../../state.safetensors", "/etc/passwd", "a/../../b"])
def test_a_manifest_cannot_name_files_elsewhere(name, outputs):
    """Its digest can be forged by who sends a folder, so names are looked at as well."""
    run = store.Run("digits", "dictionary", DictionaryConfig(), "upstream")
    run.save({"a": torch.ones(3)}, {"t": {}}, {}, True)
    path = run.folder / "manifest.json"
    manifest = store.read_manifest(path)
    manifest["files"][name] = {"bytes": 0, "sha256": "0" * 64}
    path.write_bytes(as_json(manifest | {"digest": store.digest(manifest)}))
    with pytest.raises(store.StoreError, match=r"names a file outside"):
        run.load()


def test_a_links_target_is_not_removed(outputs, tmp_path):
    """A folder of runs may hold links; tidying up removes the link and not what it names."""
    run = store.Run("digits", "dictionary", DictionaryConfig(), "upstream")
    run.save({"a": torch.ones(3)}, {"t": {}}, {}, True)
    target = tmp_path / "precious"
    target.write_text("precious")
    (run.folder / "state-000000000000.safetensors").symlink_to(target)
    run.save({"a": torch.zeros(3)}, {"t": {}}, {}, True)
    assert target.read_text() == "precious"


# Zips and images, by how much memory a process takes for them

READ = """
import sys, psutil, threading, time
from facog_lab.config import DataError
from facog_lab.data.load import load
from facog_lab.settings import DataConfig
process, most = psutil.Process(), [0]
before = process.memory_info().rss
def watch():
    while True:
        most[0] = max(most[0], process.memory_info().rss - before)
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
try:
    data = load(DataConfig(
        dataset="folder:" + sys.argv[1], profile="as_found", image_size=16))
    print("read", tuple(data.images.shape))
except DataError as error:
    print("refused:", str(error)[:300])
print(most[0] // 2**20)
"""


def read(path, cwd):
    """What a process says of a data set, and by how many MiB it grew."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    said, grown = done.stdout.strip().rsplit("\n", 1)
    return said, int(grown)


def zip_of_many(path, members, name_of):
    """A zip whose table of contents lists so many empty members; written by hand, fast."""
    entry = "<IHHHHHHIIIHHHHHII"
    names = [name_of(i).encode() for i in range(members)]
    table = b"".join(
        struct.pack(entry, 0x02014B50, 20, 20, 0, 0, 0, 33, 0, 0, 0, len(n), 0, 0, 0, 0, 0, 0) + n
        for n in names
    )
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"a"
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, members, members, len(table),
                        len(local))  # fmt: skip
    locator = struct.pack("<IIQI", 0x07064B50, 0, len(local) + len(table), 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(local + table + end64 + locator + end)


def png(width, height, mode="RGB", claimed=None):
    """A PNG of one colour: few bytes, many pixels."""
    channels, kind = {"RGB": (3, 2), "RGBA": (4, 6), "L": (1, 0)}[mode]

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    packer = zlib.compressobj(9)
    row = b"\x00" + bytes(width * channels)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", *(claimed or (width, height)), 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pets(path, odd, count=1):
    """A zip of class folders with something odd in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for label, name in enumerate(("cat", "dog")):
            for i in range(3):
                archive.writestr(f"train/{name}/{i}.png", png(9, 9 + 3 * label + i))
                archive.writestr(f"test/{name}/{i}.png", png(19, 9 + 3 * label + i))
        for i in range(count):
            archive.writestr(f"train/cat/odd{i}.png", odd + bytes(i))
    return path


HOSTILE = {
    "a million members": (
        lambda p: zip_of_many(p, 10**6, lambda i: f"train/c{i % 9}/{i:07}.png"),
        "table of contents has",
    ),
    "a million members of one letter": (
        lambda p: zip_of_many(p, 10**6, lambda i: "a"),
        "table of contents has",
    ),
    "as many members as are allowed": (
        lambda p: zip_of_many(p, 24 * 2**20 // 47, lambda i: "a"),
        "too few classes",
    ),
    "an image of 10 gigapixels": (
        lambda p: pets(p, png(9, 9, claimed=(100_000, 100_000))),
        "10000000000 pixels) exceeds limit",  # PIL's own, before ours
    ),
    "an image just above the limit": (
        lambda p: pets(p, png(7100, 7100)),
        "7100 × 7100 pixels, above 50,000,000",
    ),
    "a member of a gigabyte": (lambda p: pets(p, bytes(2**30)), "has 1,073,741,824 bytes"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("kind", HOSTILE)
def test_bombs_are_refused_below_500_mb_and_write_nothing(kind, tmp_path):
    make, words = HOSTILE[kind]
    make(tmp_path / "bomb.zip")
    before = sorted(tmp_path.rglob("*"))
    said, grown = read(tmp_path / "bomb.zip", tmp_path)
    print(kind, said, grown, "MiB")
    assert said.startswith("refused:")
    assert words in said
    assert grown < 500
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.long
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_eight_images_at_the_limit_are_read_below_500_mb(mode, tmp_path):
    """They are decoded by several threads, but not at the same time."""
    said, grown = read(pets(tmp_path / "large.zip", png(7071, 7071, mode), 8), tmp_path)
    print(said, grown, "MiB")
    assert said == "read (14, 3, 16, 16)"
    assert grown < 500


def test_a_link_in_a_zip_is_not_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(9, 9))
    path = pets(tmp_path / "link.zip", b"", 0)
    link = zipfile.ZipInfo("train/dog/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, str(secret))
    with pytest.raises(DataError, match=r"train/dog/link\.png: cannot be decoded"):
        load(DataConfig(dataset=f"folder:{path}", profile="as_found", image_size=16))
    with zipfile.ZipFile(path) as archive:
        assert archive.read("train/dog/link.png") == str(secret).encode()


# Code in parameters: tests/ui/test_parameters.py has the cells; here papermill itself


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_s; open('owned', 'w').close(); x", "1"),
        ("n_s\nopen('owned', 'w').close()\nx", "1"),
        ("n_s", "__import__('os').system('touch owned')"),
        ("dataset", "digits'); open('owned', 'w').close(); ('"),
        ("__builtins__", "1"),
        ("n_s\n!touch owned\nx", "1"),
        ("n_s\n%system touch owned\nx", "1"),
        ("n_s: __import__('os').system('touch owned')", "1"),
        ("n_s\nx = [open('owned', 'w') for _ in (1,)]\ny", "1"),
    ],
)
@pytest.mark.long
def test_parameters_that_try_to_become_code(name, value, tmp_path):
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "03_phase2.ipynb"),
               "out.ipynb", "-p", name, value]  # fmt: skip
    environment = {"PYTHONPATH": str(ROOT), "FACOG_OUTPUTS": str(tmp_path / "outputs")}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | environment
    )
    assert done.returncode != 0
    assert "ParameterError" in done.stderr
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "outputs").exists()


# Names that are code for a browser


class Tags(html.parser.HTMLParser):
    """What a browser would make of a text."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append(
            (tag, {k for k, v in attrs if k.startswith("on") or "script" in (v or "")})
        )


def harmless(text):
    tags = Tags()
    tags.feed(text)
    return not [t for t in tags.found if t[0] in ("script", "img", "iframe") or t[1]]


def texts(value):
    """All texts of a figure or a widget's state."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from texts(v)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from texts(v)


def hostile_data():
    of = tiny.long_tailed((40, 20, 9, 8))
    return type(of)(**{**vars(of), "class_names": NAMES})


def hostile_dictionary():
    of = tiny.dictionary((20, 9, 5, 3))
    return type(of)(**{**vars(of), "class_names": NAMES})


def test_a_browser_would_run_the_names_as_they_are():
    assert not harmless(NAMES[0])
    assert not harmless(NAMES[1])
    assert not harmless(NAMES[2])


def test_names_are_text_in_figures():
    data = hostile_data()
    figure = charts.class_counts(data.class_counts, data.class_names)
    assert all(harmless(text) for text in texts(figure.to_dict()))


def test_names_are_text_in_the_explorers():
    data, of = hostile_data(), hostile_dictionary()
    shown = explorers.feature(of, data, "on")
    states = [w.get_state() for w in everything(shown)]
    assert len(states) > 5
    shown = [(k, t) for state in states for k, v in state.items() for t in texts(v)]
    named = [(key, text) for key, text in shown if "alert(1)" in text]
    assert named
    for key, text in named:
        assert key in AS_TEXT or harmless(text), (key, text)


# What a page shows as text already: a list's entries, and a figure in words (its aria-label).
AS_TEXT = ("_options_labels", "description")


def everything(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def test_names_are_text_in_the_panel(outputs, monkeypatch):
    of = hostile_dictionary()
    loop = replay.Phase2(presets.experiment().phase2, of, tiny.model(of), "cpu")
    monkeypatch.setattr(replay, "start", lambda lab: loop)
    panel = phase2_panel.Phase2Panel(runs.open(presets.experiment(), "cpu"))
    try:
        panel.step()
        panel.result()
        panel.message.value = phase2_panel._marked(NAMES[0])
        panel._reason = NAMES[1]
        panel._say(time.monotonic())
        states = [widget.get_state() for widget in everything(panel.box)]
        states = [{k: v for k, v in state.items() if k not in AS_TEXT} for state in states]
        states += [panel.chart.to_dict(), panel.board.to_dict()]
        named = [t for state in states for t in texts(state) if "alert(1)" in t]
        assert len(named) > 5
        assert all(map(harmless, named))
    finally:
        panel.close()


@pytest.mark.parametrize("column", ["method", "level", "variant"])
def test_tables_of_results_show_texts_as_text(column):
    """Whoever sends a result file wrote them, and a styled table does not escape."""
    rows = [
        {"method": "facog", "level": "feature", "variant": "", "seed": seed, "acsa": 0.5}
        | {column: f"{text}={text}" if column == "variant" else text}
        for text in NAMES
        for seed in (0, 1)
    ]
    table = significance.shown(significance.summary(rows, "acsa")).to_html()
    assert "alert(1)" in table
    assert harmless(table)


def test_tables_of_classes_show_names_as_text():
    """What notebooks make of them is pandas' own table, which escapes."""
    table = pandas.DataFrame({"class": NAMES, "n": np.arange(4)}, index=list(NAMES))
    assert harmless(table._repr_html_())
    sources = [source for path, source in python_sources() if path.suffix == ".ipynb"]
    assert not [s for s in sources if re.search(r"\.style\b|\.to_html\(|escape=False", s)]


# JupyterLab

OPENING = re.compile(
    r"--ip\b|ServerApp\.ip\b|0\.0\.0\.0|allow_origin|allow_remote|allow_root|--allow-root|token|"
    r"password|disable_check_xsrf|--no-auth|IdentityProvider|allow_unauthenticated|certfile|"
    r"custom_display_url|websocket_url|public|\*",
    re.I,
)


def lab_command():
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    return recipe[1].strip()


def test_make_lab_opens_nothing():
    assert not OPENING.search(lab_command())
    assert "jupyter lab" in lab_command()
    configs = [p for p in ROOT.rglob("jupyter*config*") if ".venv" not in p.parts]
    assert configs == []
    assert not re.search(r"JUPYTER_\w*(TOKEN|IP|CONFIG)", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize(
    "setting",
    ["--ip=0.0.0.0", "--ServerApp.ip=::", "--IdentityProvider.token=''", "--ServerApp.token=",
     "--ServerApp.allow_origin='*'", "--ServerApp.disable_check_xsrf=True", "--allow-root",
     "--ServerApp.password=x", "--ServerApp.allow_remote_access=1"],
)  # fmt: skip
def test_a_setting_that_opens_it_fails(setting):
    assert OPENING.search(f"{lab_command()} {setting}")


def addresses(pid, port):
    """Where a process and its children listen at a port."""
    process = psutil.Process(pid)
    return {
        connection.laddr.ip
        for one in (process, *process.children(recursive=True))
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }


def status(url):
    try:
        return urllib.request.urlopen(url, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_lab_listens_here_alone_and_asks_for_its_token(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = shlex.split(lab_command().replace("$(BIN)/jupyter", f"{sys.executable} -m jupyter"))
    words += ["--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if os.geteuid() == 0:
        words.append("--allow-root")  # the tests may run as root, users do not
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR",
                                                   "JUPYTER_DATA_DIR", "IPYTHONDIR")}  # fmt: skip
    server = subprocess.Popen(
        words, cwd=ROOT, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    impatient = threading.Timer(120, server.kill)  # so that no line is waited for without end
    impatient.start()
    try:
        token = None
        for line in server.stderr:
            if found := re.search(rf"http://(\S+?):{port}/lab\S*\?token=(\w+)", line):
                assert found[1] in ("localhost", "127.0.0.1")
                token = found[2]
                break
        assert token is not None
        assert len(token) >= 32
        until = time.monotonic() + 30
        while not (listening := addresses(server.pid, port)) and time.monotonic() < until:
            time.sleep(0.1)
        assert listening
        assert listening <= {"127.0.0.1", "::1"}
        url = f"http://127.0.0.1:{port}/api/contents"
        assert status(url) == 403
        assert status(f"{url}?token={'0' * len(token)}") == 403
        assert status(f"{url}?token={token}") == 200
    finally:
        impatient.cancel()
        server.terminate()
        server.wait(20)
