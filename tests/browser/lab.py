"""JupyterLab as a person has it: a server, a notebook in a page, and a look into its kernel."""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import nbformat
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import find_connection_file

ROOT = Path(__file__).parents[2]
PLOTLY = "application/vnd.plotly.v1+json"
SCREENSHOTS = ROOT / "outputs" / "browser"
# How notebooks are opened where all of them are, so that each is run once for all tests.
OPTIONS = {
    "03_phase2": {"epochs": 20},  # which end while a test looks
    "09_sweep": {"grid": {"imbalance_ratio": [20.0], "n_s": [1, 5], "seed": [0]}},  # two points
}

FOLDERS = {
    "FACOG_OUTPUTS": "outputs",
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
}

# Of every code cell of the notebook in front: whether it ran and what it left.
CELLS = """() => {
    const cells = [...window.jupyterapp.shell.currentWidget.content.widgets];
    return cells.map(cell => cell.model).filter(model => model.type === "code").map(model => ({
        count: model.executionCount,
        running: model.executionState === "running",
        outputs: model.outputs.toJSON(),
    }));
}"""
# Whether plotly has drawn something in an element of class js-plotly-plot.
DRAWN = """graph => {
    const size = graph.querySelector(".main-svg")?.getBoundingClientRect();
    const marks = ".trace, .point, .hm image, .im image, .imagelayer image, .gl-canvas";
    return Boolean(size && size.width > 200 && size.height > 100
        && graph._fullData.some(trace => trace.visible === true) && graph.querySelector(marks));
}"""

# The subplots of a figure with fewer traces that show a mark than traces that have a point. With a
# group of traces that plotly has taken out of a subplot, all that is left of them is their data.
BLANK = """graph => {
    const blank = [];
    for (const [name, plot] of Object.entries(graph._fullLayout._plots ?? {})) {
        const finite = values => Array.from(values ?? []).some(value => Number.isFinite(value));
        const has = graph._fullData.filter(trace => ["scatter", "bar"].includes(trace.type)
            && trace.visible === true && trace.xaxis + trace.yaxis === name
            && (finite(trace.y) || finite(trace.x)));
        const marked = mark => mark.getAttribute("d")?.length > 3 || mark.textContent;
        const drawn = [...plot.plot.node().querySelectorAll(".trace")].filter(trace =>
            [...trace.querySelectorAll("path, text")].some(marked));
        if (drawn.length < has.length) blank.push(`${name}: ${drawn.length} of ${has.length}`);
    }
    return blank;
}"""
# What a screen reader says of a figure: of a live one its drawing, of a plain one the next output.
SAID = """graph => {
    const own = graph.querySelector("[role=img]");
    const next = graph.closest(".jp-OutputArea-child")?.nextElementSibling;
    return (own ?? next?.querySelector("[role=img]"))?.getAttribute("aria-label") ?? "";
}"""


class Lab:
    """A JupyterLab server from this environment, with settings, runs and notebooks of its own.

    Args:
        folder: where all that it reads and writes lies.
    """

    def __init__(self, folder):
        self.folder, self.token = folder, secrets.token_hex()
        self.root = folder / "notebooks"
        self.root.mkdir()
        self.set("notification", fetchNews="false", checkForUpdates=False)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"

    def __enter__(self):
        environment = os.environ | {name: str(self.folder / end) for name, end in FOLDERS.items()}
        environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        options = [
            "--no-browser", "--allow-root", "--expose-app-in-browser",
            f"--ServerApp.root_dir={self.root}", f"--IdentityProvider.token={self.token}",
            f"--ServerApp.port={self.url.rpartition(':')[2]}", "--ServerApp.port_retries=0",
        ]  # fmt: skip
        self.log = (self.folder / "lab.log").open("w")
        self.server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its kernels end with it
        )
        self._wait_for_answer()
        return self

    def _wait_for_answer(self):
        until = time.monotonic() + 60
        while time.monotonic() < until and self.server.poll() is None:
            with contextlib.suppress(OSError):
                return self.ask("GET", "status")
            time.sleep(0.2)
        raise RuntimeError(f"JupyterLab does not answer:\n{(self.folder / 'lab.log').read_text()}")

    def __exit__(self, *_):
        for kernel in self.ask("GET", "kernels"):  # each leads a process group of its own
            self.ask("DELETE", f"kernels/{kernel['id']}")
        os.killpg(self.server.pid, signal.SIGTERM)
        self.server.wait(20)
        self.log.close()

    def set(self, topic, **values):
        """Sets a person's preferences, e.g. ``set("themes", theme="JupyterLab Dark")``."""
        folder = self.folder / "settings" / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{topic}.jupyterlab-settings").write_text(json.dumps(values))

    def ask(self, method, what):
        """The answer of the server's REST API."""
        request = urllib.request.Request(f"{self.url}/api/{what}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or "null")

    def open(self, page, stem, last=None, **parameters):
        """A copy of a notebook, opened in the page, in a workspace of its own.

        Args:
            page: a Playwright page.
            stem: of the notebook, e.g. "03_phase2".
            last: text of the last cell that the copy is to have; None for all cells.
            parameters: values for a cell after the parameters cell, as papermill puts them.
        """
        folder = self.root / uuid.uuid4().hex[:8]
        folder.mkdir()
        path = folder / f"{stem}.ipynb"
        notebook = nbformat.read(ROOT / "notebooks" / path.name, as_version=4)
        if parameters:
            source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
            tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
            place = tags.index(["parameters"]) + 1
            notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
        if last is not None:
            (place,) = (k for k, cell in enumerate(notebook.cells) if last in cell.source)
            del notebook.cells[place + 1 :]
        nbformat.write(notebook, path)
        return Notebook(self, page, path)


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, lab, page, path):
        self.lab, self.path = lab, path
        self.show(page)

    def show(self, page):
        """Opens it in a page, where it finds its kernel if it has one."""
        self.page = page
        where = f"workspaces/{self.path.parent.name}/tree/{self.path.relative_to(self.lab.root)}"
        page.goto(f"{self.lab.url}/lab/{where}?token={self.lab.token}&reset")
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.panel.locator(".jp-Cell").first.wait_for()
        self.wait(self.kernels, "a kernel", 60)

    def wait(self, holds, what, seconds):
        """Waits until `holds()` is true, and returns what it returned."""
        until = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < until, f"after {seconds} s still not there: {what}"
            time.sleep(0.05) if self.page.is_closed() else self.page.wait_for_timeout(50)
        return found

    def kernels(self):
        """The server's records of the kernels that this notebook has."""
        of_this = str(self.path.relative_to(self.lab.root))
        return [s["kernel"] for s in self.lab.ask("GET", "sessions") if s["path"] == of_this]

    def run_all(self, seconds=120):
        """Run → Run All Cells; returns when all have run, none with an error."""
        self._choose("Run", "Run All Cells")
        self.wait(self._all_ran, "the end of all cells", seconds)

    def run_again(self, source):
        """Runs the cell that has this source, as Ctrl+Enter in it does."""
        cell = self.panel.locator(".jp-CodeCell", has_text=source).locator(".cm-content")
        cell.press("Control+Enter")

    def _choose(self, menu, item):
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_text(item, exact=True).click()

    def _all_ran(self):
        cells = self.page.evaluate(CELLS)
        errors = [o for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
        assert not errors, "\n".join(errors[0]["traceback"])
        return all(cell["count"] and not cell["running"] for cell in cells)

    def outputs(self):
        """All outputs of code cells, as in nbformat."""
        return [output for cell in self.page.evaluate(CELLS) for output in cell["outputs"]]

    def figures(self):
        """Scrolls to every figure in turn, and yields it when it is drawn."""
        graphs = self.panel.locator(".js-plotly-plot")
        for k in range(graphs.count()):
            graph = graphs.nth(k)
            graph.scroll_into_view_if_needed()
            self.wait(lambda graph=graph: graph.evaluate(DRAWN), f"figure {k + 1} drawn", 20)
            yield graph

    def control(self, label):
        """The control that a screen reader calls so."""
        return self.page.get_by_label(label, exact=True)

    def button(self, name):
        """The button of that name."""
        return self.panel.get_by_role("button").filter(has_text=re.compile(rf"^\s*{name}$"))

    def slider(self, label):
        """The handle of the slider beside the number box of that name."""
        row = self.panel.locator(".widget-hbox", has=self.control(label)).last
        return row.get_by_role("slider")

    def screenshot(self, name):
        """Keeps a picture of the page as an artefact."""
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def save(self):
        """File → Save Notebook; returns the file's size in bytes."""
        before = self.path.stat().st_mtime_ns
        self._choose("File", "Save Notebook")
        self.wait(lambda: self.path.stat().st_mtime_ns > before, "the saved file", 20)
        self.wait(lambda: self.path.read_text().endswith("}\n"), "all of the saved file", 20)
        return self.path.stat().st_size

    def ask_kernel(self, expression):
        """The value of an expression in the running kernel, which must be JSON; leaves no trace."""
        (kernel,) = self.kernels()
        file = find_connection_file(
            f"kernel-{kernel['id']}.json", path=[str(self.lab.folder / "runtime")]
        )
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels(stdin=False, hb=False)
        try:
            asked = {"value": f"__import__('json').dumps({expression})"}
            request = client.execute("", silent=True, user_expressions=asked, allow_stdin=False)
            reply = client.get_shell_msg(timeout=20)
            while reply["parent_header"]["msg_id"] != request:
                reply = client.get_shell_msg(timeout=20)
        finally:
            client.stop_channels()
        answer = reply["content"]["user_expressions"]["value"]
        assert answer["status"] == "ok", answer
        return json.loads(eval(answer["data"]["text/plain"]))

    def threads(self):
        """Names of the threads that are alive in the kernel."""
        return self.ask_kernel("[t.name for t in __import__('threading').enumerate()]")
