"""Phase 1 in several processes: torchrun as a child process of a notebook.

    torchrun --nproc-per-node 2 -m facog_lab.cli.train --preset paper -p dataset cifar100 -p seed 1

The processes communicate only through the run's folder: they save there, and the notebook reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import torch

from facog_lab.config import ConfigError, Device, LabError
from facog_lab.paths import project_root
from facog_lab.runs import distributed
from facog_lab.runs.experiment import Experiment

RESTARTS = 3  # of all processes, after one of them died
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_END = 40.0  # torchrun gives its processes 30 before it kills them


class LaunchError(LabError, RuntimeError):
    """The processes that torchrun had started came to an end before their work did."""


def started(
    settings: Experiment, device: Device, devices: int, dictionary: bool = False
) -> Iterator[None]:
    """Starts torchrun and yields now and then until it is done; closing the iterator ends it.

    Args:
        settings: the experiment whose phase 1 is asked for.
        device: where the processes train.
        devices: how many of them.
        dictionary: whether its feature dictionary is asked for, too.

    Raises:
        ConfigError: if there are fewer GPUs.
        LaunchError: with the last lines of their output, if they failed more than RESTARTS times.
    """
    if device != "cpu" and torch.cuda.is_available():
        try:
            distributed.check_gpus(devices)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(devices), "--max-restarts", str(RESTARTS)]
    command += [
        "-m",
        "facog_lab.cli.train",
        "--device",
        device,
        "--settings",
        json.dumps(settings.written()),
    ]
    command += ["--dictionary"] * dictionary
    threads = str(max(1, (os.cpu_count() or 1) // devices))
    # The notebook's folder is not the checkout's, from which the package may be used uninstalled.
    path = os.pathsep.join(filter(None, [str(project_root()), os.environ.get("PYTHONPATH")]))
    environment = {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": path}
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        try:
            while child.poll() is None:
                yield
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(SECONDS_BETWEEN_LOOKS)
            if child.returncode == 0:
                yield  # for what was saved last
                return
        finally:
            _end(child)
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    raise LaunchError(
        f"{devices} processes on {device!r} failed, and {RESTARTS} restarts, too. Their "
        "last save is kept; devices = 1 resumes from it. Last output:\n" + "\n".join(lines[-50:])
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Has torchrun end its processes, unless it is done."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
