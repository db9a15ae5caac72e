"""The command `facog-lab`, and `python -m facog_lab`."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "demo": "notebooks 00 to 06 headless, as pages in outputs/index.html",
    "train": "phase 1 of an experiment, alone or under torchrun",
    "tables": "the cells of the paper's tables and figures, over seeds",
    "sweep": "a notebook, or the tables, for every point of a grid",
    "replay": "replays a steered run from its history, bit for bit",
}


def main(arguments: list[str] | None = None) -> int:
    """Hands the arguments to the command that the first one names."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in COMMANDS:
        listed = "\n".join(f"  {name:<8}{about}" for name, about in COMMANDS.items())
        print(f"usage: facog-lab COMMAND ...    (facog-lab COMMAND --help)\n\n{listed}")
        asked = words[:1] in (["-h"], ["--help"])
        if words and not asked:
            print(f"\nThere is no command {words[0]!r}.", file=sys.stderr)
        return 0 if asked else 2
    module = importlib.import_module(f"facog_lab.cli.{words[0]}")  # some take seconds to import
    try:
        status: int = module.main(words[1:])
    except KeyboardInterrupt:
        print("Stopped. Finished work is kept; the next run resumes from there.", file=sys.stderr)
        return 130
    return status
