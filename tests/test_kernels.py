"""The live panel in kernels of several versions, driven by the messages that a front end sends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jupyter_client import KernelManager

ROOT = Path(__file__).parents[1]
VERSIONS = ("ipykernel==6.31.0", "ipykernel==7.3.0", "ipykernel")  # and the newest
NOT_TO_BE_HAD = "No matching distribution found"  # what pip says without an index, too

STAND_IN = """
import ipywidgets
from facog_lab.worker import Worker

def steps():
    while True:
        seen.append(slider.value)
        yield

seen = []
slider = ipywidgets.IntSlider(5, 1, 20)
worker = Worker(steps(), lambda step: None, lambda: None)
worker.rate = 200
display(slider)
worker.start()
"""


class Kernel:
    """A running kernel, and what a front end does with it.

    Args:
        folder: packages that are imported rather than the environment's.
    """

    def __init__(self, folder):
        self.manager = KernelManager(kernel_name="python3")
        path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.manager.start_kernel(env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
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
        self._send(widget, subshell, {"method": "update", "state": state, "buffer_paths": []})

    def click(self, button, subshell=None):
        """A press of a button."""
        self._send(button, subshell, {"method": "custom", "content": {"event": "click"}})

    def _send(self, widget, subshell, data):
        content = {"comm_id": self.value(f"{widget}.model_id"), "data": data}
        message = self.client.session.msg("comm_msg", content)
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module", params=VERSIONS)
def kernel(request, tmp_path_factory):
    """A kernel of each version; all else comes from this environment."""
    folder = tmp_path_factory.mktemp("ipykernel")
    wanted = [request.param, "nest-asyncio", "psutil"]  # which 6.31 needs and 7.4 does not
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*install, *wanted], capture_output=True, text=True)
    if done.returncode:
        assert NOT_TO_BE_HAD in done.stderr, done.stderr
        pytest.skip(f"pip reaches no index that has {request.param}: {done.stderr[-300:]}")
    kernel = Kernel(folder)
    assert kernel.value("__import__('ipykernel').__file__").startswith(str(folder))
    yield kernel
    kernel.end()


def test_a_value_arrives_while_a_thread_trains(kernel):
    kernel.run(STAND_IN)
    for value, subshell in enumerate(kernel.subshells, start=7):
        kernel.set("slider", subshell, value=value)
        kernel.wait(f"seen[-1] == {value}")
        assert kernel.value("worker.running")
    kernel.run("worker.pause()")
