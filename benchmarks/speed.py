"""How fast each stage is, as ratios measured side by side: `make bench`.

    python -m benchmarks.speed                              # everything, into results/speed.json
    python -m benchmarks.speed views step --runs 10 --out other.json

Ends with status 1 if a bar does not hold or a ratio got worse by more than a tenth.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import speed_features, speed_maps, speed_training
from benchmarks.rows import write

RESULTS = Path(__file__).with_name("results") / "speed.json"
MEASURES: dict[str, Callable[[int, str], Iterator[dict[str, Any]]]] = {
    "views": speed_training.views,
    "step": speed_training.step,
    "pipelines": speed_training.pipelines,
    "extraction": speed_training.extraction,
    "file": speed_features.file,
    "rows": speed_features.rows,
    "whole": speed_features.whole,
    "generated": speed_features.generated,
    "tsne": speed_maps.tsne,
    "umap": speed_maps.umap,
    "first_maps": speed_maps.first_maps,
    "imports": speed_maps.imports,
}
ON_A_GPU = ("views", "step", "pipelines")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="what", help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--runs", type=int, default=5, help="of each, after one for warming up")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a JSON file for the rows")
    options = parser.parse_args()
    if unknown := set(options.what) - set(MEASURES):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(MEASURES)}")
    threads, good = os.cpu_count() or 1, True
    for name in options.what or (ON_A_GPU if options.device == "cuda" else MEASURES):
        torch.set_num_threads(threads)  # some measures take fewer
        rows = list(MEASURES[name](options.runs, options.device))
        good &= write(rows, options.out, f"python -m benchmarks.speed {name}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
