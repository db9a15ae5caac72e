"""Who runs a sweep: this machine, a scheduler by its address, or a class of cluster by its name.

What a parameter names is imported and called, so a name must not be able to be anything at all: a
class is looked for in the packages below and has to be a cluster, and what it is called with may be
numbers and plain words for options that name no code. Everything else is set where only the user of
the machine can: in Dask's own configuration.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from facog_lab.config import Config, ConfigError, LabError, unknown

if TYPE_CHECKING:
    from distributed import Client

TIMEOUT = "20s"  # for a scheduler to answer
# To import a module is to run it: these are Dask's, and those that start clusters for it.
PACKAGES = (
    *("distributed", "dask", "dask_jobqueue", "dask_kubernetes"),
    *("dask_cloudprovider", "dask_cuda", "coiled"),
)
# Options that are numbers, names and places. Others can be lines of a job's script, modules to be
# loaded, images to be run, addresses to be listened at.
OPTIONS = (
    *("n_workers", "threads_per_worker", "processes", "cores", "memory", "memory_limit"),
    *("queue", "project", "account", "walltime", "job_name", "job_cpu", "job_mem"),
    *("ncpus", "mem", "disk", "resource_spec", "name", "namespace"),
    *("death_timeout", "idle_timeout", "local_directory", "log_directory", "shared_temp_directory"),
    *("silence_logs", "scheduler_options", "dashboard_address"),
)
# No spaces, quotes or signs of a shell: Dask's clusters put options into scripts as they are.
PLAIN = re.compile(r"[\w.:/][\w.,:=/+@%-]*|", re.ASCII)
CONFIGURED = (
    "Set it in Dask's own configuration (files in ~/.config/dask/), or start the cluster yourself "
    "and give its scheduler's address."
)


class MissingDaskError(LabError, ImportError):
    """Dask is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Sweeps run on Dask, which is not installed. Install it with: "
            "pip install -e '.[cluster]' (in the folder of the lab)."
        )

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message is the whole story."""
        return [f"{type(self).__name__}: {self}"]


class Where(Config):
    """Where a sweep runs, and its time limit; by default in processes of this machine.

    Without any of these, Dask's own setting `scheduler-address` (DASK_SCHEDULER_ADDRESS) counts.
    """

    scheduler: str | None = Field(
        default=None, description="address of a scheduler, as tcp://host:8786"
    )
    cluster: str | None = Field(
        default=None, description="class of a cluster, as dask_jobqueue.SLURMCluster"
    )
    cluster_options: dict[str, Any] = Field(default={}, description="what the class is called with")
    workers: int | None = Field(
        default=None, ge=1, le=10_000, description="how many; default: one per core"
    )
    timeout: float | None = Field(
        default=None, gt=0, le=10_000_000, description="seconds that a point may take; None: no end"
    )

    @field_validator("cluster")
    @classmethod
    def _may_be_imported(cls, name: str | None) -> str | None:
        if name is None:
            return None
        package, *rest = name.split(".")
        if not rest or not all(part.isascii() and part.isidentifier() for part in (package, *rest)):
            raise ValueError("give a class by its module and name, as dask_jobqueue.SLURMCluster.")
        if package not in PACKAGES:
            raise ValueError(
                f"only classes of {', '.join(PACKAGES)} are imported. Start another cluster "
                "yourself and give its scheduler's address in its place."
            )
        return name

    @field_validator("cluster_options")
    @classmethod
    def _name_no_code(cls, options: dict[str, Any]) -> dict[str, Any]:
        _check(options)
        return options


def _check(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name not in OPTIONS:
            raise ValueError(f"{unknown(name, OPTIONS, 'option to be given here')} {CONFIGURED}")
        if isinstance(value, dict):
            _check(value)
        elif isinstance(value, str):
            if not PLAIN.fullmatch(value):
                raise ValueError(
                    f"{name} = {value!r}: letters, numbers and . , : = / + @ % - are allowed, "
                    f"and no - at the beginning. {CONFIGURED}"
                )
        elif not isinstance(value, int | float | None):
            raise ValueError(f"{name} = {value!r}: give a number, a word, True, False or None.")


@contextmanager
def client(where: Where, tasks: int) -> Iterator[Client]:
    """A client of the scheduler that is asked for; a cluster that was started for it ends with it.

    Args:
        where: who runs it.
        tasks: how many there are; more workers than these are not started.

    Raises:
        MissingDaskError: without Dask.
        ConfigError: if there is no such cluster, or nobody answers at the scheduler's address.
    """
    try:
        import dask.config
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingDaskError from None
    address = where.scheduler
    if address is None and where.cluster is None:
        address = dask.config.get("scheduler-address", None)
    with ExitStack() as opened:
        cluster: Any = address
        if where.cluster is not None:
            cluster = opened.enter_context(started(where))
            cluster.scale(min(tasks, where.workers or tasks))
        elif address is None:
            here = min(tasks, where.workers or os.cpu_count() or 1)
            # A thread each: papermill runs in it. The dashboard's usual port may be another's.
            cluster = LocalCluster(
                n_workers=here,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
            opened.enter_context(cluster)
        try:
            made, reason = opened.enter_context(Client(cluster, timeout=TIMEOUT)), None
        except Exception as error:  # TLS that is not set up is a TypeError
            made, reason = None, str(error)
        if made is None:
            # Now: a half-made client that is collected while another one starts waits for ever.
            gc.collect()
            raise ConfigError(
                f"scheduler = {address!r}: nobody answers there ({reason}). Start one with "
                "`dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`."
            )
        yield made


def started(where: Where) -> Any:
    """The cluster whose class is named.

    Raises:
        ConfigError: if there is no such class, it is no cluster, or it does not take the options.
    """
    from distributed.deploy import Cluster, SpecCluster

    module, _, name = str(where.cluster).rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"cluster = {where.cluster!r}: there is no such class ({error}). Give its module and "
            "name, as dask_jobqueue.SLURMCluster, and install what it belongs to."
        ) from None
    # The two are frames for others, and SpecCluster calls whatever its options name.
    if (
        not isinstance(kind, type)
        or not issubclass(kind, Cluster)
        or kind in (Cluster, SpecCluster)
    ):
        raise ConfigError(
            f"cluster = {where.cluster!r}: that is no class of clusters, so it is not called. Give "
            "one that inherits from distributed.deploy.Cluster, as dask_jobqueue.SLURMCluster, or "
            "start the cluster yourself and give its scheduler's address."
        )
    try:
        return kind(**where.cluster_options)
    except Exception as error:  # of whatever kind those who wrote the class have
        raise ConfigError(
            f"cluster = {where.cluster!r} with {where.cluster_options!r} could not be started: "
            f"{type(error).__name__}: {error}"
        ) from error
