from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from facog_lab import runs, views
from facog_lab.config import Config, ConfigError, digest, unknown
from facog_lab.plots import embedding
from facog_lab.rivals import heads
from facog_lab.runs import methods, presets, replay
from facog_lab.settings import DataConfig
from facog_lab.study import grid
from facog_lab.study.sweep_points import points


class Example(Config):
    n_s: int = Field(5, ge=1, le=20)
    lr: float = Field(0.1, gt=0, lt=10)
    kind: Literal["a", "b"] = "a"
    flag: bool = False


def test_numbers_may_come_as_text():
    made = Example(n_s="7", lr="1e-3", flag="false")
    assert (made.n_s, made.lr, made.flag) == (7, 0.001, False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_s": 50}, "n_s = 50: not allowed, it must be a whole number, at least 1, at most 20."),
        ({"n_s": 2.5}, "n_s = 2.5"),
        ({"n_s": True}, "n_s = True: not allowed, it must be a whole number"),
        ({"lr": float("nan")}, "lr = nan: not allowed, it must be a number, above 0, below 10."),
        ({"lr": float("inf")}, "lr = inf"),
        ({"lr": None}, "lr = None"),
        ({"kind": "c"}, "kind = 'c': not allowed, it must be one of 'a', 'b'."),
        ({"ns": 3}, "no setting named 'ns'. Did you mean 'n_s'? Known: n_s, lr, kind, flag."),
    ],
)
def test_errors_name_field_value_range_and_the_nearest_name(values, message):
    with pytest.raises(ConfigError) as error:
        Example(**values)
    assert message in str(error.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigError) as error:
        Example(n_s=0, lr=-1)
    assert len(str(error.value).splitlines()) == 2


@given(st.integers())
def test_whole_numbers_outside_the_range_never_pass(n):
    if 1 <= n <= 20:
        assert Example(n_s=n).n_s == n
    else:
        with pytest.raises(ConfigError, match="n_s"):
            Example(n_s=n)


def test_a_config_is_frozen_and_a_changed_copy_is_checked():
    made = Example()
    with pytest.raises(Exception, match="frozen"):
        made.n_s = 3
    assert made.replace(n_s=3).n_s == 3
    with pytest.raises(ConfigError):
        made.replace(n_s=99)


def test_digest_depends_on_content_not_on_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


NAMED = {  # what each module says of a name that it does not know
    "setting": lambda name: Example(**{name: 1}),
    "data set": lambda name: DataConfig(dataset=name),
    "preset": lambda name: presets.experiment(name),
    "head method": heads.head_config,
    "rival at level 'feature'": lambda name: methods.run(runs.open(presets.experiment()), name),
    "feature method": lambda name: grid.check(grid.Task(grid.Cell(name), presets.experiment())),
    "map": lambda name: embedding.fit_map(torch.randn(9, 3), name),
    "recipe": lambda name: views.make_views(
        torch.zeros(1, 1, 8, 8), name, seed=0, epoch=0, index=torch.arange(1), mean=(0,), std=(1,)
    ),
    "parameter of 09_sweep.ipynb": lambda name: points("09_sweep.ipynb", {name: [1]}),
    "control": lambda name: replay.fork(
        runs.open(presets.experiment()), {"n_s": [5, 5]}, 1, {"a": {name: 1}}
    ),
}


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("name", ["my_settings", "reset_setting"])
def test_a_name_is_said_as_it_is_and_what_it_is_a_name_of(kind, name, outputs):
    with pytest.raises(ValueError, match=f"There is no {kind} named '{name}'"):
        NAMED[kind](name)


def test_the_nearest_name_is_said():
    assert unknown("lr_", ["n_s", "lr"], "knob") == (
        "There is no knob named 'lr_'. Did you mean 'lr'? Known: n_s, lr."
    )
