import copy
import math
import threading

import pytest
import tiny
import torch

from facog_lab import phase2, registry
from facog_lab.config import TrainingError
from facog_lab.phase2 import Phase2, label_probabilities, score
from facog_lab.rng import rng_for
from facog_lab.runs import checkpoint
from facog_lab.runs.divergence import Guarded
from facog_lab.settings import Phase2Config

cross_entropy = torch.nn.functional.cross_entropy
GAMO = torch.tensor([4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40])


def loop(**changes):
    dictionary = tiny.dictionary()
    base = {"epochs": 3, "batch_size": 16, "lr_classifier": 0.05}
    return Phase2(Phase2Config(**base | changes), dictionary, tiny.model(dictionary), "cpu")


def test_label_selection_against_the_published_figures():
    published = [0, 0.0645, 0.0968, 0.1048, 0.1129, 0.1177, 0.1226, 0.1258, 0.1271, 0.1277]
    assert label_probabilities(GAMO, "gamo").tolist() == pytest.approx(published, abs=5e-5)
    as_found = label_probabilities(GAMO, "as_found")
    assert as_found.tolist() == pytest.approx((GAMO / GAMO.sum()).tolist())
    inverse = label_probabilities(GAMO, "inverse")
    assert (inverse[-1] / inverse[0]).item() == pytest.approx(100)
    assert inverse.sum().item() == pytest.approx(1)
    assert label_probabilities(GAMO, "uniform").tolist() == pytest.approx([0.1] * 10)


def test_share_of_the_rarest_twenty_classes_of_cifar100():
    counts = torch.tensor([int(500 * 0.01 ** (i / 99)) for i in range(100)])
    assert label_probabilities(counts, "gamo")[-20:].sum().item() == pytest.approx(0.25, abs=0.005)
    assert label_probabilities(counts, "inverse")[-20:].sum().item() == pytest.approx(
        0.62, abs=0.005
    )


def test_equal_classes_have_no_gamo_selection():
    with pytest.raises(ValueError, match="set it to 'uniform'"):
        label_probabilities(torch.tensor([5, 5]), "gamo")


def test_it_learns_and_its_history_holds_every_step():
    trained = loop(epochs=20)
    before = trained.evaluate().acsa
    steps = list(trained)
    assert len(steps) == 20 * math.ceil(73 / 16)
    assert trained.evaluate().acsa > before
    table = trained.history["steps"]
    assert {len(column) for column in table.values()} == {len(steps)}
    assert {"loss_d", "loss_adv", "loss_asc", "loss_cls", "entropy", "n_s"} <= set(table)
    assert len(trained.history["epochs"]["acsa"]) == 20
    assert trained.history["epochs"]["acsa"][-1] == trained.evaluate().acsa


def test_a_step_takes_one_thread_and_gives_the_others_back(monkeypatch):
    seen = []

    def counted(*arguments):
        seen.append(torch.get_num_threads())
        return score(*arguments)

    trained = loop(epochs=2)
    monkeypatch.setattr(phase2, "score", counted)

    def take():
        torch.set_num_threads(2)
        list(trained)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=take)  # the setting belongs to each thread
    thread.start()
    thread.join()
    assert seen == [1, 1, 2]
    assert torch.get_num_threads() == 1  # of the tests


def test_the_classifiers_draws_are_a_stream_of_their_own():
    made = loop(oversampler="random_oversampling", seed=3)  # which learns nothing
    own = rng_for("cpu", 3, "classifier", 0)
    expected, _ = made.classifier_loss(made.controls, own)
    assert next(made).figures["loss_cls"] == expected.item()


@pytest.mark.parametrize(
    ("trains", "changed"),
    [("all", "dgc"), ("d_and_g", "dg"), ("d", "d"), ("g", "g"), ("classifier", "c")],
)
def test_a_step_changes_what_it_is_to_train(trains, changed):
    made = loop(trains=trains)
    facog = made.oversampler
    nets = {"d": facog.discriminator, "g": facog.generator, "c": made.classifier}
    before = {name: copy.deepcopy(net.state_dict()) for name, net in nets.items()}
    next(made)
    for name, net in nets.items():
        same = all(torch.equal(t, before[name][k]) for k, t in net.state_dict().items())
        assert same is (name not in changed), name


def test_same_seed_same_bytes_and_the_global_generator_is_left_alone():
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.random.get_rng_state()
        trained = loop()
        list(trained)
        assert torch.equal(before, torch.random.get_rng_state())
        results.append(trained)
    one, two = (checkpoint.state(r) for r in results)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert results[0].history == results[1].history
    other = loop(seed=1)
    list(other)
    assert results[0].history != other.history


def test_a_resumed_loop_ends_with_the_same_bytes():
    whole = loop()
    list(whole)
    first, second = loop(), loop()
    for _ in range(7):
        next(first)
    checkpoint.restore(
        second, {k: v.clone() for k, v in checkpoint.state(first).items()}, first.history
    )
    list(second)
    for name, tensor in checkpoint.state(whole).items():
        assert torch.equal(tensor, checkpoint.state(second)[name]), name
    assert whole.history == second.history


def test_controls_take_effect_at_the_next_step():
    trained = loop()
    next(trained)
    trained.controls = trained.controls.replace(n_s=2, lambda_adv=0.0, lr_generator=0.5)
    next(trained)
    table = trained.history["steps"]
    assert table["n_s"] == [5, 2]
    assert table["lambda_adv"] == [1.0, 0.0]
    assert table["loss_g"][1] == pytest.approx(0.1 * table["loss_asc"][1], rel=1e-5)
    assert table["entropy"][1] <= math.log(2) + 1e-6


@pytest.mark.parametrize("references", ["fresh", "fixed"])
def test_oversamplers_are_compared_on_the_same_draws(references):
    def draw_of(name):
        trained = loop(oversampler=name, references=references)
        rng = rng_for("cpu", 0, "classifier", 0)
        labels = torch.multinomial(
            trained.probabilities("gamo"), 16, replacement=True, generator=rng
        )
        torch.randint(73, (16,), generator=rng)
        return trained.oversampler.generate(labels, trained.controls, rng).rows

    names = ("facog", "random_oversampling", "uniform_weights", "dirichlet_weights")
    rows = [draw_of(name) for name in names]
    assert all(torch.equal(rows[0], other) for other in rows[1:])


def test_literal_batches_never_show_the_head_class(monkeypatch):
    """Under GAMO's selection, only the mixed batches hold features of the largest class."""
    for kind, size, head in (("mixed", 32, True), ("literal", 16, False)):
        seen = []

        def remember(logits, labels, to=seen):
            to.append(labels)
            return cross_entropy(logits, labels)

        monkeypatch.setattr(phase2.F, "cross_entropy", remember)
        list(loop(classifier_batches=kind))
        assert {len(labels) for labels in seen} == {size}
        assert bool((torch.cat(seen) == 0).any()) is head


def test_the_classifier_of_phase1_is_not_touched():
    dictionary = tiny.dictionary()
    model = tiny.model(dictionary)
    before = [p.clone() for p in model.parameters()]
    list(Phase2(Phase2Config(epochs=1, batch_size=16), dictionary, model, "cpu"))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.requires_grad for p in model.parameters())


def test_nan_stops_the_loop_and_names_step_and_term():
    guarded = Guarded(loop())
    next(guarded)
    with torch.no_grad():
        guarded.loop.classifier[2].bias.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"phase 2, epoch 1, step 2: loss_cls became"):
        next(guarded)


def test_a_protocol_is_a_subset_of_the_test_set():
    trained = loop()
    of_ten = torch.cat([(trained.dictionary.test_labels == c).nonzero()[:3, 0] for c in range(5)])
    scores = score(trained.classifier, trained.dictionary, of_ten)
    predicted = trained.classifier(trained.dictionary.test_features[of_ten]).argmax(1)
    expected = (predicted == trained.dictionary.test_labels[of_ten]).float().mean().item()
    assert scores.top1 == pytest.approx(expected)


@pytest.mark.parametrize(
    "changes",
    [{"generator": "attention"}, {"references": "fixed"}, {"optimizer": "adam"},
     {"label_selection": "inverse"}, {"oversampler": "dirichlet_weights"}, {"n_s": 1},
     {"n_s": 20}, {"lambda_adv": 0.0}, {"lambda_asc": 0.0}, {"batch_size": 2},
     *({"oversampler": name} for name in registry.oversamplers)],
    ids=str,
)  # fmt: skip
def test_every_option_runs_to_its_end(changes):
    trained = loop(**{"epochs": 1} | changes)
    assert [s.ends_epoch for s in trained][-1]


def test_a_resumed_loop_goes_on_with_every_oversampler_that_learned():
    names = ("gamo", "facog_attention", "cgan", "safa", "gamo_without_d", "tailcalib", "gamo")

    def steered(loop, first, last):
        for step in range(first, last):
            loop.controls = loop.controls.replace(oversampler=names[step])
            next(loop)

    whole, start, rest = loop(), loop(), loop()
    steered(whole, 0, 7)
    steered(start, 0, 5)
    checkpoint.restore(
        rest, {k: v.clone() for k, v in checkpoint.state(start).items()}, start.history
    )
    steered(rest, 5, 7)
    assert whole.history == rest.history
    assert all(
        torch.equal(v, checkpoint.state(rest)[k]) for k, v in checkpoint.state(whole).items()
    )
    table = whole.history["steps"]
    assert table["entropy"][2] is None  # cGAN mixes nothing
    assert [value is not None for value in table["added"]] == [
        name in ("facog_attention", "safa", "tailcalib") for name in names
    ]


@pytest.mark.parametrize("batches", ["mixed", "literal"])
def test_the_seen_prior_is_how_often_the_classifier_sees_each_class(batches):
    made = loop(
        logit_prior="seen", classifier_batches=batches, batch_size=1000, epochs=100,
        oversampler="random_oversampling",
    )  # fmt: skip
    seen = []

    def counting(logits, labels):
        seen.append(torch.bincount(labels, minlength=made.dictionary.num_classes))
        return cross_entropy(logits, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase2.F, "cross_entropy", counting)
        for _ in range(20):
            next(made)
    counted = torch.stack(seen).sum(0).double()
    expected = made.seen(made.controls)
    assert expected.sum().item() == pytest.approx(1)
    assert torch.allclose(counted / counted.sum(), expected, atol=0.01)


def test_the_seen_prior_is_added_in_training_alone():
    plain, shifted = (loop(logit_prior=prior, oversampler="smote") for prior in ("none", "seen"))
    assert plain.evaluate() == shifted.evaluate()
    loss, _ = shifted.classifier_loss(shifted.controls, rng_for("cpu", 0, "test"))
    with torch.no_grad():  # the same as a classifier whose last bias is larger by the log prior
        plain.classifier[-1].bias += shifted.seen(shifted.controls).log().float()
    expected, _ = plain.classifier_loss(plain.controls, rng_for("cpu", 0, "test"))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_class_that_is_never_seen_does_no_harm():
    """Under "literal" and "gamo" the head class has probability 0, whose log is minus infinity."""
    for step in loop(logit_prior="seen", classifier_batches="literal"):
        assert all(math.isfinite(value) for value in step.figures.values())
