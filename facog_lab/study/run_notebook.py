"""A notebook executed by papermill in a kernel of this very Python, and a point of a sweep."""

from __future__ import annotations

import contextlib
import platform
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from filelock import Timeout
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client import AsyncKernelManager, KernelManager
from jupyter_client.kernelspec import KernelSpec

from facog_lab.paths import StoreError, explain_oserror, write
from facog_lab.study import report
from facog_lab.study.sweep_points import Point, Row

MARK = "FACOG_POINT"  # the variable by which a point's processes are known
ROUNDS = 100  # of looking for processes that started others meanwhile


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
        parameters: in place of the notebook's own.
        environment: variables for the kernel, added to this process's.
        progress_bar: whether papermill shows one.

    Returns:
        In which cell it failed, and how; empty if it did not.

    Raises:
        DeadKernelError: if the kernel was ended from outside, for instance when out of memory.
    """
    try:
        papermill.execute_notebook(
            _as_it_is(notebook),
            _as_it_is(copy),
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
    # A kernel's messages about its sockets, or about being ended, do not help here.
    command = make_ipkernel_cmd(extra_arguments=["--log-level=CRITICAL"])

    class Manager(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=command, env=dict(environment), language="python")

    return Manager


def run(point: Point, timeout: float | None = None) -> Row:
    """Runs a point, unless that was done meanwhile, and keeps its row and executed notebook.

    Args:
        point: to run.
        timeout: seconds that it may take, and that another process that runs it is waited for;
            then it is ended with every process that it started. None: no end.

    Raises:
        DeadKernelError: see `execute`; no row is kept then.
    """
    try:
        with point.alone(timeout):
            row = point.row()
            return row if row is not None and not row["error"] else _made(point, timeout)
    except Timeout:
        error = f"timed out: it is being run elsewhere, and {timeout:g} s were over."
        return point.unkept(error=error)
    except StoreError as error:
        return point.unkept(error=str(error))


def _made(point: Point, timeout: float | None) -> Row:
    began, mark, error = time.monotonic(), uuid.uuid4().hex, "it was ended"
    with tempfile.TemporaryDirectory() as folder, _ended_after(timeout, mark) as late:
        copy = Path(folder) / "executed.ipynb"
        environment = point.environment | {MARK: mark}
        try:
            error = execute(point.source, copy, point.cwd, point.values, environment)
        except Exception:  # what papermill says of a kernel that was ended depends on when
            if not late.is_set():
                raise
        finally:
            kept = _keep(copy, point)
        if late.is_set() and error:
            error = (
                f"timed out: {timeout:g} s were over, and it was ended with all that it had "
                "started. What was saved is kept; give it more time, or make it smaller."
            )
        scores = report.found(nbformat.read(copy, as_version=4)) if copy.exists() else {}
    return point.kept(
        scores=scores,
        error=" ".join(filter(None, [error, kept])),
        seconds=round(time.monotonic() - began, 1),
        machine=platform.node(),
        date=time.strftime("%Y-%m-%d %H:%M"),
    )


def _keep(copy: Path, point: Point) -> str:
    """Puts an executed notebook into the point's folder; why that could not be, if so."""
    if not copy.exists():
        return ""
    content = copy.read_bytes()
    try:
        with explain_oserror(point.folder, len(content)):
            point.folder.mkdir(parents=True, exist_ok=True)
            write(point.executed, content)
    except StoreError as error:
        return f"Not kept: {error}"
    return ""


@contextlib.contextmanager
def _ended_after(seconds: float | None, mark: str) -> Iterator[threading.Event]:
    """Ends what bears a mark when the time is over, and in any case at the end.

    Yields:
        An event that is set once the time is over.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        _end(mark)

    timer = threading.Timer(seconds, end) if seconds is not None else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield late
    finally:
        if timer:
            timer.cancel()
        _end(mark)


def _end(mark: str) -> None:
    """Ends every process that has a mark, or descends from one, until there are none.

    A kernel is the leader of a group of processes, but torchrun, for one, starts groups of its own,
    and who was started by a process that is gone is nobody's child: the environment is inherited
    by all of them.
    """
    import psutil

    own = psutil.Process()
    for _ in range(ROUNDS):
        found = {p for p in psutil.process_iter() if p != own and _bears(p, mark)}
        for process in list(found):
            with contextlib.suppress(psutil.Error):
                found.update(process.children(recursive=True))
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=1)


def _bears(process: Any, mark: str) -> bool:
    import psutil

    try:
        return bool(process.environ().get(MARK) == mark)
    except (psutil.Error, OSError):  # another user's, or gone
        return False


def _as_it_is(path: Path) -> str:
    """A path for papermill, which would put parameters into names in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")
