"""`python -m facog_lab` is the command `facog-lab`."""

import sys

from facog_lab.cli.main import main

sys.exit(main())
