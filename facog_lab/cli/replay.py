"""Replays steered runs, and says whether they come out the same, bit for bit.

facog-lab replay outputs/digits/steered/2026-11-23_14-15-03
"""

from __future__ import annotations

import argparse
import sys

from facog_lab.config import LabError
from facog_lab.runs.replay import repeat


def main(arguments: list[str] | None = None) -> int:
    """Replays the steered runs whose folders are named; 1 if one came out otherwise."""
    parser = argparse.ArgumentParser(
        "facog-lab replay",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("folder", nargs="+", help="outputs/<data set>/steered/<name>")
    try:
        for folder in parser.parse_args(arguments).folder:
            loop = repeat(folder)
            scores = loop.evaluate()
            print(f"{folder}: {loop.step} steps, the same bytes; ACSA {scores.acsa:.4f}")
    except LabError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
