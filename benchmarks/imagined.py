"""Imagined features, and what each of their parts brings: an ablation on features at hand.

    python -m benchmarks.imagined                                    # the kept dictionaries
    python -m benchmarks.imagined --features FILE.safetensors
    python -m benchmarks.imagined --datasets digits --run-seeds 0 1 2 3 4

Every generator trains phase 2's classifier twice: as the paper does, and with classes evenly and
the log of what it sees added to its logits (Balanced Softmax's prior). Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.heads import Given, acsa, features, head, recognised, scores
from facog_lab import phase2 as phase2_loop
from facog_lab import registry
from facog_lab.generator import Given as OfPhase2
from facog_lab.rivals.imagined import Imagined
from facog_lab.settings import Phase2Config
from facog_lab.study import results
from facog_lab.study.bootstrap import interval

PARTS: dict[str, Callable[[OfPhase2], Imagined]] = {
    "own_means": lambda given: Imagined(given.dictionary, move=False),
    "moved_means": lambda given: Imagined(given.dictionary, unsure=False),
}
GENERATORS = (
    "random_oversampling", "facog", "lent_spread", *PARTS, "imagined"
)  # fmt: skip
TRAINED: dict[str, dict[str, Any]] = {
    "as in the paper": {},
    "prior": {"label_selection": "uniform", "logit_prior": "seen"},
}
REFERENCES = ("balanced_softmax", "logit_adjustment")


def measure(given: Given, names: list[str], seeds: list[int]) -> list[dict[str, Any]]:
    """A row for each generator and way of training, beside the references."""
    labels = given.features.test_labels
    right = {
        name: torch.stack(
            [recognised(head(name, given, seed).classifier, given.features) for seed in seeds]
        ).mean(0)
        for name in REFERENCES
    }
    rows = []
    for name in names:
        for how, changes in TRAINED.items():
            began, runs = time.process_time(), []
            for seed in seeds:
                config = Phase2Config(oversampler=name, seed=seed, **changes)
                loop = phase2_loop.Phase2(config, given.features, given.model, "cpu")
                for _ in loop:
                    pass
                runs.append(recognised(loop.classifier, given.features))
            row = {"on": given.name, "generator": name, "trained": how, "n": len(runs)}
            found = scores(runs, given.features)
            row["mean"] = found.pop("acsa")  # rows with an `acsa` are those of the tables
            row |= found
            row["cpu_seconds"] = round((time.process_time() - began) / len(runs), 1)
            for reference in REFERENCES:
                apart = torch.stack(runs).mean(0) - right[reference]
                ends = (acsa(apart, labels), *interval(apart, labels))
                row[f"to_{reference}"] = [round(100 * v, 2) for v in ends]
            rows.append(row)
            print(row, flush=True)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The command; see the top of this file."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="benchmarks.imagined")
    parser.add_argument("--dictionaries", nargs="*", default=None, help="kept ones, by name")
    parser.add_argument("--features", nargs="*", default=[], type=Path, help="files of features")
    parser.add_argument("--datasets", nargs="*", default=[], help="of runs that are made already")
    parser.add_argument("--run-seeds", nargs="*", default=[0, 1, 2, 3, 4], type=int)
    parser.add_argument("--generators", nargs="*", default=list(GENERATORS))
    parser.add_argument("--seeds", nargs="*", default=[0, 1, 2], type=int, help="of phase 2")
    parser.add_argument("--write", type=Path, help="a JSON file for the rows")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    for name, make in PARTS.items():
        about = "a part of imagined features"
        registry.oversamplers.add(name, label=name, family="transfer", about=about, make=make)
    rows = [row for one in features(asked) for row in measure(one, asked.generators, asked.seeds)]
    if asked.write:
        command = " ".join(["python -m benchmarks.imagined", *words])
        meta = {"runs": [results.run_facts(command, "cpu")]}
        asked.write.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
