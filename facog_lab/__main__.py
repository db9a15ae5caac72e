"""`python -m facog_lab` is the command `facog-lab`."""

import sys

from facog_lab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
