import math
import shutil

import pytest
import tiny
import torch
import torch.nn.functional as F

from facog_lab import losses, models
from facog_lab.config import ConfigError, TrainingError
from facog_lab.phase1 import Phase1, learning_rate
from facog_lab.runs import checkpoint
from facog_lab.runs.divergence import Guarded
from facog_lab.runs.views_ahead import ViewsAhead
from facog_lab.settings import Phase1Config
from facog_lab.views import make_views


def config(**changes):
    return Phase1Config(**tiny.PHASE1 | changes)


@pytest.mark.parametrize(
    ("changes", "millions", "dim"),
    [({}, 0.46 + 0.033, 512), ({"width": 4}, 7.4, 256), ({"width": 8}, 29.5, 512),
     ({"architecture": "resnet34"}, 21.3, 512), ({"feature_dim": 0}, 0.46, 64)],
)  # fmt: skip
def test_the_backbones_of_the_options(changes, millions, dim):
    """Sizes of method and paper, reached through the settings that a person gives."""
    backbone = Phase1(Phase1Config(**changes), tiny.long_tailed(side=32, channels=3)).model.backbone
    assert models.parameter_count(backbone) / 1e6 == pytest.approx(millions, rel=0.01)
    assert backbone.feature_dim == dim


@pytest.mark.parametrize("changes", [{"width": 2}, {"feature_dim": 64}])
def test_a_width_that_the_network_does_not_have(changes):
    with pytest.raises(ConfigError, match="take resnet32"):
        Phase1Config(architecture="resnet34", **changes)


def test_the_schedule():
    settings = Phase1Config()  # 160 epochs, 5 of warm-up, lr 0.5
    steps = 10
    rates = [learning_rate(settings, s, steps) for s in range(160 * steps)]
    assert rates[0] == pytest.approx(0.5 / 50)
    assert rates[49] == pytest.approx(0.5)
    assert rates[50] == rates[96 * steps - 1] == 0.5
    assert rates[96 * steps] == rates[128 * steps - 1] == pytest.approx(0.05)
    assert rates[128 * steps] == rates[-1] == pytest.approx(0.005)


def test_the_cosine_falls_to_zero_after_the_warm_up():
    settings = Phase1Config(schedule="cosine", epochs=20, warmup_epochs=2)
    rates = [learning_rate(settings, s, 10) for s in range(200)]
    assert rates[20] == pytest.approx(0.5)
    assert rates[110] == pytest.approx(0.25)
    assert 0 < rates[-1] < 0.01
    assert rates[20:] == sorted(rates[20:], reverse=True)


@pytest.mark.parametrize("views", [2, 3])
def test_the_loss_is_the_sum_of_its_terms(views):
    """Eq. 2 by hand: which views serve which loss, in one batch."""
    loop = Phase1(config(views=views, lambda_ce=0.7, lambda_sc=0.3), tiny.long_tailed(), "cpu")
    index = torch.arange(0, 69, 5)
    labels = loop.labels[index]
    batch = loop.views(index, 0)
    assert batch.shape == (views, len(index), 1, 8, 8)
    loop.model.train()
    loss, (ce, sc), logits = loop.loss(batch, labels, 0)

    loop.model.train()  # batch norm in training mode normalises by this batch, whatever came before
    features = loop.model.backbone(batch.flatten(0, 1)).unflatten(0, (views, -1))
    regular = features[:1] if views == 3 else features
    contrasted = features[-2:]
    expected_ce = torch.stack([F.cross_entropy(loop.model.classifier(f), labels) for f in regular])
    z = F.normalize(loop.model.projector(contrasted.flatten(0, 1)), dim=1)
    expected_sc = losses.supervised_contrastive(z, torch.cat([labels, labels]), 0.1)
    assert ce.item() == pytest.approx(expected_ce.mean().item(), rel=1e-5)
    assert sc.item() == pytest.approx(expected_sc.item(), rel=1e-5)
    assert loss.item() == pytest.approx(0.7 * ce.item() + 0.3 * sc.item(), rel=1e-5)
    assert torch.allclose(logits, loop.model.classifier(features[0]), atol=1e-5)


def test_deferred_reweighting_begins_at_80_percent():
    data = tiny.long_tailed()
    plain = Phase1(config(epochs=10), data, "cpu")
    loop = Phase1(config(epochs=10, reweighting="drw"), data, "cpu")
    labels = loop.labels[::5]
    batch = loop.views(torch.arange(0, 69, 5), 0)
    before, after, expected = (
        (loop.loss(batch, labels, 7)[1][0]),
        (loop.loss(batch, labels, 8)[1][0]),
        (plain.loss(batch, labels, 8)[1][0]),
    )
    assert before.item() == pytest.approx(expected.item())
    assert after.item() != pytest.approx(expected.item(), rel=1e-3)


def test_an_epoch_sees_every_image_once_in_batches_of_nearly_one_size():
    loop = Phase1(config(batch_size=32), tiny.long_tailed(), "cpu")
    assert sorted(torch.cat(list(loop.order)).tolist()) == list(range(69))
    assert {len(b) for b in loop.order} == {23}


@pytest.mark.parametrize("count", [2, 3])
def test_views_are_drawn_for_each_seed_epoch_image_and_view(count):
    data = tiny.long_tailed(side=16, channels=3)
    loop = Phase1(config(views=count, seed=5), data, "cpu")
    index = torch.tensor([3, 40, 68])
    made = {epoch: loop.views(index, epoch) for epoch in (0, 1)}
    for epoch, views in made.items():
        for number, recipe in enumerate(loop.objective.recipes):
            expected = make_views(
                data.images[index], recipe, seed=5, epoch=epoch, index=index, view=number,
                mean=data.mean, std=data.std,
            )  # fmt: skip
            assert torch.equal(views[number], expected)
    other = Phase1(config(views=count, seed=6), data, "cpu").views(index, 0)
    for number in range(count):
        assert not torch.equal(made[0][number], made[1][number])
        assert not torch.equal(made[0][number], other[number])
    assert not torch.equal(made[0][-1], made[0][-2])


def test_the_seed_decides_the_initial_weights():
    data = tiny.long_tailed()
    one, same, other = (
        checkpoint.state(Phase1(config(seed=seed), data, "cpu")) for seed in (3, 3, 4)
    )
    drawn = [name for name, tensor in one.items() if "weight" in name and tensor.dim() > 1]
    assert len(drawn) > 5
    for name in drawn:
        assert torch.equal(one[name], same[name])
        assert not torch.equal(one[name], other[name]), name


def test_every_epoch_has_an_order_of_its_own_which_the_seed_decides():
    def orders(seed):
        loop, found = Phase1(config(seed=seed), tiny.long_tailed(), "cpu"), []
        for step in loop:
            if not step.ends_epoch:  # after the last step of an epoch the next one's are there
                found.append((step.epoch, torch.cat(loop.order).tolist()))
        return found

    first = orders(0)
    assert first == orders(0)
    assert len({tuple(order) for _, order in first}) == 3  # epochs, of three steps each
    assert not {tuple(order) for _, order in first} & {tuple(order) for _, order in orders(1)}


def test_history_has_the_means_over_images_whatever_the_sizes_of_the_batches():
    loop = Phase1(config(epochs=2, batch_size=40), tiny.long_tailed(), "cpu")  # 35 and 34
    taken, loss = [], loop.loss

    def noted(views, labels, epoch):
        terms = loss(views, labels, epoch)
        taken.append((torch.stack([terms.loss, *terms.terms]).detach(), labels, terms.logits))
        return terms

    loop.loss = noted
    list(loop)
    for epoch in range(2):
        steps = taken[2 * epoch : 2 * epoch + 2]
        assert [len(labels) for _, labels, _ in steps] == [35, 34]
        mean = sum(measured * len(labels) for measured, labels, _ in steps) / 69
        right = torch.cat([logits.argmax(1) == labels for _, labels, logits in steps]).double()
        labels = torch.cat([labels for _, labels, _ in steps])
        recall = [right[labels == c].mean().item() for c in range(3)]
        row = {name: column[epoch] for name, column in loop.history["epochs"].items()}
        assert [row[n] for n in ("loss", "ce", "sc")] == pytest.approx(mean.tolist(), rel=1e-5)
        assert row["train_top1"] == pytest.approx(right.mean().item())
        assert row["train_acsa"] == pytest.approx(sum(recall) / 3)


def test_it_learns_and_history_says_so():
    loop = Phase1(config(epochs=12), tiny.long_tailed(), "cpu")
    steps = list(loop)
    assert len(steps) == 12 * 3
    assert [s.epoch for s in steps if s.ends_epoch] == list(range(12))
    table = loop.history["epochs"]
    assert {len(column) for column in table.values()} == {12}
    assert table["loss"][-1] < table["loss"][0]
    assert table["train_acsa"][-1] > 0.9
    for loss, ce, sc in zip(table["loss"], table["ce"], table["sc"], strict=True):
        assert loss == pytest.approx(ce + 0.1 * sc, rel=1e-4)


def test_same_seed_same_bytes_and_the_global_generator_is_left_alone():
    weights = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.random.get_rng_state()
        loop = Phase1(config(epochs=1), tiny.long_tailed(), "cpu")
        list(loop)
        assert torch.equal(before, torch.random.get_rng_state())
        weights.append(torch.cat([p.flatten() for p in loop.model.parameters()]))
    assert torch.equal(*weights)
    other = Phase1(config(epochs=1, seed=1), tiny.long_tailed(), "cpu")
    list(other)
    assert not torch.equal(weights[0], torch.cat([p.flatten() for p in other.model.parameters()]))


def test_a_resumed_loop_ends_with_the_same_bytes():
    whole = Phase1(config(), tiny.long_tailed(), "cpu")
    list(whole)
    first = Phase1(config(), tiny.long_tailed(), "cpu")
    for step in first:
        if step.ends_epoch:
            break
    second = Phase1(config(), tiny.long_tailed(), "cpu")
    checkpoint.restore(second, checkpoint.state(first), first.history)
    list(second)
    for name, tensor in checkpoint.state(whole).items():
        assert torch.equal(tensor, checkpoint.state(second)[name]), name
    assert whole.history == second.history


def test_nan_stops_the_loop_and_names_the_term():
    loop = Phase1(config(lr=100, warmup_epochs=0, epochs=40), tiny.long_tailed(), "cpu")
    with torch.no_grad():
        loop.model.classifier[2].bias.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"phase 1, epoch 1, step 0: model.classifier.2.bias"):
        list(Guarded(loop))


def test_batches_of_two_images_and_classes_of_one():
    loop = Phase1(config(batch_size=2, epochs=1), tiny.long_tailed((3, 1)), "cpu")
    assert len(list(loop)) == 2
    assert math.isfinite(loop.history["epochs"]["loss"][0])


def test_views_made_for_several_steps_at_once_give_the_same_bytes():
    one, ahead = (Phase1(config(epochs=2), tiny.long_tailed(), "cpu") for _ in range(2))
    ViewsAhead(ahead).ahead = 2  # of three steps in an epoch, so that the last is made alone
    list(one), list(ahead)
    for name, tensor in checkpoint.state(one).items():
        assert torch.equal(tensor, checkpoint.state(ahead)[name]), name


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler")
def test_a_compiled_backbone_learns_the_same_and_its_state_fits_a_plain_one():
    data = tiny.long_tailed()
    plain = Phase1(config(epochs=1), data, "cpu")
    compiled = Phase1(config(epochs=1, torch_compile=True), data, "cpu")
    for _ in zip(plain, compiled, strict=True):
        pass
    for name, tensor in checkpoint.state(plain).items():
        torch.testing.assert_close(checkpoint.state(compiled)[name], tensor, rtol=1e-3, atol=1e-4)
    other = Phase1(config(epochs=1), data, "cpu")
    checkpoint.restore(other, checkpoint.state(compiled), compiled.history)
    assert other.step == compiled.step == plain.step > 1


def test_nothing_to_compile_with(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler .*install g\+\+"):
        Phase1(config(torch_compile=True), tiny.long_tailed(), "cpu")
