"""Machine code of a library that does not ask for it is kept, and taken up by the next process."""

import subprocess
import sys

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
from facog_lab import compiled
njit, folder = numba.njit, numba.config.CACHE_DIR
with compiled.kept(("numba",)) as is_new:
    import library
    assert library.twice(3) == 6 and library.thrice(3) == 9
assert numba.njit is njit and numba.config.CACHE_DIR == folder
print(is_new, sum(library.twice.stats.cache_hits.values()))
"""


def test_the_second_process_compiles_nothing(outputs, tmp_path, pytestconfig):
    (tmp_path / "library.py").write_text(LIBRARY)
    script = USE.format(here=str(tmp_path), root=str(pytestconfig.rootpath))
    told = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert told == [["True", "0"], ["False", "1"]]
    kept = [path.name for path in (outputs / "compiled").rglob("library.*")]
    assert any("twice" in name for name in kept)
    assert not any("thrice" in name for name in kept)  # what a library refuses stays refused
