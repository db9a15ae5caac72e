"""Keys and histories of yesterday hold tomorrow, whatever fields configs get meanwhile.

keys.json was made once and is not made again: its keys name runs that lie on people's disks. A new
config gets an entry, made when it is first written down. If a test here fails after a field was
added, put the field into the class's LATER, with what all runs did before there was one.
"""

import json
from typing import Any, ClassVar

import pytest
from configs import all_configs
from conftest import ROOT
from pydantic import Field
from tiny import dictionary, model

from facog_lab import registry, settings
from facog_lab.config import Config, ConfigError
from facog_lab.phase2 import Phase2
from facog_lab.plots import embedding
from facog_lab.rivals import heads
from facog_lab.rivals.heads import HeadConfig
from facog_lab.runs import experiment, methods, presets, replay
from facog_lab.runs.experiment import controls_at
from facog_lab.runs.store import run_key
from facog_lab.settings import Controls, Phase1Config, Phase2Config
from facog_lab.study import significance, sweep
from facog_lab.ui import parameters

KEYS = json.loads((ROOT / "tests" / "keys.json").read_text())
assert significance  # whose configs are found by being imported
assert embedding
assert sweep
assert parameters
# Parameters of notebooks and commands: in no key and no record.
NEVER_WRITTEN = {
    "Common", "StudyConfig", "Where", "SweepConfig",
    "BenchmarkConfig", "CeilingConfig", "CeilingView",
}  # fmt: skip
CONFIGS = {kind.__name__: kind for kind in all_configs()}


def key(config):
    return run_key(config, "upstream")


def test_every_config_has_its_key_here():
    assert CONFIGS.keys() == KEYS["defaults"].keys() | NEVER_WRITTEN


@pytest.mark.parametrize("name", KEYS["defaults"])
def test_what_was_written_down_has_the_key_that_it_had(name):
    """The values are written out: it does not matter what defaults are today."""
    of, then = CONFIGS[name], KEYS["defaults"][name]
    config = of.recorded(then["values"])
    assert key(config) == then["key"], f"{name}: list what is new in LATER"
    assert list(config.model_dump()) == then["written"]
    shortest = {field: then["values"][field] for field in then["written"]}
    assert of.recorded(shortest) == config


@pytest.mark.parametrize("name", KEYS["changed"])
def test_values_that_were_chosen_have_the_key_that_they_had(name):
    then = KEYS["changed"][name]
    of = CONFIGS[then["config"]]
    assert (
        key(of.recorded(KEYS["defaults"][then["config"]]["values"] | then["values"]))
        == (then["key"])
    )


@pytest.mark.parametrize("name", KEYS["experiments"])
def test_presets_have_the_keys_that_they_had(name):
    preset, dataset = name.split(" ", 1)
    made = presets.experiment(preset, data={"dataset": dataset})
    found = {stage: key(getattr(made, stage)) for stage in KEYS["experiments"][name]}
    assert found == KEYS["experiments"][name]


def test_heads_and_networks_have_the_keys_that_they_had():
    base = presets.experiment()
    changed = {name: methods.with_network(base, name) for name in registry.networks}
    of_networks = {name: key(settings.phase1) for name, settings in changed.items()}
    of_heads = {name: key(heads.head_config(name)) for name in registry.heads}
    assert KEYS["networks"].items() <= of_networks.items()
    assert KEYS["heads"].items() <= of_heads.items()


# A field that comes later, of each kind of config


class Before(Config):
    lr: float = Field(0.1, gt=0)


class After(Before):
    """As Before, once it has a field more, whose default is no longer what was done before."""

    LATER: ClassVar[dict[str, Any]] = {"decay": 0.0}
    decay: float = Field(0.5, ge=0)


class Under(After):
    LATER: ClassVar[dict[str, Any]] = {"steps": 1}
    steps: int = Field(1, ge=1)


def test_a_field_that_came_later_keeps_old_keys_whatever_its_default_is_today():
    assert key(After(decay=0)) == key(Before())
    assert key(After()) != key(Before())
    assert After().model_dump() == {"lr": 0.1, "decay": 0.5}
    assert After.recorded({"lr": 0.1}) == After(decay=0)
    assert After.recorded(After().model_dump()) == After()


def test_a_changed_copy_keeps_what_is_not_written_down():
    assert After(decay=0).replace(lr=0.2) == After(lr=0.2, decay=0)


def test_what_a_base_has_got_later_its_subclasses_have_got_later():
    assert Under.LATER == {"decay": 0.0, "steps": 1}
    assert key(Under(decay=0)) == key(Before())
    assert CONFIGS["Phase1Config"].LATER.keys() > Phase1Config.__mro__[1].LATER.keys()


def test_later_names_fields():
    with pytest.raises(TypeError, match=r"Wrong\.LATER: steps is no field"):
        type("Wrong", (Config,), {"LATER": {"steps": 1}, "__module__": __name__})


def test_what_was_there_from_the_beginning_is_not_made_up():
    with pytest.raises(ConfigError, match="lr is missing: it must be a number, above 0"):
        After.recorded({"decay": 0.1})
    with pytest.raises(ConfigError, match="There is no setting named 'lrr'"):
        After.recorded({"lr": 0.1, "lrr": 1})


def test_a_field_that_is_not_listed_is_noticed(monkeypatch):
    """The tests above can fail: the same with a field that somebody forgot to list."""
    forgotten = type(
        "HeadConfig",
        (HeadConfig,),
        {"__module__": __name__, "__annotations__": {"extra": int}, "extra": Field(0, ge=0, le=1)},
    )
    monkeypatch.setitem(CONFIGS, "HeadConfig", forgotten)
    with pytest.raises(ConfigError, match="extra is missing"):
        test_what_was_written_down_has_the_key_that_it_had("HeadConfig")


# Histories that are older than a control


class LaterControls(Controls):
    LATER: ClassVar[dict[str, Any]] = {"momentum": 0.0}
    momentum: float = Field(0.3, ge=0, lt=1)


class LaterConfig(Phase2Config):
    """What Phase2Config would inherit from them."""

    LATER: ClassVar[dict[str, Any]] = LaterControls.LATER
    momentum: float = Field(0.3, ge=0, lt=1)


@pytest.fixture
def later(monkeypatch):
    """The lab once it has a control more."""
    for module in (settings, experiment, replay):
        monkeypatch.setattr(module, "Controls", LaterControls)


def loop(config=Phase2Config, **later):
    of = dictionary()
    return Phase2(config(epochs=2, batch_size=16, **later), of, model(of), "cpu")


def test_a_history_that_is_older_than_a_control_replays(later, monkeypatch):
    monkeypatch.setattr(settings, "Controls", Controls)
    first = loop()
    list(first)
    steps = first.history["steps"]
    assert "momentum" not in steps
    monkeypatch.setattr(settings, "Controls", LaterControls)
    assert controls_at(steps, 3) == LaterControls(momentum=0)
    assert replay.changes(steps, LaterControls(momentum=0)) == []
    again = loop(LaterConfig, momentum=0)
    assert key(again.config) == key(first.config)
    list(replay.replay(again, steps, first.total_steps))
    assert again.history == first.history  # not a byte more


def test_a_control_that_was_moved_on_the_way_is_known_from_that_step_on(later):
    made = loop(LaterConfig, momentum=0)
    next(made)
    made.controls = LaterControls(momentum=0.5)
    next(made)
    made.controls = LaterControls(momentum=0)
    next(made)
    steps = made.history["steps"]
    assert steps["momentum"] == [None, 0.5, None]
    assert [controls_at(steps, step).momentum for step in (1, 2, 3)] == [0, 0.5, 0]
    assert replay.changes(steps, LaterControls(momentum=0)) == [
        replay.Change(2, "momentum", 0.0, 0.5),
        replay.Change(3, "momentum", 0.5, 0.0),
    ]
