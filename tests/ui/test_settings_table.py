"""The settings in use, as a notebook shows them after its parameters."""

import re

import pytest
from pydantic import Field

from facog_lab.config import Config
from facog_lab.runs import presets
from facog_lab.ui import settings_table
from facog_lab.ui.parameters import from_values


class MapConfig(Config):
    perplexity: float = Field(30.0, ge=2, le=100)
    per_class: int = Field(30, ge=1)


def sources(settings):
    """By stage: each field's value as text, and who decided it."""
    found = {}
    for row in settings_table.rows(settings):
        for whose in ("here", "usual", "default"):
            for field in getattr(row, whose):
                name, _, value = field.partition("=")
                assert (row.stage, name) not in found
                found[row.stage, name] = (value, whose)
    return found


def test_every_field_of_every_stage_is_there_once_with_its_value():
    settings = from_values({"seed": 3, "n_s": 5, "batch_size": None}, "phase2")
    found = sources(settings)
    for stage, name in settings_table.STAGES.items():
        config = getattr(settings, stage)
        fields = {field: value for (of, field), (value, _) in found.items() if of == name}
        assert fields == {field: repr(value) for field, value in config}


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({}, ("phase 2", "batch_size"), ("128", "default")),
        ({"batch_size": None}, ("phase 2", "batch_size"), ("128", "usual")),
        ({"batch_size": "None"}, ("phase 2", "batch_size"), ("128", "usual")),
        ({"image_size": None}, ("data", "image_size"), ("None", "default")),
        ({"batch_size": 128}, ("phase 2", "batch_size"), ("128", "here")),
        ({"epochs": None}, ("phase 2", "epochs"), ("200", "usual")),
        ({"epochs": "None"}, ("phase 2", "epochs"), ("200", "usual")),
        ({"epochs": "7"}, ("phase 2", "epochs"), ("7", "here")),
        ({"dataset": "mnist"}, ("phase 1", "epochs"), ("60", "usual")),
        ({"dataset": "mnist", "preset": "paper"}, ("phase 1", "epochs"), ("80", "usual")),
        ({"dataset": "folder:x", "batch_size": None}, ("phase 2", "batch_size"), ("64", "usual")),
        ({"phase1_epochs": 3}, ("phase 1", "epochs"), ("3", "here")),
        ({"seed": 1}, ("phase 1", "seed"), ("1", "here")),
        ({}, ("phase 1", "seed"), ("0", "default")),
        ({"imbalance_ratio": 50}, ("data", "imbalance_ratio"), ("50.0", "here")),
        ({"dataset": "mnist", "imbalance_ratio": 50}, ("data", "profile"),
         ("'exponential'", "usual")),
    ],
)  # fmt: skip
def test_who_decided(values, field, expected):
    assert sources(from_values(values, "phase2"))[field] == expected


@pytest.mark.parametrize(
    ("main", "stages"), [("data", 1), ("phase1", 2), ("dictionary", 3), ("phase2", 4)]
)
def test_stages_end_with_the_notebooks_own(main, stages):
    settings = from_values({}, main)
    assert [row.stage for row in settings_table.rows(settings)] == list(
        settings_table.STAGES.values()
    )[:stages]


def test_a_notebooks_own_settings_have_a_row():
    settings = from_values({"perplexity": "5"}, "data", MapConfig)
    *_, own = settings_table.rows(settings)
    assert own == ("this notebook", ["perplexity=5.0"], [], ["per_class=30"])


def test_it_is_what_settings_show():
    settings = from_values({"dataset": "folder:<b>&x", "epochs": None}, "phase2")
    page, lines = settings._repr_html_(), repr(settings).splitlines()
    assert "phase 2, usual for folder, preset cpu: epochs=100, batch_size=64" in lines
    assert "data, set in this notebook: dataset='folder:<b>&x'" in lines
    assert "<b>" not in page
    assert "folder:&lt;b&gt;&amp;x" in page
    text = re.sub(r"<[^>]+>", " ", page)
    for row in settings_table.rows(settings):
        assert row.stage in text
    assert page.count("<code>") == sum(
        len(part) for row in settings_table.rows(settings) for part in row[1:]
    )
    assert presets.decided("auto", "folder:x")["phase2"]["batch_size"] == 64
