"""Every field of every config, with values made from its own type and bounds."""

import math
import typing

import pytest
from configs import all_configs, bounds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facog_lab import config as base
from facog_lab.config import ConfigError
from facog_lab.runs import presets, stages
from facog_lab.ui import parameters

CONFIGS = sorted(set(all_configs()), key=lambda c: c.__name__)
FIELDS = [(c, name) for c in CONFIGS for name in c.model_fields]
A_DICTIONARY = st.dictionaries(st.text(), st.integers(), min_size=1)
NONSENSE = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).filter(lambda x: not math.isfinite(x)),
    st.binary(min_size=1),
    st.sampled_from([object(), len, 1j]),
)
TEXTS = st.text(min_size=1).filter(lambda text: not _number(text))


def _number(text):
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in base_booleans
    return True


base_booleans = {"true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "1", "0"}


def outside(field):
    """Numbers below and above what a field takes."""
    found, kinds = bounds(field), base._kinds(field)
    number = st.integers if int in kinds and float not in kinds else st.floats
    options = {} if number is st.integers else {"allow_nan": False}
    strategies = []
    if (low := found.get("ge", found.get("gt"))) is not None:
        strategies.append(
            number(max_value=low, **options).filter(lambda x: x < low or "gt" in found)
        )
    if (high := found.get("le", found.get("lt"))) is not None:
        strategies.append(
            number(min_value=high, **options).filter(lambda x: x > high or "lt" in found)
        )
    return strategies


def bad_values(field):
    """Values that a field must not take."""
    kinds = base._kinds(field)
    strategies = [NONSENSE]
    if dict[str, typing.Any] not in kinds:
        strategies.append(A_DICTIONARY)
    if int in kinds or float in kinds:
        strategies += [*outside(field), TEXTS, st.booleans(), st.lists(st.integers(), min_size=2)]
        if float not in kinds:
            strategies.append(st.floats(-1e6, 1e6).filter(lambda x: not x.is_integer()))
    elif bool in kinds:
        strategies += [TEXTS, st.integers(2), st.floats(0.1, 0.9)]
    elif any(typing.get_origin(kind) is typing.Literal for kind in kinds):
        options = {option for kind in kinds for option in typing.get_args(kind)}
        strategies += [st.text().filter(lambda text: text not in options), st.integers()]
    elif any(typing.get_origin(kind) is tuple for kind in kinds):
        strategies += [TEXTS, st.integers(), st.just([]), st.just([0]), st.just([1] * 9)]
    elif any(typing.get_origin(kind) is dict for kind in kinds):
        strategies += [TEXTS, st.integers(), st.lists(st.integers(), min_size=1)]
    else:  # a text
        strategies += [st.integers(), st.lists(st.text())]
    if type(None) not in kinds:
        strategies.append(st.none())
    return st.one_of(strategies)


def test_all_configs_are_found():
    names = {c.__name__ for c in CONFIGS}
    assert names >= {"DataConfig", "Phase1Config", "Phase2Config", "Controls", "DictionaryConfig"}
    assert names >= {"HeadConfig", "LossConfig", "Common"}
    assert len(FIELDS) > 80


def test_every_number_has_bounds():
    for config, name in FIELDS:
        field = config.model_fields[name]
        if {int, float} & set(base._kinds(field)):
            found = bounds(field)
            assert {"ge", "gt"} & found.keys(), f"{config.__name__}.{name} has no lower bound"
            assert {"le", "lt"} & found.keys(), f"{config.__name__}.{name} has no upper bound"


@pytest.mark.parametrize(("config", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
def test_a_bad_value_is_an_error_with_field_value_and_range(config, name, monkeypatch):
    def no_data(*_, **__):
        raise AssertionError("data was read before the settings were checked")

    monkeypatch.setattr(stages, "load", no_data)
    field = config.model_fields[name]

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bad_values(field))
    def check(value):
        with pytest.raises(ConfigError) as error:
            config(**{name: value})
        words = str(error.value)
        assert words.startswith(f"{name} = {value!r}: ") or f"\n{name} = " in f"\n{words}", words
        if {int, float} & set(base._kinds(field)):
            assert base.allowed(config, name) in words

    check()


@pytest.mark.parametrize("main", ["data", "phase1", "dictionary", "phase2"])
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_notebook_says_it_in_its_own_names_before_any_data_is_read(main, data):
    places = parameters._places(main, None)
    name = data.draw(st.sampled_from(sorted(places)))
    stage, field = places[name]
    kind = parameters.STAGES[stage] if stage else parameters.Common
    value = data.draw(
        bad_values(kind.model_fields[field]).filter(lambda value: value not in (None, "None"))
    )  # which mean: as the preset says
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "load", None)
        with pytest.raises(parameters.ParameterError, match=rf"(?m)^{name} = "):
            parameters.from_values({name: value}, main)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_an_unknown_name_is_an_error(name):
    if name in parameters._places("phase2", None):
        return
    with pytest.raises(parameters.ParameterError, match="There is no setting named"):
        parameters.from_values({name: 1}, "phase2")
    with pytest.raises(ConfigError):
        presets.experiment(phase2={name: 1})
