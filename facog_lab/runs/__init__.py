"""Stages that are kept: folders of runs, resuming, several processes, replays, presets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facog_lab.config import Device
    from facog_lab.dataset import LongTailed
    from facog_lab.runs.stages import Lab
    from facog_lab.settings import Experiment


def open(
    settings: Experiment,
    device: Device = "auto",
    devices: int = 1,
    data: LongTailed | None = None,
) -> Lab:
    """Opens an experiment: its stages are then loaded or made when asked for, each once.

        lab = runs.open(presets.experiment(data={"dataset": "digits"}))
        lab.data, lab.phase1, lab.dictionary, lab.phase2

    Args:
        settings: the experiment.
        device: where to train what is missing.
        devices: on how many of this machine at once, for phase 1 and the dictionary.
        data: images at hand, see `data.arrays.make_long_tailed`, in the place of those that the
            settings name.

    Raises:
        ConfigError: for several devices and images at hand.
    """
    from facog_lab.runs.stages import Lab  # a run's folder can be read without all of this

    return Lab(settings, device, devices, data)
