"""Every head on the features of a phase 1: mean class recall, groups, intervals, what was chosen.

    python -m benchmarks.heads                                        # the kept dictionaries
    python -m benchmarks.heads --features FILE.safetensors            # one file with all parts
    python -m benchmarks.heads --datasets mnist --run-seeds 0 1 2     # runs of preset cpu, if made

Nothing is chosen on test images. Intervals are 95%, by a bootstrap over the test images of each
class, of the difference to the reference; figures of trained heads are means over seeds, whose
number is n.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from facog_lab import metrics, models, phase2, registry
from facog_lab.dictionary import FeatureDictionary
from facog_lab.rivals.head_loop import Head
from facog_lab.rivals.heads import head_config, train_head
from facog_lab.runs import feature_files, presets, stages
from facog_lab.study import bootstrap, results

REFERENCES = {"logit_adjustment": "LA", "balanced_softmax": "BS"}
GROUPS = ("many", "medium", "few")
Row = dict[str, Any]


class Given(NamedTuple):
    """Features and the networks that they belong to."""

    name: str
    features: FeatureDictionary
    model: models.Phase1Model


def of_file(path: Path) -> Given:
    """One file with train and test features, classifier and projector."""
    parts = load_file(path)
    labels, classes = parts["train_labels"], len(parts["class_counts"])
    features = FeatureDictionary.build(
        parts["train_features"].float(),
        labels,
        torch.arange(len(labels)),
        tuple(map(str, range(classes))),
        parts["test_features"].float(),
        parts["test_labels"],
    )
    stand_in = nn.Identity()
    stand_in.feature_dim = features.feature_dim  # type: ignore[assignment]
    model = models.Phase1Model(stand_in, classes, len(parts["projector.2.bias"]))
    model.load_state_dict({k: v for k, v in parts.items() if k.split(".")[0] in HEADS})
    return Given(path.stem, features, model.eval())


HEADS = ("classifier", "projector")


def of_run(dataset: str, seed: int) -> Given | None:
    """The features of a run of preset cpu; None if it was not made, so that none is begun here."""
    settings = presets.experiment("cpu", data={"dataset": dataset, "split_seed": seed}, seed=seed)
    if stages.run_of(settings, "dictionary").load() is None:
        return None
    source = stages.Lab(settings, "cpu").source
    return Given(f"{dataset}_seed{seed}", source.features, source.model)


def head(name: str, given: Given, seed: int) -> Head:
    """Phase 1's own classifier, or a registered head, with its usual settings."""
    if name == "phase1":
        return Head(given.model.classifier)
    return train_head(head_config(name, seed=seed), given.features, given.model, "cpu")


def recognised(classifier: nn.Module, dictionary: FeatureDictionary) -> Tensor:
    """(M,) float64: 1 for each test image that is recognised."""
    found = phase2.predict(classifier, dictionary)
    return (found.classes == found.labels).double()


def measure(given: Given, names: list[str], seeds: list[int]) -> list[Row]:
    """A row for each method."""
    rows: list[Row] = []
    right: dict[str, Tensor] = {}
    for name in names:
        runs, seconds, chosen = [], 0.0, {}
        for seed in seeds[:1] if name == "phase1" else seeds:
            began = time.process_time()
            made = head(name, given, seed)
            seconds += time.process_time() - began
            runs.append(recognised(made.classifier, given.features))
            chosen = {k: v for k, v in made.chosen.items() if not isinstance(v, dict)}
        right[name] = torch.stack(runs).mean(0)
        row = {"on": given.name, "method": name, "n": len(runs)} | scores(runs, given.features)
        row |= {"cpu_seconds": round(seconds / len(runs), 3), "chosen": chosen}
        for reference in (r for r in REFERENCES if r in right):
            apart = right[name] - right[reference]
            mean = acsa(apart, given.features.test_labels)
            low, high = bootstrap.interval(apart, given.features.test_labels)
            row[f"to_{reference}"] = [round(100 * v, 2) for v in (mean, low, high)]
        rows.append(row)
        print(text_of(row), flush=True)
    return rows


def scores(runs: list[Tensor], dictionary: FeatureDictionary) -> Row:
    """Mean class recall over runs, its deviation, and that of the groups of classes, in percent."""
    counts, labels = dictionary.class_counts, dictionary.test_labels
    few, many = counts < metrics.FEW_BELOW, counts > metrics.MANY_ABOVE
    recall = by_class(torch.stack(runs).mean(0), labels)
    row: Row = {"acsa": round(100 * recall.mean().item(), 2), "spread": None}
    if len(runs) > 1:
        each = torch.tensor([acsa(run, labels) for run in runs])
        row["spread"] = round(100 * each.std().item(), 2)
    for group, of in zip(GROUPS, (many, ~few & ~many, few), strict=True):
        row[group] = round(100 * recall[of].mean().item(), 1) if of.any() else None
    return row


def by_class(values: Tensor, labels: Tensor) -> Tensor:
    """(C,) the mean over each class of (M,) values."""
    totals = labels.bincount().double()
    return torch.zeros_like(totals).index_add_(0, labels, values) / totals


def acsa(values: Tensor, labels: Tensor) -> float:
    """The mean over classes of the mean over each of (M,) values."""
    return by_class(values, labels).mean().item()


def text_of(row: Row) -> str:
    """A row as a line of text."""
    groups = " ".join("  –  " if row[g] is None else f"{row[g]:5.1f}" for g in GROUPS)
    apart = " ".join(
        f"{short} {v[0]:+.2f} [{v[1]:+.2f}, {v[2]:+.2f}]"
        for reference, short in REFERENCES.items()
        if (v := row.get(f"to_{reference}"))
    )
    spread = "" if row["spread"] is None else f" ±{row['spread']:.2f}"
    return (
        f"{row['on']:26} {row['method']:24} n {row['n']} {row['acsa']:5.2f}{spread:6} | {groups} | "
        f"{apart} | {row['cpu_seconds']:.2f} s {row['chosen'] or ''}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; see the top of this file."""
    words = sys.argv[1:] if arguments is None else arguments
    methods = ["phase1", *registry.heads]
    parser = argparse.ArgumentParser(prog="benchmarks.heads", description=__doc__.split("\n")[0])
    parser.add_argument("--dictionaries", nargs="*", default=None, help="kept ones, by name")
    parser.add_argument("--features", nargs="*", default=[], type=Path, help="files of features")
    parser.add_argument("--datasets", nargs="*", default=[], help="of runs that are made already")
    parser.add_argument("--run-seeds", nargs="*", default=[0, 1, 2, 3, 4], type=int)
    parser.add_argument("--methods", nargs="*", default=methods, choices=methods)
    parser.add_argument("--seeds", nargs="*", default=[0], type=int, help="of trained heads")
    parser.add_argument("--write", type=Path, help="a JSON file for the rows")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    names = [*REFERENCES, *(name for name in asked.methods if name not in REFERENCES)]
    rows = [row for one in features(asked) for row in measure(one, names, asked.seeds)]
    if asked.write:
        command = " ".join(["python -m benchmarks.heads", *words])
        meta = {"runs": [results.run_facts(command, "cpu")]}
        asked.write.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1) + "\n")
    return 0


def features(asked: argparse.Namespace) -> list[Given]:
    """What was asked for: files, kept dictionaries, and runs as far as they are made."""
    given = [of_file(path) for path in asked.features]
    kept = asked.dictionaries
    if kept is None:
        kept = [] if asked.features or asked.datasets else feature_files.names(feature_files.FOLDER)
    for name in kept:
        source = feature_files.read(feature_files.FOLDER, name)
        given.append(Given(name, source.features, source.model))
    for dataset in asked.datasets:
        for seed in asked.run_seeds:
            if run := of_run(dataset, seed):
                given.append(run)
            else:
                print(f"{dataset}, seed {seed}: not made yet", flush=True)
    return given


if __name__ == "__main__":
    sys.exit(main())
