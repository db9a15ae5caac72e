"""What torchrun runs in test_launch: phase 1, saved after each epoch; one process may die.

DIE names a process and a step, "1:9"; it is killed there when it is first started.
"""

import os
import signal
import sys

from facog_lab.cli import train
from facog_lab.phase1 import Phase1
from facog_lab.runs import distributed, training

take = Phase1.__next__


def mortal(loop):
    name, _, step = os.environ.get("DIE", "").partition(":")
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if name == str(distributed.rank()) and loop.step == int(step) and first:
        print("dies now", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return take(loop)


Phase1.__next__ = mortal
training.SECONDS_BETWEEN_SAVES = 0.0
sys.exit(train.main())
