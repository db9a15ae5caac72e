"""Machine code of a library that does not ask for it is kept, and taken up by the next process."""

import io
import os
import pickle
import subprocess
import sys

import pytest

from facog_lab import paths

LIBRARY = """
import numba

@numba.njit
def twice(x):
    return 2 * x

@numba.njit(cache=False)
def thrice(x):
    return 3 * x
"""
USE = """
import sys
sys.path[:0] = [{here!r}, {root!r}]
import numba
from facog_lab.plots import compiled
njit, folder = numba.njit, numba.config.CACHE_DIR
with compiled.kept(("numba",)) as is_new:
    import library
    assert library.twice(3) == 6 and library.thrice(3) == 9
assert numba.njit is njit and numba.config.CACHE_DIR == folder
print(is_new, sum(library.twice.stats.cache_hits.values()))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "facog-lab"


@pytest.fixture
def use(tmp_path, pytestconfig):
    """Uses the library in a process of its own; what that says."""
    (tmp_path / "library.py").write_text(LIBRARY)
    script = USE.format(here=str(tmp_path), root=str(pytestconfig.rootpath))

    def run(check=True):
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, capture_output=True, text=True, check=check, cwd=tmp_path
        ).stdout.split()

    return run


def test_the_second_process_compiles_nothing(outputs, cache, use):
    assert [use(), use()] == [["True", "0"], ["False", "1"]]
    kept = [path.name for path in (cache / "compiled").rglob("library.*")]
    assert any("twice" in name for name in kept)
    assert not any("thrice" in name for name in kept)  # what a library refuses stays refused
    assert not outputs.exists()


class Evil:
    """What leaves a file when it is unpickled."""

    def __reduce__(self):
        return open, ("owned", "w")


def test_what_lies_beside_runs_is_not_unpickled(outputs, cache, use, tmp_path):
    """Whoever sends a folder of runs could put anything where numba looks."""
    use()
    for path in [p for p in cache.rglob("*") if p.is_file()]:
        planted = outputs / path.relative_to(cache)
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.write_bytes(path.read_bytes() if path.suffix != ".nbi" else b"")
        if path.suffix == ".nbi":  # the version, and then what is unpickled
            head = io.BytesIO(path.read_bytes())
            pickle.load(head)
            planted.write_bytes(path.read_bytes()[: head.tell()] + pickle.dumps(Evil()))
            path.write_bytes(planted.read_bytes())
    assert list(outputs.rglob("*.nbi"))
    there = list(cache.rglob("*.nbi"))
    use(check=False)  # this test can fail: what lies in the cache is unpickled
    assert (tmp_path / "owned").exists()
    (tmp_path / "owned").unlink()
    for path in there:
        path.unlink()
    use()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("how", ["a file", "open to others", "a link", "of another"])
def test_a_cache_that_others_can_write_to_is_not_used(how, cache, use, tmp_path, monkeypatch):
    cache.parent.mkdir()
    if how == "a file":
        cache.write_text("")
    elif how == "a link":
        (tmp_path / "elsewhere").mkdir()
        cache.symlink_to(tmp_path / "elsewhere")
    else:
        cache.mkdir()
        cache.chmod(0o777 if how == "open to others" else 0o700)
    if how == "of another":
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert paths.own_cache() is None
        return
    assert paths.own_cache() is None
    if how == "open to others":
        assert [use(), use()] == [["True", "0"], ["True", "0"]]
