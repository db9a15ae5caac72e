from pathlib import Path

import pytest
import tiny
import torch

from facog_lab import losses
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import Phase2
from facog_lab.plots.loss_terms import FORMULAS, phase1_terms, phase2_terms, source_line
from facog_lab.runs import checkpoint
from facog_lab.settings import Phase1Config, Phase2Config


def phase2(**changes):
    dictionary = tiny.dictionary()
    config = Phase2Config(**{"epochs": 2, "batch_size": 16} | changes)
    return Phase2(config, dictionary, tiny.model(dictionary), "cpu")


def by_name(triptych):
    return {term.name: term for term in triptych.terms}


def test_the_line_of_code_is_the_one_in_the_file():
    place, line = source_line(losses.generator_adversarial)
    name, number = place.split(":")
    written = Path(losses.__file__).read_text().splitlines()[int(number) - 1]
    assert name == "facog_lab/losses.py"
    assert written.strip() == f"return {line}" == "return (1 - generated_scores).square().mean()"


def test_values_are_those_of_the_next_step():
    loop = phase2()
    for _ in range(3):
        next(loop)
    terms = by_name(phase2_terms(loop))
    loop.controls = loop.controls.replace(trains="classifier")  # so that G meets the same D
    figures = next(loop).figures
    for name, key in {
        "L_D": "loss_d", "L_adv": "loss_adv", "L_asc": "loss_asc", "L_cls": "loss_cls",
    }.items():  # fmt: skip
        assert terms[name].value == pytest.approx(figures[key], rel=1e-5)
    assert terms["L_asc"].weight == loop.controls.lambda_asc


def test_gradients_are_those_that_the_step_would_take():
    """From rest, and without weight decay, SGD moves by lr times the gradient."""
    for part, name in (("d", "L_D"), ("g", "L_adv"), ("classifier", "L_cls")):
        loop = phase2(lambda_asc=0.0, lr_discriminator=1.0, lr_generator=1.0, lr_classifier=1.0)
        facog = loop.oversampler
        optimizers = (facog.discriminator_optimizer, facog.generator_optimizer, loop.optimizer)
        for optimizer in optimizers:
            optimizer.param_groups[0]["weight_decay"] = 0.0
        modules = {"d": facog.discriminator, "g": facog.generator, "classifier": loop.classifier}
        term = by_name(phase2_terms(loop))[name]
        before = [p.clone() for p in modules[part].parameters()]
        loop.controls = loop.controls.replace(trains=part)
        next(loop)
        moved = [a - b for a, b in zip(before, modules[part].parameters(), strict=True)]
        norm = torch.cat([m.flatten() for m in moved]).norm().item()
        assert term.gradient == pytest.approx(norm, rel=1e-4), part


@pytest.mark.parametrize(
    "changes", [{}, {"generator_batch_norm": True}, {"generator": "attention"}]
)
def test_looking_changes_nothing(changes):
    looked, alone = phase2(**changes), phase2(**changes)
    for _ in looked:
        phase2_terms(looked)
    list(alone)
    one, two = checkpoint.state(looked), checkpoint.state(alone)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_null_baseline_has_the_classifier_alone():
    assert list(by_name(phase2_terms(phase2(oversampler="uniform_weights")))) == ["L_cls"]


@pytest.mark.parametrize("views", [2, 3])
def test_phase_1_against_its_own_loss_and_autograd(views):
    data = tiny.long_tailed()
    config = Phase1Config(
        epochs=2, batch_size=32, views=views, architecture="small", warmup_epochs=0
    )
    loop = Phase1(config, data, "cpu")
    next(loop)
    before = {k: v.clone() for k, v in checkpoint.state(loop).items()}
    terms = by_name(phase1_terms(loop))
    assert all(torch.equal(before[k], v) for k, v in checkpoint.state(loop).items())
    index = loop.order[0]
    _, (ce, sc), _ = loop.loss(loop.views(index, 0), loop.labels[index], 0)
    parameters = list(loop.model.backbone.parameters())
    for name, loss in (("L_ce", ce), ("L_sc", sc)):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        norm = torch.cat([g.flatten() for g in gradients]).norm().item()
        assert terms[name].value == pytest.approx(loss.item(), rel=1e-5)
        assert terms[name].gradient == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("objective", ["facog", "bcl", "tsc"])
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_phase_1_that_was_loaded_shows_the_terms_of_the_one_that_was_trained(objective, epochs):
    """After any epoch, the last among them: the figure follows from step and weights alone."""
    data = tiny.long_tailed()
    config = Phase1Config(**tiny.PHASE1 | {"objective": objective, "seed": 4})
    trained, loaded = Phase1(config, data, "cpu"), Phase1(config, data, "cpu")
    for step in trained:
        if step.ends_epoch and step.epoch + 1 == epochs:
            break
    checkpoint.restore(loaded, checkpoint.state(trained), trained.history)
    assert phase1_terms(loaded).terms == phase1_terms(trained).terms
    assert [batch.tolist() for batch in loaded.order] == [batch.tolist() for batch in trained.order]


def test_a_finished_phase_1_shows_the_first_batch_of_its_last_epoch():
    loop = Phase1(Phase1Config(**tiny.PHASE1), tiny.long_tailed(), "cpu")
    last = None
    for step in loop:
        last = loop.order[0] if step.epoch == 2 and not step.ends_epoch else last
    assert torch.equal(loop.order[0], last)


def test_a_phase_2_that_was_loaded_shows_the_terms_of_the_one_that_was_trained():
    trained, loaded = phase2(), phase2()
    for step in trained:
        if step.ends_epoch:
            break
    checkpoint.restore(loaded, checkpoint.state(trained), trained.history)
    assert phase2_terms(loaded).terms == phase2_terms(trained).terms


def test_the_table_shows_all_three():
    loop = phase2()
    shown = phase2_terms(loop)
    page = shown._repr_html_()
    assert page.count("<math") == 4
    assert "facog_lab/losses.py:" in page
    assert f"{shown.terms[0].value:.4g}" in page
    assert set(by_name(shown)) < set(FORMULAS)
    assert "L_adv = " in repr(shown)
