"""The live panel in kernels of several versions, driven by the messages that a front end sends."""

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from jupyter_client import KernelManager

VERSIONS = (
    "ipykernel==6.31.0",  # has no subshells
    pytest.param("ipykernel==7.3.0", marks=pytest.mark.long),
    "ipykernel",  # the newest
)
NOT_TO_BE_HAD = "No matching distribution found"  # what pip says without an index, too

PANEL = """
from facog_lab import runs
from facog_lab.runs import presets
from facog_lab.ui import phase2_panel

settings = presets.experiment("cpu", phase1={"epochs": 1}, phase2={"epochs": 2000})
panel = phase2_panel.phase2(runs.open(settings, "cpu"), "auto")
"""
STEPS = "panel.history['steps']"
TRAINERS = "[t.name for t in __import__('threading').enumerate()].count('facog-training')"

pytestmark = pytest.mark.first


class Kernel:
    """A running kernel, and what a front end does with it.

    Args:
        folder: packages that are imported rather than the environment's.
        outputs: where runs are kept.
    """

    def __init__(self, folder, outputs):
        self.manager = KernelManager(kernel_name="python3")
        path = os.pathsep.join([str(folder), str(ROOT)])
        settings = {"PYTHONPATH": path, "FACOG_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1"}
        self.manager.start_kernel(env=os.environ | settings)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        info = self.client.kernel_info(reply=True, timeout=20)["content"]
        self.subshells = [None]  # the main shell, and one beside it as JupyterLab makes for widgets
        if "kernel subshells" in info.get("supported_features", []):
            request = self.client.session.msg("create_subshell_request")
            self.client.control_channel.send(request)
            self.subshells.append(self.client.get_control_msg(timeout=20)["content"]["subshell_id"])

    def run(self, code):
        """Runs a cell as a live front end does, which lets the kernel ask for input."""
        reply = self.client.execute_interactive(code, allow_stdin=True, timeout=60)["content"]
        assert reply["status"] == "ok", "\n".join(reply["traceback"])

    def value(self, expression):
        """The value of an expression, which must be JSON."""
        asked = {"value": f"__import__('json').dumps({expression})"}
        request = self.client.execute("", silent=True, user_expressions=asked)
        while (reply := self.client.get_shell_msg(timeout=20))["parent_header"][
            "msg_id"
        ] != request:
            pass
        answer = reply["content"]["user_expressions"]["value"]
        assert answer["status"] == "ok", answer
        return json.loads(eval(answer["data"]["text/plain"]))

    def wait(self, expression, seconds=20):
        """Waits until an expression is true."""
        until = time.monotonic() + seconds
        while not self.value(f"bool({expression})"):
            assert time.monotonic() < until, f"after {seconds} s not true: {expression}"
            time.sleep(0.05)

    def set(self, widget, subshell=None, **state):
        """A hand at a control: its new state comes as a message from the page."""
        data = {"method": "update", "state": state, "buffer_paths": []}
        self.send(self.value(f"{widget}.model_id"), data, subshell)

    def click(self, button, subshell=None):
        """A press of a button."""
        data = {"method": "custom", "content": {"event": "click"}}
        self.send(self.value(f"{button}.model_id"), data, subshell)

    def send(self, model_id, data, subshell=None):
        """A message of the page to a widget."""
        message = self.client.session.msg("comm_msg", {"comm_id": model_id, "data": data})
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder for runs, so that phase 1 is made once."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module", params=VERSIONS)
def kernel(request, tmp_path_factory, runs):
    """A kernel of each version; all else comes from this environment."""
    folder = tmp_path_factory.mktemp("ipykernel")
    wanted = [request.param, "nest-asyncio", "psutil"]  # which 6.31 needs and 7.4 does not
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*install, *wanted], capture_output=True, text=True)
    if done.returncode:
        assert NOT_TO_BE_HAD in done.stderr, done.stderr
        pytest.skip(f"pip reaches no index that has {request.param}: {done.stderr[-300:]}")
    kernel = Kernel(folder, runs)
    assert kernel.value("__import__('ipykernel').__file__").startswith(str(folder))
    yield kernel
    kernel.end()


@pytest.fixture
def panel(kernel):
    """The kernel, with a panel that a cell has just made; no step was taken."""
    kernel.run(PANEL)
    assert kernel.value("type(panel).__name__") == "Phase2Panel"
    assert kernel.value("panel.loop.step") == 0
    return kernel


def test_what_a_hand_moves_is_read_by_a_step_while_it_trains(panel):
    panel.click("panel.buttons['Start']")
    for turn, subshell in enumerate(panel.subshells):
        panel.wait(f"panel.loop.step > {100 * turn + 20}")
        before = panel.value("panel.loop.step")
        panel.set("panel.knobs['lambda_adv'].slider", subshell, value=0.25 + turn)
        panel.set("panel.knobs['n_s'].box", subshell, value=9 + turn)
        panel.wait(f"{STEPS}['n_s'][-1] == {9 + turn}")
        assert panel.value("panel.worker.running")
        used = panel.value(f"{STEPS}['lambda_adv'].index({0.25 + turn})")
        assert used >= before  # later than the message, and of all steps since
        assert set(panel.value(f"{STEPS}['lambda_adv'][{used}:]")) == {0.25 + turn}
        assert panel.value("panel.knobs['n_s'].slider.value") == 9 + turn  # both follow
    panel.click("panel.buttons['Pause']", subshell)
    panel.wait(f"{TRAINERS} == 0")
    changed = panel.value("[(c.control, c.new) for c in panel.run.changes]")
    assert [c for c in changed if c[0] == "n_s"] == [["n_s", 9 + k] for k in range(turn + 1)]


def test_pause_step_and_reset(panel):
    for subshell in panel.subshells:
        panel.click("panel.buttons['Start']", subshell)
        panel.wait("panel.loop.step > 10")
        panel.click("panel.buttons['Pause']", subshell)
        panel.wait(f"{TRAINERS} == 0")
        paused = panel.value("panel.loop.step")
        assert "Paused" in panel.value("panel.state.value")
        panel.click("panel.buttons['Step']", subshell)
        panel.wait(f"{TRAINERS} == 0 and panel.loop.step > {paused}")
        assert panel.value("panel.loop.step") == paused + 1
        panel.click("panel.buttons['Reset']", subshell)
        panel.wait("panel.loop.step == 0")
        assert panel.value("panel.history['steps']") == {}


def test_a_cell_that_runs_again_leaves_one_thread(panel):
    panel.click("panel.buttons['Start']")
    panel.wait("panel.loop.step > 10")
    panel.run("before = panel\n" + PANEL)
    assert panel.value(TRAINERS) == 0
    panel.click("panel.buttons['Start']")
    panel.wait("panel.loop.step > 10")
    assert panel.value(TRAINERS) == 1
    assert not panel.value("before.worker.running")


@pytest.fixture
def impatient(panel):
    """A panel that gives its page seconds only."""
    panel.run("from facog_lab.ui import heartbeat; heartbeat.SILENT, heartbeat.GRACE = 1.0, 0.5")
    yield panel
    panel.run("heartbeat.SILENT, heartbeat.GRACE = 15.0, 5.0")


def test_a_page_that_falls_silent_ends_the_thread(impatient):
    """A page that never said a word, as in the other tests, ends nothing."""
    impatient.run("heartbeat.SILENT = 2.5")  # a busy machine may keep a beat for a second
    impatient.click("panel.buttons['Start']")
    for beats in range(1, 12):
        impatient.set("panel.heartbeat", impatient.subshells[-1], beats=beats)
        time.sleep(0.3)
    assert impatient.value("panel.worker.running")
    impatient.wait(f"{TRAINERS} == 0")
    assert "its page was closed" in impatient.value("panel.state.value")


def test_a_page_whose_words_wait_for_a_cell_is_there(impatient):
    page = impatient.value("panel.heartbeat.model_id")
    impatient.click("panel.buttons['Start']")
    impatient.client.execute("import time; before = panel.loop.step; time.sleep(3)")
    for beats in range(1, 12):
        impatient.send(page, {"method": "update", "state": {"beats": beats}})
        time.sleep(0.3)
    assert impatient.value("panel.heartbeat.beats") == 11
    assert impatient.value("panel.worker.running")
    assert impatient.value("panel.loop.step > before + 100")  # it trained all the while


def test_an_error_in_the_thread_is_shown_and_raised(panel):
    panel.run("panel.loop.dictionary = None")
    panel.click("panel.buttons['Start']")
    panel.wait(f"panel.worker.error is not None and {TRAINERS} == 0")
    assert "Stopped" in panel.value("panel.state.value")
    with pytest.raises(AssertionError, match="AttributeError"):
        panel.run("panel.result()")
