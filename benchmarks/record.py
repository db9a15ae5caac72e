"""Runs phase 1, phase 2 and the null baselines over seeds and writes the result file.

    python -m benchmarks.record fashion_mnist --preset cpu --seeds 0 1 2 --name fashion_mnist_lt_cpu

Each seed draws its own long-tailed subset, initial weights and views. Runs already in outputs/ are
loaded, one that was cut off is resumed. Needs the training core alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facog_lab import metrics, models, pipeline, presets, store
from facog_lab.config import Device
from facog_lab.loop import pick_device

RESULTS = Path(__file__).parent / "results"


def record(settings: presets.Experiment, preset: str, device: Device) -> list[dict[str, Any]]:
    """All rows of one seed: every method under every test protocol of the data set."""
    data = pipeline.data(settings.data)
    parameters = models.parameter_count(pipeline.phase1(settings, device).loop.model)
    return [
        {
            "dataset": data.name,
            "imbalance_ratio": data.imbalance_ratio,
            "preset": preset,
            "method": method,
            "level": "network" if method == "phase1" else "feature",
            "seed": settings.phase1.seed,
            "protocol": protocol,
            **_rounded(result.scores),
            "entropy": result.entropy and round(result.entropy, 5),
            "parameters": parameters,
            "seconds": round(result.seconds, 1),
            "split_hash": data.split_hash,
        }
        for protocol in data.test_protocols
        for method, result in pipeline.compare(settings, device, protocol).items()
    ]


def write(name: str, rows: list[dict[str, Any]], meta: dict[str, Any]) -> Path:
    """Writes ``results/<name>.json``: one row a line, so that a change reads well in a diff."""
    path = RESULTS / f"{name}.json"
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    head = json.dumps(meta, indent=1)
    path.write_text(f'{{"meta": {head},\n"rows": [\n{lines}\n]}}\n')
    return path


def meta_of(command: str) -> dict[str, Any]:
    """Command, date, hardware, versions and git revision of a measurement."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=store.project_root(),
    ).stdout.strip()
    environment = store.environment()
    return {"command": command, "date": time.strftime("%Y-%m-%d"), "git": revision} | environment


def _rounded(scores: metrics.Metrics) -> dict[str, Any]:
    def shorten(value: Any) -> Any:
        return [round(v, 4) for v in value] if isinstance(value, tuple) else value

    return {
        name: round(value, 5) if isinstance(value, float) else shorten(value)
        for name, value in asdict(scores).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "dataset", help="digits, mnist, fashion_mnist, cifar10, cifar100, folder:PATH"
    )
    parser.add_argument("--preset", default="auto", help="auto, cpu or paper")
    parser.add_argument("--ratio", type=float, help="imbalance ratio of the exponential profile")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--name", required=True, help="of the file in benchmarks/results")
    parser.add_argument("--note", default="", help="what else a reader of the figures should know")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        data = {"dataset": options.dataset, "split_seed": seed}
        if options.ratio:
            data["imbalance_ratio"] = options.ratio
        settings = presets.experiment(options.preset, data=data, seed=seed)
        rows += record(settings, options.preset, options.device)
        done = [str(s) for s in options.seeds[: options.seeds.index(seed) + 1]]
        command = (
            f"python -m benchmarks.record {options.dataset} --preset {options.preset} "
            + (f"--ratio {options.ratio:g} " if options.ratio else "")
            + (f"--device {options.device} " if options.device != "auto" else "")
            + f"--seeds {' '.join(done)} --name {options.name}"
        )
        meta = meta_of(command) | {
            "note": options.note,
            "device": str(pick_device(options.device)),
            "settings": {
                "data": settings.data.model_dump(mode="json"),
                "phase1": settings.phase1.model_dump(mode="json"),
                "dictionary": settings.dictionary.model_dump(mode="json"),
                "phase2": settings.phase2.model_dump(mode="json"),
            },
        }
        print(f"seed {seed}: written to {write(options.name, rows, meta)}")


if __name__ == "__main__":
    main()
