"""NaN and infinity in losses and gradients, and memory that does not suffice."""

import math
import os
import re
import resource
import subprocess
import sys
import time

import pytest
import tiny
import torch
from configs import bounds

from facog_lab import generator, phase1, phase2, registry, runs
from facog_lab.config import ConfigError, TrainingError
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import Phase2
from facog_lab.rivals import heads
from facog_lab.runs import checkpoint, divergence, presets, store
from facog_lab.runs import training as kept_training
from facog_lab.runs.memory import OutOfMemoryError, enough_memory
from facog_lab.settings import MIN_TAU, Controls, Phase1Config, Phase2Config


def first_phase():
    config = Phase1Config(**{**tiny.PHASE1, "epochs": 60})
    return Phase1(config, tiny.long_tailed(), "cpu")


def second_phase(epochs=60):
    of = tiny.dictionary()
    return Phase2(Phase2Config(epochs=epochs, batch_size=16), of, tiny.model(of), "cpu")


def clone(loop):
    return {name: tensor.clone() for name, tensor in checkpoint.state(loop).items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def after(make, step):
    """State and history of a run that nothing happened to, after so many steps."""
    loop = make()
    for _ in range(step):
        next(loop)
    return clone(loop), loop.history


class Poison(torch.autograd.Function):
    """Leaves a loss as it is and makes its gradient NaN."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


def poison(kind):
    """What a loss becomes at the bad step."""
    bad = {"nan": math.nan, "inf": math.inf}
    return (lambda loss: loss * bad[kind]) if kind in bad else Poison.apply


def poisoned(monkeypatch, owner, name, loop, at, change):
    """The function of a loss, whose value is changed at one step of a loop."""
    function = getattr(owner, name)

    def loss(*arguments, **options):
        value = function(*arguments, **options)
        return change(value) if loop.step == at - 1 else value

    monkeypatch.setattr(owner, name, loss)


# Where a loss is made, and what the error calls it, as a loss and as a gradient
PHASE2 = {
    "D": (generator.losses, "discriminator_adversarial", "loss_d", "discriminator."),
    "adv": (generator.losses, "generator_adversarial", "loss_g, loss_adv", "generator."),
    "asc": (generator.losses, "augmented_supervised_contrastive", "loss_asc", "generator."),
    "cls": (phase2.F, "cross_entropy", "loss_cls", "classifier."),
}


@pytest.mark.parametrize("at", [1, 7, pytest.param(137, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("where", PHASE2)
def test_phase_2_goes_back_to_the_step_before(where, kind, at, monkeypatch):
    owner, name, as_loss, as_gradient = PHASE2[where]
    expected, history = after(second_phase, at - 1)
    loop = second_phase()
    poisoned(monkeypatch, owner, name, loop, at, poison(kind))
    yielded = []
    with pytest.raises(TrainingError) as error:
        yielded.extend(step.step for step in divergence.Guarded(loop))
    # A loss is looked at in its step; a gradient when something else shows that it was bad.
    assert kind == "gradient" or not yielded or yielded[-1] == at - 1
    epoch = (at - 1) // loop.steps_per_epoch + 1
    words = str(error.value)
    assert words.startswith(f"phase 2, epoch {epoch}, step {at}: ")
    culprits = words.split(": ")[1].split(" became")[0]
    assert (f"gradient of {as_gradient}" if kind == "gradient" else as_loss) in culprits
    if where != "cls":
        assert "loss_cls" not in culprits  # that it is bad as well follows from it
    assert loop.step == at - 1
    assert same(clone(loop), expected)
    assert loop.history == history


@pytest.mark.parametrize("at", [1, 4, pytest.param(103, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
def test_phase_1_goes_back_to_the_step_before(kind, at, monkeypatch):
    expected, history = after(first_phase, at - 1)
    loop = first_phase()

    def loss(self, *arguments):
        value, terms, logits = whole(self, *arguments)
        if self.step == at - 1:
            changed = poison(kind)(value)
            return (changed, terms, logits) if kind == "gradient" else (
                changed, (changed.detach(), terms[1]), logits)  # fmt: skip
        return value, terms, logits

    whole = phase1.Phase1.loss
    monkeypatch.setattr(phase1.Phase1, "loss", loss)
    with pytest.raises(TrainingError) as error:
        list(divergence.Guarded(loop))
    epoch = (at - 1) // loop.steps_per_epoch + 1
    said = "gradient of model.backbone" if kind == "gradient" else "loss, ce became"
    assert str(error.value).startswith(f"phase 1, epoch {epoch}, step {at}: {said}")
    assert loop.step == at - 1
    assert same(clone(loop), expected)
    assert loop.history == history


def test_a_gradient_in_the_very_last_step_is_noticed_before_it_is_saved(outputs, monkeypatch):
    loop = second_phase(4)
    while loop.step < loop.total_steps - 1:
        next(loop)
    expected = clone(loop)
    poisoned(monkeypatch, phase2.F, "cross_entropy", loop, loop.total_steps, Poison.apply)
    run = store.Run("tiny", "phase2", loop.config, "upstream")
    training = kept_training.Training(loop, run, "Phase 2", {})
    with pytest.raises(TrainingError, match=r"gradient of classifier\.\d\.weight"):
        training.finish()
    assert run.load() is None
    assert same(clone(loop), expected)


def test_nothing_is_saved_of_a_run_that_went_wrong_and_it_can_go_on(outputs, monkeypatch):
    monkeypatch.setattr(kept_training, "SECONDS_BETWEEN_SAVES", 0.0)
    run = store.Run("tiny", "phase2", second_phase(4).config, "upstream")
    training = kept_training.Training(second_phase(4), run, "Phase 2", {})
    with monkeypatch.context() as patch:
        poisoned(patch, phase2.F, "cross_entropy", training.loop, 12, poison("nan"))
        with pytest.raises(TrainingError):
            training.finish()
    saved = run.load()
    assert saved.tensors["step"] <= 11
    assert all(tensor.isfinite().all() for tensor in saved.tensors.values())
    training.finish()
    whole = second_phase(4)
    list(whole)
    assert same(clone(whole), clone(training.loop))
    assert whole.history == training.history


def test_controls_that_were_changed_on_the_way_are_taken_again():
    def steered():
        guarded = divergence.Guarded(second_phase())
        loop = guarded.loop
        for _ in range(20):
            next(guarded)
        loop.controls = loop.controls.replace(n_s=3, oversampler="safa", lr_classifier=0.02)
        for _ in range(10):
            next(guarded)
        return guarded

    expected, guarded = steered().loop, steered()
    loop = guarded.loop
    loop.controls = loop.controls.replace(oversampler="facog", lr_classifier=100.0)
    with pytest.raises(TrainingError):
        list(guarded)
    while expected.step < loop.step:
        expected.controls = loop.controls
        next(expected)
    assert same(clone(expected), clone(loop))
    assert loop.history == expected.history


def test_no_tensor_that_is_no_number_reaches_a_disk(outputs):
    run = store.Run("tiny", "head", heads.HeadConfig(), "upstream")
    with pytest.raises(store.StoreError, match="not saved, w holds NaN or infinity"):
        run.save({"w": torch.tensor([1.0, math.inf])}, {}, {}, True)
    assert not run.folder.exists()


@pytest.mark.long
def test_what_it_costs_is_under_one_percent(outputs, monkeypatch):
    """CPU time of what a keeper does in 100 steps, as a share of the steps themselves."""
    settings = presets.experiment(phase1={"epochs": 1, "warmup_epochs": 0})
    source = runs.open(settings, "cpu").source
    second = Phase2(settings.phase2, source.features, source.model, "cpu")
    first = runs.open(presets.experiment(), "cpu").phase1.loop
    for loop, steps in ((second, 300), (first, 60)):
        for _ in range(5):
            next(loop)
        began = time.process_time()
        for _ in range(steps):
            next(loop)
        step = (time.process_time() - began) / steps
        began = time.process_time()
        guarded = divergence.Guarded(loop)
        for _ in range(20):
            guarded.forget()
            guarded.keep()
        keep = (time.process_time() - began) / 20
        # Phase 1 keeps at an epoch's start, so not more often than every 100 steps either.
        share = keep / (divergence.STEPS_BETWEEN_COPIES * step)
        print(f"{loop.phase}: a step {1e3 * step:.2f} ms, a copy {1e3 * keep:.2f} ms, {share:.3%}")
        assert share < 0.01


# The least and the largest of what is allowed


def extremes(config, without=()):
    """Every number of a config at its bounds, and what is near 0 where that is allowed."""
    for name, field in config.model_fields.items():
        found = bounds(field)
        if name in without or not {"le", "lt"} & found.keys():
            continue
        whole = field.annotation is int
        low, high = found.get("ge", found.get("gt")), found.get("le", found.get("lt"))
        values = [low, high, *([low + 1, high - 1] if whole else [5e-324, 1e-300, 1e-40, 1e-8])]
        values.append(math.nextafter(high, 0) if "lt" in found and not whole else high)
        for value in dict.fromkeys(values):
            try:
                config(**{name: value})
            except ConfigError:
                continue
            yield name, value


COSTS = {"epochs", "batch_size", "seed", "generator_hidden"}  # which only take longer


def ends_or_says_why(make, name, value):
    """A loop comes to its end with numbers, or says what went wrong and with which settings."""
    said = ""
    try:
        guarded = divergence.Guarded(make())
        list(guarded)
        guarded.check()
    except TrainingError as error:
        said = str(error)
    except ConfigError:
        return
    assert not said or "became NaN or infinite, with " in said
    assert not said or name not in divergence.RATES or f"{name} = {value:g}" in said


@pytest.mark.long
@pytest.mark.parametrize("oversampler", registry.oversamplers)
def test_phase_2_at_the_bounds_of_every_setting(oversampler):
    of = tiny.dictionary()
    for name, value in extremes(Phase2Config, COSTS):
        given = {"oversampler": oversampler, "epochs": 2, "batch_size": 16, name: value}
        ends_or_says_why(
            lambda given=given: Phase2(Phase2Config(**given), of, tiny.model(of), "cpu"),
            name,
            value,
        )


@pytest.mark.long
@pytest.mark.parametrize("objective", registry.objectives)
def test_phase_1_at_the_bounds_of_every_setting(objective):
    slow = {*COSTS, "width", "feature_dim", "projection_dim", "crop_size", "warmup_epochs"}
    for name, value in extremes(Phase1Config, slow):
        given = {**tiny.PHASE1, "epochs": 2, "objective": objective, name: value}
        ends_or_says_why(
            lambda given=given: Phase1(Phase1Config(**given), tiny.long_tailed(), "cpu"),
            name,
            value,
        )


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n, head in registry.heads.items() if head.make is None])
def test_heads_at_the_bounds_of_every_setting(name):
    of = tiny.dictionary()
    for field, value in extremes(heads.HeadConfig, COSTS):
        config = heads.head_config(name, **{"epochs": 2, "batch_size": 16, field: value})
        said = ""
        try:
            made = heads.train_head(config, of, tiny.model(of), "cpu")
            assert all(t.isfinite().all() for t in made.classifier.state_dict().values())
        except TrainingError as error:
            said = str(error)
        assert not said or re.search(r"became NaN or infinite .*, with lr = \S+, loss = ", said)


@pytest.mark.parametrize("value", [1e-300, 5e-324, 9e-5])
@pytest.mark.parametrize("config", [Phase1Config, Phase2Config, Controls])
def test_a_temperature_that_nothing_can_be_divided_by_is_refused_at_once(config, value):
    with pytest.raises(
        ConfigError, match=rf"temperature = {value}: .* at least 0\.0001, at most 1"
    ):
        config(temperature=value)


@pytest.mark.parametrize("oversampler", ["facog", "facog_attention"])
def test_the_least_temperature_is_one_that_can_be_trained_with(oversampler):
    of = tiny.dictionary()
    config = Phase2Config(
        temperature=MIN_TAU, lambda_asc=0.1, oversampler=oversampler, epochs=2, batch_size=16
    )
    guarded = divergence.Guarded(Phase2(config, of, tiny.model(of), "cpu"))
    list(guarded)
    guarded.check()


def test_the_error_says_with_which_settings():
    of = tiny.dictionary()
    config = Phase2Config(epochs=60, batch_size=16)
    loop = Phase2(config, of, tiny.model(of), "cpu")
    loop.controls = loop.controls.replace(lr_classifier=100)
    with pytest.raises(
        TrainingError, match=r"with .*lr_classifier = 100, temperature = 0\.1, lamb"
    ):
        list(divergence.Guarded(loop))


# Memory


SMALL_AFTER_LARGE = """
import resource, sys
import torch
import torchvision, torch._dynamo  # what runs import, before memory gets scarce
from facog_lab import runs
from facog_lab.runs import presets, stages
from facog_lab.runs.memory import OutOfMemoryError
stages.data(presets.experiment().data)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
large = presets.experiment(phase1={"architecture": "resnet32", "width": 4, "batch_size": 4096})
try:
    runs.open(large, "cpu").phase1.finish()
except OutOfMemoryError as error:
    print(error)
small = presets.experiment(phase1={"epochs": 1, "warmup_epochs": 0})
print(runs.open(small, "cpu").phase1.finish().step)
"""


def test_too_large_a_run_says_what_to_set_and_a_smaller_one_follows(tmp_path):
    environment = {"FACOG_OUTPUTS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SMALL_AFTER_LARGE],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout
    assert re.search(r"phase 1, step 1: out of memory on cpu, [\d.]+ of [\d.]+ GiB free\.", words)
    assert re.search(r"batch_size = \d+, views = 2, side = 8 wanted \d+ bytes more\. Set", words)
    assert words.strip().endswith("4")  # the steps of the smaller one


def test_the_batch_stays_what_was_asked_for(monkeypatch):
    loop = second_phase()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")

    monkeypatch.setattr(generator.losses, "discriminator_adversarial", full)
    with pytest.raises(OutOfMemoryError, match=r"batch_size = 16, n_s = 5, D_E = 6 wanted 20.00 G"):
        next(divergence.Guarded(loop))
    assert loop.config.batch_size == 16


def test_other_errors_stay_what_they_are():
    with (
        pytest.raises(RuntimeError, match="shape"),
        enough_memory("phase 1", 1, torch.device("cpu"), ""),
    ):
        raise RuntimeError("shape mismatch")


def test_the_limit_is_of_this_process_alone():
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
