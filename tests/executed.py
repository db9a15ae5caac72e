"""papermill on the command line, and what it leaves."""

import os
import subprocess
import sys

import nbformat


def papermill(notebook, out, *options, cwd, outputs):
    environment = os.environ | {"FACOG_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "papermill", notebook, out, *options, "--no-progress-bar"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def outputs_of(path):
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells for output in cell.get("outputs", [])]
