"""Runs the cells of the paper's tables and figures: see facog_lab/study/run_grid.py, or --help."""

import sys

from facog_lab.study.run_grid import main

if __name__ == "__main__":
    sys.exit(main())
