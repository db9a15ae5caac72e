"""Machine code that numba made, kept from one process to the next."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from facog_lab import paths


@contextlib.contextmanager
def kept(packages: Sequence[str]) -> Iterator[bool]:
    """What numba compiles inside is kept in a file, also where a library did not ask for it.

    umap-learn does not, and compiles for half a minute in every new process. The code lies in the
    user's own cache and never beside the runs: numba unpickles what it finds, and folders of runs
    are passed on. It is in a folder named by the versions of the packages, since numba sees a
    change of the file that a function is in and no other.

    Args:
        packages: the distributions whose code is compiled; import them inside.

    Yields:
        Whether nothing was kept so far, so that compiling takes its time.
    """
    import numba

    config: Any = numba.config

    name = "-".join(f"{package}-{version(package)}" for package in packages)
    cache = paths.own_cache()
    if cache is None:  # nowhere that nobody else can write to
        yield True
        return
    folder = cache / "compiled" / name
    njit, before = numba.njit, config.CACHE_DIR

    @functools.wraps(njit)
    def keeping(*arguments: Any, **options: Any) -> Any:
        return njit(*arguments, **({"cache": True} | options))

    numba.njit, config.CACHE_DIR = keeping, str(folder)
    try:
        yield not folder.exists()
    finally:
        numba.njit, config.CACHE_DIR = njit, before
