import math

import pytest
import tiny
import torch
import torch.nn.functional as F

from facog_lab import losses, registry
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import score
from facog_lab.plots.loss_terms import phase1_terms
from facog_lab.rivals import contrastive
from facog_lab.rivals.contrastive import (
    balanced_contrastive,
    k_positive_contrastive,
)
from facog_lab.rivals.objectives import ClassificationLoss, CosineLinear
from facog_lab.runs import checkpoint
from facog_lab.runs.store import run_key
from facog_lab.settings import Phase1Config

DATA = tiny.long_tailed()
INDEX = torch.arange(0, 69, 5)


def loop(objective, **changes):
    return Phase1(Phase1Config(**tiny.PHASE1 | {"objective": objective} | changes), DATA, "cpu")


def first_batch(trained):
    """The loss of one batch, and features and embeddings that it came from."""
    views, labels = trained.views(INDEX, 0), trained.labels[INDEX]
    trained.model.train()
    terms = trained.loss(views, labels, 0)
    trained.model.train()  # batch norm in training mode normalises by this batch
    features = trained.model.backbone(views.flatten(0, 1)).unflatten(0, (len(views), -1))
    return terms, features, labels


def test_keys_of_runs_from_before_the_rivals_still_hold():
    assert run_key(Phase1Config(), "x") == "0ab121bc6078"
    assert run_key(Phase1Config(reweighting="drw"), "x") == "8555a75a5a7f"
    changed = [{"objective": "ce"}, {"objective": "focal"}, {"focal_gamma": 2.0}]
    changed += [{"lade_alpha": 0.05}, {"lade_lambda": 0.5}, {}]
    assert len({run_key(Phase1Config(**c), "x") for c in changed}) == 6
    for change in changed:  # what is left out of a dump comes back as the default
        made = Phase1Config(**change)
        assert Phase1Config(**made.model_dump()) == made
        assert made.replace(seed=1).replace(seed=0) == made


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("objective", registry.objectives)
def test_every_objective_runs_to_its_end(objective, views):
    trained = loop(objective, views=views)
    list(trained)
    table = trained.history["epochs"]
    assert len(table["loss"]) == 3
    assert all(math.isfinite(x) for column in table.values() for x in column)


@pytest.mark.parametrize("objective", registry.objectives)
def test_every_objective_beats_chance(objective):
    """Of three classes told apart by their brightness; chance is 1/3."""
    trained = loop(objective, epochs=25)
    list(trained)
    assert trained.history["epochs"]["train_acsa"][-1] > 0.6


@pytest.mark.parametrize("objective", ["ce", "focal", "ldam", "balanced_softmax", "lade"])
def test_a_loss_alone_has_one_view_and_leaves_the_projector(objective):
    trained = loop(objective, views=3, lambda_ce=0.7)
    before = [p.clone() for p in trained.model.projector.parameters()]
    (loss, (ce, sc), logits), features, labels = first_batch(trained)
    assert features.shape[0] == 1
    criterion = ClassificationLoss(objective, trained.config, DATA.class_counts)
    expected = criterion(trained.model.classifier(features[0]), labels, 0, 3)
    assert ce.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.item() == pytest.approx(0.7 * ce.item(), rel=1e-6)
    assert sc.item() == 0
    assert torch.allclose(logits, trained.model.classifier(features[0]), atol=1e-4)
    list(trained)
    after = trained.model.projector.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_ldam_has_cosines_for_logits():
    trained = loop("ldam", epochs=1)
    assert isinstance(trained.model.classifier[-1], CosineLinear)
    list(trained)
    logits = trained.model.classifier(torch.randn(20, 64) * 100)
    assert logits.abs().max() <= 30.001


def test_the_curriculum_of_hybrid_sc():
    trained = loop("hybrid_sc", epochs=10, lambda_sc=1.0)
    weights = [trained.objective.lambdas(epoch) for epoch in range(10)]
    assert weights[0] == (0.0, 1.0)
    assert weights[5] == pytest.approx((0.25, 0.75))
    assert weights[9] == pytest.approx((0.81, 0.19))
    views, labels = trained.views(INDEX, 5), trained.labels[INDEX]
    loss, (ce, sc), _ = trained.loss(views, labels, 5)
    assert loss.item() == pytest.approx(0.25 * ce.item() + 0.75 * sc.item(), rel=1e-5)


@pytest.mark.parametrize("objective", ["kcl", "tsc"])
def test_contrast_alone_does_not_let_the_classifier_reach_the_backbone(objective):
    trained = loop(objective, views=3)
    terms, features, _ = first_batch(trained)
    assert features.shape[0] == 2
    parameters = list(trained.model.backbone.parameters())
    of_ce = torch.autograd.grad(terms.terms[0], parameters, retain_graph=True, allow_unused=True)
    assert all(g is None for g in of_ce)
    of_sc = torch.autograd.grad(terms.terms[1], parameters)
    assert any(g.abs().sum() > 0 for g in of_sc)


def test_kcl_and_tsc_are_their_equations():
    for objective in ("kcl", "tsc"):
        trained = loop(objective)
        terms, features, labels = first_batch(trained)
        z = F.normalize(trained.model.projector(features.flatten(0, 1)), dim=1)
        rng = torch.Generator().manual_seed(0)
        targets = trained.objective.targets if objective == "tsc" else None
        # 28 candidates and 6 positives: other draws move the loss, but not far
        expected = k_positive_contrastive(z, labels.repeat(2), 0.1, rng, targets=targets)
        assert terms.terms[1].item() == pytest.approx(expected.item(), rel=0.1)
        again = trained.loss(trained.views(INDEX, 0), labels, 0).terms[1]
        assert terms.terms[1].item() == pytest.approx(again.item(), rel=1e-5)  # same step


def test_kcl_draws_other_positives_at_every_step_and_for_every_seed(monkeypatch):
    drawn = []

    def noted(z, labels, temperature, rng, **options):
        drawn.append(torch.rand(3, generator=rng).tolist())
        return k_positive_contrastive(z, labels, temperature, rng, **options)

    monkeypatch.setattr(contrastive, "k_positive_contrastive", noted)
    for seed in (0, 1):
        list(loop("kcl", epochs=2, seed=seed))
    assert len({tuple(numbers) for numbers in drawn}) == len(drawn) > 4


def test_tsc_gives_each_class_the_target_near_it():
    trained = loop("tsc", epochs=8)
    objective = trained.objective
    list(trained)
    assert sorted(objective.target_of.tolist()) == [0, 1, 2]
    norms = objective.means.norm(dim=1)
    assert norms.tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    objective.means.copy_(objective.targets[[2, 0, 1]])
    objective.start_epoch()
    assert objective.target_of.tolist() == [2, 0, 1]
    before = objective.means.clone()
    objective.remember(torch.eye(8)[:2], torch.tensor([1, 1]))
    assert torch.equal(objective.means[[0, 2]], before[[0, 2]])
    batch_mean = F.normalize(torch.eye(8)[:2].mean(0), dim=0)
    expected = F.normalize(0.9 * before[1] + 0.1 * batch_mean, dim=0)
    assert torch.allclose(objective.means[1], expected, atol=1e-6)


@pytest.mark.parametrize("width", [2, 8, 9])
def test_tsc_has_targets_for_more_classes_than_dimensions(width):
    """CIFAR-100 and the small network: 100 classes, 64 dimensions."""
    settings = tiny.PHASE1 | {"objective": "tsc", "projection_dim": width, "epochs": 2}
    data = tiny.long_tailed((4,) * 10)
    trained, again = (Phase1(Phase1Config(**settings), data, "cpu") for _ in range(2))
    targets = trained.objective.targets.clone()
    assert torch.allclose(targets.norm(dim=1), torch.ones(10), atol=1e-6)
    assert len(targets.unique(dim=0)) == 10
    list(trained)
    assert torch.equal(trained.objective.targets, targets)
    assert all(math.isfinite(x) for x in trained.history["epochs"]["loss"])
    checkpoint.restore(again, checkpoint.state(trained), trained.history)
    assert torch.equal(again.objective.targets, targets)


def test_bcl_is_its_equation_and_its_prototypes_learn():
    trained = loop("bcl", lambda_ce=2.0, lambda_sc=0.6)
    (loss, (ce, sc), _), features, labels = first_batch(trained)
    network, model = trained.objective.prototypes, trained.model
    prototypes = F.normalize(network(model.classifier[-1].weight), dim=1)
    z = model.embed(features.flatten(0, 1))
    expected = balanced_contrastive(z, labels.repeat(2), prototypes, 0.1)
    assert sc.item() == pytest.approx(expected.item(), rel=1e-4)
    shifted = model.classifier(features.flatten(0, 1)) + DATA.class_counts.log()
    expected = F.cross_entropy(shifted, labels.repeat(2))
    assert ce.item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss.item() == pytest.approx(2 * ce.item() + 0.6 * sc.item(), rel=1e-5)
    before = [p.clone() for p in network.parameters()]
    list(trained)
    moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert any(moved)


@pytest.mark.parametrize("objective", ["ldam", "kcl", "tsc", "bcl", "hybrid_sc"])
def test_a_resumed_loop_ends_with_the_same_bytes(objective):
    whole, first, second = loop(objective), loop(objective), loop(objective)
    list(whole)
    for step in first:
        if step.ends_epoch:
            break
    checkpoint.restore(
        second, {k: v.clone() for k, v in checkpoint.state(first).items()}, first.history
    )
    list(second)
    for name, tensor in checkpoint.state(whole).items():
        assert torch.equal(tensor, checkpoint.state(second)[name]), name
    assert whole.history == second.history


def test_the_paper_s_own_loss_is_what_it_was():
    """Eq. 2 by hand, with the objective's name given or not."""
    trained = loop("facog", lambda_sc=0.3)
    (loss, (ce, sc), _), features, labels = first_batch(trained)
    logits = trained.model.classifier(features.flatten(0, 1))
    z = trained.model.embed(features.flatten(0, 1))
    assert ce.item() == pytest.approx(F.cross_entropy(logits, labels.repeat(2)).item(), rel=1e-5)
    expected = losses.supervised_contrastive(z, labels.repeat(2), 0.1).item()
    assert sc.item() == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(ce.item() + 0.3 * sc.item(), rel=1e-5)
    assert not list(trained.objective.parameters())
    assert {name.split(".")[0] for name in checkpoint.state(trained)} == {"model", "step"}


@pytest.mark.parametrize(
    ("objective", "shown"),
    [("facog", ["L_ce", "L_sc"]), ("ce", ["L_ce"]), ("hybrid_sc", ["L_ce", "L_sc"]),
     ("kcl", []), ("bcl", []), ("ldam", [])],
)  # fmt: skip
def test_the_triptych_shows_the_terms_whose_equations_it_has(objective, shown):
    trained = loop(objective)
    before = {k: v.clone() for k, v in checkpoint.state(trained).items()}
    assert [term.name for term in phase1_terms(trained).terms] == shown
    assert all(torch.equal(before[k], v) for k, v in checkpoint.state(trained).items())


def test_a_batch_of_two_images_and_classes_of_one():
    for objective in registry.objectives:
        config = Phase1Config(
            architecture="small", feature_dim=0, projection_dim=8, views=2, augmentation="crop",
            epochs=1, batch_size=2, lr=0.05, objective=objective,
        )  # fmt: skip
        trained = Phase1(config, tiny.long_tailed((3, 1)), "cpu")
        assert len(list(trained)) == 2
        assert math.isfinite(trained.history["epochs"]["loss"][0])


def test_scores_of_a_network(tmp_path):
    """What phase 1 leaves behind is a classifier for features, whatever it minimised."""
    from facog_lab.runs.extract import extract
    from facog_lab.settings import DictionaryConfig

    trained = loop("ldam", epochs=20, lr=0.02)
    list(trained)
    made = extract(trained, DictionaryConfig())
    assert score(trained.model.classifier, made).acsa > 0.5
