"""Speed of the maps of features, and of importing the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import facog_lab
from benchmarks.rows import row
from facog_lab import paths
from facog_lab.plots import embedding

REAL, MADE, WIDTH, CLASSES = 9_000, 3_000, 64, 100
ALIKE = 0.005  # how far trustworthiness may fall below scikit-learn's
Floats = NDArray[np.float32]

# What notebook 04 does with a dictionary, and the seconds after which its maps are there.
FIRST = """
import sys, time
began = time.perf_counter()
sys.path.insert(0, {root!r})
import numpy as np
from facog_lab.plots import embedding, embedding_cache
from benchmarks.speed_maps import points
real, made = points({real}, {made})
for method in ("pca", "tsne", "umap"):
    fitted = embedding_cache.fit_map(real, method, embedding.MapConfig())
    fitted.place(made)
    print(time.perf_counter() - began, flush=True)
"""


def points(real: int = REAL, made: int = MADE) -> tuple[Floats, Floats]:
    """Features around 100 centres, and as many mixes of five of a centre as are to be placed."""
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=real)
    centres = 1.2 * rng.normal(size=(CLASSES, WIDTH))
    features = centres[labels] + rng.normal(size=(real, WIDTH))
    wanted = rng.integers(CLASSES, size=made)
    rows = [rng.choice(np.flatnonzero(labels == c), 5) for c in wanted]
    weights = rng.dirichlet(np.ones(5), size=made)
    mixed = np.einsum("bn,bnd->bd", weights, features[np.stack(rows)])
    return features.astype(np.float32), mixed.astype(np.float32)


def both(method: embedding.Method, real: Floats, made: Floats) -> tuple[float, Floats]:
    """Seconds of a map with its placed points, and all coordinates."""
    began = time.perf_counter()
    fitted = embedding.fit_map(real, method)
    placed = fitted.place(made)
    return time.perf_counter() - began, np.concatenate([fitted.coordinates, placed])


def tsne(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """Fit and placement against scikit-learn's t-SNE of all points; no warming up: minutes."""
    from sklearn.manifold import TSNE

    real, made = points()
    everything = np.concatenate([real, made])
    ratios, falls = [], []
    for _ in range(runs):
        ours, coordinates = both("tsne", real, made)
        began = time.perf_counter()
        theirs = TSNE(random_state=0, n_jobs=-1).fit_transform(everything)
        ratios.append(ours / (time.perf_counter() - began))
        falls.append(_trust(everything, theirs) - _trust(everything, coordinates))
    yield row("t-SNE, 9,000 + 3,000: of scikit-learn's of all", ratios, "×", 0.6, most=True)
    yield row("t-SNE: trustworthiness below scikit-learn's", falls, "", ALIKE, most=True)


def umap(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """Fit and placement, with the code compiled."""
    real, made = points()
    seconds = [both("umap", real, made)[0] for _ in range(1 + runs)]
    yield row("UMAP, 9,000 + 3,000, compiled", seconds[1:], "s", 20, most=True)


def first_maps(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """Notebook 04's maps in a fresh process, of a dictionary that is new and of one that is not."""
    root = str(Path(__file__).parents[1])
    size = {"real": 4000, "made": 3000}
    kept = paths.outputs_root() / "maps"
    new: list[list[float]] = []
    known: list[list[float]] = []
    with tempfile.TemporaryDirectory() as away:
        for _ in range(1 + runs):
            if kept.exists():
                shutil.move(kept, tempfile.mkdtemp(dir=away))
            script = FIRST.format(root=root, **size)
            for told in (new, known):
                done = subprocess.run(
                    [sys.executable, "-c", script], capture_output=True, text=True, check=True
                )
                told.append([float(line) for line in done.stdout.split()])
    yield row("04, new dictionary: PCA", [t[0] for t in new[1:]], "s", 3, most=True)
    # nobody waits for all of them, the panel shows PCA meanwhile: the bar is half a minute
    yield row("04, new dictionary: all maps", [t[2] for t in new[1:]], "s", 30, most=True)
    yield row("04, known dictionary: all maps", [t[2] for t in known[1:]], "s", 10, most=True)


def imports(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """What importing all that notebooks use takes beyond torch, in fresh processes."""
    package = Path(facog_lab.__file__).parent
    paths = (path.relative_to(package.parent).with_suffix("") for path in package.rglob("[!_]*.py"))
    # a command, what asks for imbalanced-learn, what the panel imports when it is shown, what
    # workers of a sweep import
    later = {"demo", "oversampler", "live_scatter", "run_notebook"}
    modules = {".".join(path.parts) for path in paths if path.name not in later}
    script = (
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import torch; "
        "began = time.perf_counter(); import " + ", ".join(sorted(modules)) + "; "
        "print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", script]
    seconds = [
        float(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(1 + runs)
    ]
    yield row("import of the whole package, beyond torch", seconds[1:], "s", 2.5, most=True)


def _trust(features: Floats, coordinates: Floats) -> float:
    """On a third of the points, real and made alike."""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(features[::3], coordinates[::3], n_neighbors=15))
