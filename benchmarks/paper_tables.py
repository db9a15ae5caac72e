"""Runs the cells of the paper's tables and figures: see facog_lab/paper_tables.py, or --help."""

import sys

from facog_lab.paper_tables import main

if __name__ == "__main__":
    sys.exit(main())
