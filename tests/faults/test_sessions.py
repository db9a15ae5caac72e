"""A kernel that is restarted or interrupted, a page that is closed, a long session."""

import contextlib
import gc
import os
import random
import threading
import time

import psutil
import pytest
from jupyter_client import KernelManager
from loops import same, until

from facog_lab import runs
from facog_lab.runs import presets
from facog_lab.ui import phase2_panel
from facog_lab.ui.heartbeat import Heartbeat

CELL = """
import torch
torch.set_num_threads(1)
from facog_lab import runs
from facog_lab.runs import presets, training as kept
kept.SECONDS_BETWEEN_SAVES = 0.0
settings = presets.experiment(phase1={"epochs": 30, "warmup_epochs": 1}, seed=8)
training = runs.open(settings, "cpu").phase1
first = training.loop.step
training.finish()
"""
SECONDS = float(os.environ.get("FACOG_SOAK_SECONDS", "120"))


def run(client, code):
    reply = client.execute_interactive(code, timeout=120, output_hook=lambda message: None)
    return reply["content"]


@pytest.mark.long
@pytest.mark.parametrize("how", ["restart", "interrupt"])
def test_a_kernel_that_is_restarted_or_interrupted(how, outputs):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=os.environ | {"OMP_NUM_THREADS": "1"})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute(CELL)
        until(lambda: list(outputs.glob("digits/phase1/*/manifest.json")), 60)
        time.sleep(random.Random(how).uniform(0, 1))
        if how == "restart":
            manager.restart_kernel(now=True)
            client.wait_for_ready(timeout=60)
        else:
            manager.interrupt_kernel()
            assert client.get_shell_msg(timeout=60)["content"]["ename"] == "KeyboardInterrupt"
        assert run(client, CELL)["status"] == "ok"
        assert run(client, "assert first > 0")["status"] == "ok"  # it went on, and not anew
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    settings = presets.experiment(phase1={"epochs": 30, "warmup_epochs": 1}, seed=8)
    training = runs.open(settings, "cpu").phase1
    assert training.complete
    os.environ["FACOG_OUTPUTS"] = str(outputs / "again")
    whole = runs.open(settings, "cpu").phase1
    whole.finish()
    assert same(whole.loop, training.loop)
    assert whole.history == training.history


def test_a_page_that_is_closed_and_opened_again(outputs, monkeypatch):
    settings = presets.experiment(phase1={"epochs": 1, "warmup_epochs": 0}, phase2={"epochs": 25})
    gone = [False]
    monkeypatch.setattr(Heartbeat, "gone", lambda self: gone[0])
    panel = phase2_panel.Phase2Panel(runs.open(settings, "cpu"))
    try:
        for pause in (5, 20, 40):
            gone[0] = False
            panel.start()
            until(lambda least=pause: panel.loop.step >= least)
            gone[0] = True
            panel.result()
            assert "its page was closed" in panel.state.value
            assert "facog-training" not in {t.name for t in threading.enumerate()}
        gone[0] = False
        panel.start()
        loop = panel.result()
    finally:
        panel.close()
    kept = runs.open(settings, "cpu").phase2  # the panel has kept it as the plain run
    assert kept.complete
    assert same(loop, kept.loop)
    os.environ["FACOG_OUTPUTS"] = str(outputs / "again")
    whole = runs.open(settings, "cpu").phase2
    whole.finish()
    assert same(whole.loop, loop)
    assert whole.history == loop.history


def handles(outputs):
    """What this process has open, without the files and locks of a state that is being written."""
    names = []
    for link in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            names.append(os.readlink(f"/proc/self/fd/{link}"))
    return [name for name in names if not name.startswith(str(outputs))]


@pytest.mark.long
def test_a_long_session_of_the_panel(outputs, monkeypatch):
    """FACOG_SOAK_SECONDS of phase 2 with the panel's loop; 1800 is what the promise is about."""
    settings = presets.experiment(
        phase1={"epochs": 1, "warmup_epochs": 0}, phase2={"epochs": 10_000}
    )
    monkeypatch.setattr(Heartbeat, "gone", lambda self: False)
    process = psutil.Process()
    panel = phase2_panel.Phase2Panel(runs.open(settings, "cpu"))
    rows, steps, last = [], 0, 0
    try:
        began = time.monotonic()
        panel.start()
        while (now := time.monotonic() - began) < SECONDS:
            time.sleep(SECONDS / 40)
            if not panel.worker.running:  # at its last step: from the start again
                panel.reset()
                panel.start()
            memory = process.memory_info().rss / 2**20
            steps += max(0, panel.loop.step - last)
            last = panel.loop.step
            rows.append((now, steps, memory, process.num_threads(), len(handles(outputs))))
        panel.pause()
        panel.result()
    finally:
        panel.close()
    settled = rows[len(rows) // 4 :]
    per_step = (settled[-1][2] - settled[0][2]) / max(1, settled[-1][1] - settled[0][1])
    print(f"{SECONDS:.0f} s, {settled[-1][1]:,} steps: {settled[0][2]:.0f} to {settled[-1][2]:.0f} "
          f"MiB, {1000 * per_step:.2f} MiB in 1,000 steps; threads {settled[0][3]} to "
          f"{settled[-1][3]}, files {settled[0][4]} to {settled[-1][4]}")  # fmt: skip
    assert max(row[3] for row in settled) <= settled[0][3]
    assert max(row[4] for row in settled) <= settled[0][4]
    assert 1000 * per_step < 10


def test_no_thread_or_file_is_left_by_a_run(outputs):
    process = psutil.Process()
    settings = presets.experiment(phase1={"epochs": 2, "warmup_epochs": 0}, phase2={"epochs": 2})
    runs.open(settings, "cpu").phase2.finish()  # what is made once is there after this
    gc.collect()  # a mapped dictionary is open as long as the loop that reads it is there
    files, threads = process.num_fds(), {t.name for t in threading.enumerate()}
    for seed in range(3):
        again = presets.experiment(
            phase1={"epochs": 2, "warmup_epochs": 0}, phase2={"epochs": 2}, seed=seed
        )
        runs.open(again, "cpu").phase2.finish()
    gc.collect()
    assert process.num_fds() <= files
    assert {t.name for t in threading.enumerate()} == threads
