"""A notebook executed by papermill in a kernel of this very Python, and a point of a sweep."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client import AsyncKernelManager, KernelManager
from jupyter_client.kernelspec import KernelSpec

from facog_lab import report
from facog_lab.disk import write
from facog_lab.points import Point, Row


def execute(
    notebook: Path,
    copy: Path,
    cwd: Path,
    parameters: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    progress_bar: bool = False,
) -> str:
    """Executes a notebook; the executed copy, or what there is of it, is kept.

    Args:
        notebook: to execute.
        copy: where the executed one is written, cell by cell.
        cwd: the folder that its kernel runs in.
        parameters: in the place of the notebook's own.
        environment: variables that the kernel gets besides this process's.
        progress_bar: whether papermill shows one.

    Returns:
        In which cell it failed, and how; empty if it did not.

    Raises:
        DeadKernelError: if the kernel was ended from outside, for instance for want of memory.
    """
    try:
        papermill.execute_notebook(
            notebook,
            copy,
            parameters=dict(parameters or {}),
            kernel_name="python3",
            progress_bar=progress_bar,
            kernel_manager_class=_of_this_python(environment or {}),
            resources={"metadata": {"path": str(cwd)}},  # papermill's cwd would be the process's
        )
    except papermill.PapermillExecutionError as error:
        reason = str(error.evalue).strip()
        return f"cell In [{error.exec_count}] failed with {error.ename}: {reason}"
    return ""


def _of_this_python(environment: Mapping[str, str]) -> type[KernelManager]:
    """What starts kernels of the running Python, whatever kernels are installed by a name."""
    # What a kernel says of its sockets, or of being ended, is no help here.
    command = make_ipkernel_cmd(extra_arguments=["--log-level=CRITICAL"])

    class Manager(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=command, env=dict(environment), language="python")

    return Manager


def run(point: Point) -> Row:
    """Runs a point, unless that was done meanwhile, and keeps its row and executed notebook.

    Raises:
        DeadKernelError: see `execute`; no row is kept then.
    """
    with point.alone():
        row = point.row()
        if row is not None and not row["error"]:
            return row
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "executed.ipynb"
            try:
                error = execute(point.source, copy, point.cwd, point.values, point.environment)
            finally:
                if copy.exists():
                    point.folder.mkdir(parents=True, exist_ok=True)
                    write(point.executed, copy.read_bytes())
            scores = report.found(nbformat.read(copy, as_version=4))
        return point.keep(
            scores=scores,
            error=error,
            seconds=round(time.monotonic() - began, 1),
            machine=platform.node(),
            date=time.strftime("%Y-%m-%d %H:%M"),
        )
