"""Runs the cells of the paper's tables and figures, over seeds, and writes the result files.

    facog-lab tables --table 1 --seeds 0 1 2 3 4
    facog-lab tables --table 2 --datasets cifar100 --ratios 100 --seeds 0 1 2
    facog-lab tables --table 4 fig5 --dictionary cifar100_lt_100_seed0

Every seed draws its own long-tailed subset, initial weights and views; with --dictionary it draws
those of phase 2 alone, on features kept in benchmarks/dictionaries. Rows that are in the files are
not made again, runs in outputs/ are loaded, an interrupted one is resumed: give the same command
again. A cell that fails for any reason is listed at the end, and the others are run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace

from facog_lab.runs import feature_files
from facog_lab.study import grid
from facog_lab.study.run_grid import Wanted, data_sets, run


def main(arguments: list[str] | None = None) -> int:
    """Runs what is missing; the exit status says whether all of it could be run."""
    words = sys.argv[1:] if arguments is None else arguments
    return 1 if run(parsed(words), " ".join(["facog-lab tables", *words])) else 0


def parsed(arguments: list[str]) -> Wanted:
    """The options of the command line, checked."""
    parser = argparse.ArgumentParser(
        "facog-lab tables", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--table", nargs="+", required=True, choices=grid.TABLES, help="tables and figures")
    add("--datasets", nargs="+", help="those of the paper's table unless named")
    add("--ratios", nargs="+", type=float, help="imbalance ratios; the paper's unless named")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--preset", default="auto", help="auto, cpu or paper")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--level", choices=["feature", "network"], help="only cells of this level")
    add("--methods", nargs="+", help="only these methods")
    add("--dictionary", help="phase 2 on features that are kept in benchmarks/dictionaries")
    add("--publish", action="store_true", help="keep each phase 1 in benchmarks/dictionaries")
    add("--dry-run", action="store_true", help="list what is missing, and stop")
    options = parser.parse_args(arguments)
    kept = feature_files.names(feature_files.FOLDER)
    if options.dictionary not in (None, *kept):
        parser.error(f"--dictionary {options.dictionary}: there are {', '.join(kept)}")
    if options.dictionary and (options.datasets or options.ratios or options.publish):
        parser.error("--dictionary replaces --datasets, --ratios and --publish")
    return Wanted(**vars(options))


def parts(arguments: list[str]) -> list[list[str]]:
    """The same command in parts: one for each result file, which may be run side by side."""
    wanted, made = parsed(arguments), []
    for seed in wanted.seeds:
        for dataset, ratio in [(None, None)] if wanted.dictionary else data_sets(wanted):
            one = replace(
                wanted,
                seeds=[seed],
                datasets=[dataset] if dataset else None,
                ratios=[ratio] if ratio else None,
            )
            words: list[str] = []
            for name, value in asdict(one).items():
                if value not in (None, False):
                    given = value if isinstance(value, list) else [value] * (value is not True)
                    words += [f"--{name.replace('_', '-')}", *map(str, given)]
            made.append(words)
    return made


if __name__ == "__main__":
    sys.exit(main())
