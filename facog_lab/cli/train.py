"""Trains phase 1 of an experiment, alone or in each of the processes that torchrun starts.

facog-lab train -p dataset fashion_mnist -p seed 1 --dictionary
torchrun --nproc-per-node 2 -m facog_lab.cli.train --preset paper -p dataset cifar100
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import record

from facog_lab.config import ConfigError, Device, unknown
from facog_lab.runs import distributed, presets, stages
from facog_lab.settings import CONFIGS, Experiment


def main(arguments: list[str] | None = None) -> int:
    """Trains phase 1 of an experiment, in each of the processes that torchrun starts."""
    options = _parsed(arguments)
    try:
        settings = _settings(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    _train(settings, options.device, options.dictionary)
    return 0


@record  # so that torchrun says the error of the process that failed first
def _train(settings: Experiment, device: Device, dictionary: bool) -> None:
    with distributed.joined(device):
        if distributed.rank() == 0:  # alone, since it may have to download them
            stages.data(settings.data)
        distributed.wait()
        began = time.monotonic()
        lab = stages.Lab(settings, device)
        lab.phase1.finish()
        if dictionary:
            _ = lab.dictionary
        distributed.wait()
        print(f"{lab.phase1.run.folder}: done after {time.monotonic() - began:.0f} s", flush=True)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("facog-lab train", description=main.__doc__)
    parser.add_argument("--preset", default="auto", help="auto, cpu or paper")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a field of the data's settings or of phase 1's, as often as you like",
    )
    parser.add_argument("--settings", help="JSON of all stages' settings, in place of the above")
    parser.add_argument("--dictionary", action="store_true", help="then extract the features")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Experiment:
    if options.settings:
        try:
            return Experiment.recorded(json.loads(options.settings))
        except json.JSONDecodeError as error:
            raise ConfigError(f"--settings: no JSON ({error}).") from None
    fields: dict[str, dict[str, Any]] = {"data": {}, "phase1": {}}
    for name, value in options.p:
        known = [stage for stage in fields if name in CONFIGS[stage].model_fields]
        if not known:
            names = [name for stage in fields for name in CONFIGS[stage].model_fields]
            raise ConfigError(unknown(name, names))
        fields[known[0]][name] = value
    seed = fields["phase1"].get("seed", 0)
    return presets.experiment(options.preset, **fields, seed=seed)


if __name__ == "__main__":
    sys.exit(main())
