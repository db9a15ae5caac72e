import math

import golden
import pytest
import tiny
import torch
import torch.nn.functional as F

from facog_lab.config import ConfigError, TrainingError
from facog_lab.losses import effective_number_weights
from facog_lab.phase2 import score
from facog_lab.rivals import (
    cosine_adjusted,
    gcl,
    head_loop,
    ldmlr,
    los,
    marc,
    mislas,
    weight_balancing,
)
from facog_lab.rivals.heads import head_config
from facog_lab.rivals.refit import fit

COUNTS = (120, 60, 20, 6, 2)
METHODS = {
    "los": los.los,
    "mislas": mislas.mislas,
    "weight_balancing": weight_balancing.weight_balancing,
    "marc": marc.marc,
    "cosine_adjusted": cosine_adjusted.cosine_adjusted,
    "gcl": gcl.gcl,
    "ldmlr": lambda *given, **changes: ldmlr.ldmlr(*given, epochs=20, **changes),
}


@pytest.fixture(scope="module")
def imbalanced():
    """Overlapping classes, and a classifier that was fitted to them as phase 1 does."""
    dictionary = tiny.dictionary(COUNTS, width=6, seed=3)
    model = tiny.model(dictionary)
    fit(head_config("ce", epochs=60, lr=0.05, batch_size=32), model.classifier, dictionary)
    return dictionary, model.classifier


@pytest.mark.parametrize("name", METHODS)
def test_every_head_beats_chance_repeats_itself_and_leaves_phase_1_alone(name, imbalanced):
    dictionary, classifier = imbalanced
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    global_state = torch.random.get_rng_state()
    first, again, other = (METHODS[name](dictionary, classifier, seed=s) for s in (1, 1, 2))
    assert score_of(first, dictionary).acsa > 0.4  # chance is 0.2
    logits = [made.classifier(dictionary.features) for made in (first, again, other)]
    assert logits[0].shape == (208, 5)
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])
    assert not logits[0].requires_grad
    assert all(torch.equal(before[k], v) for k, v in classifier.state_dict().items())
    assert torch.equal(global_state, torch.random.get_rng_state())
    assert all(map(math.isfinite, first.history["epochs"]["loss"]))


RECIPES = {
    "mislas": mislas.MISLAS,
    "marc": marc.MARC,
    "cosine_adjusted": cosine_adjusted.COSINE,
    "gcl": gcl.GCL,
    "ldmlr": ldmlr.RECIPE,
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_tail_gains(name, imbalanced):
    """With small batches: 208 images are a single step of 512."""
    dictionary, classifier = imbalanced
    recipe = RECIPES[name]._replace(batch_size=16)
    before = score(classifier, dictionary).per_class[-2:]
    made = METHODS[name](dictionary, classifier, recipe=recipe)
    assert sum(score_of(made, dictionary).per_class[-2:]) > sum(before)


@pytest.mark.parametrize("name", METHODS)
def test_classes_of_one_image_wide_features_and_equal_sizes(name):
    for counts, width in (((5, 1, 1), 12), ((4, 4), 3)):
        dictionary = tiny.dictionary(counts, width=width)
        classifier = tiny.model(dictionary).classifier
        made = METHODS[name](dictionary, classifier).classifier
        assert made(dictionary.test_features).isfinite().all()


@pytest.mark.parametrize("name", ["mislas", "weight_balancing", "marc", "gcl"])
def test_a_cosine_layer_is_refused_by_name(name, imbalanced):
    dictionary, classifier = imbalanced
    cosine = torch.nn.Sequential(*classifier[:-1], head_loop.cosine_layer(dictionary, 30, 0))
    with pytest.raises(ConfigError, match=r"CosineLinear.*choose another head"):
        METHODS[name](dictionary, cosine)


def score_of(fitted, dictionary):
    return score(fitted.classifier, dictionary)


@pytest.mark.parametrize("case", golden.cases("los"))
def test_los_against_the_original(case):
    logits = golden.tensor(case["inputs"]["logits"]).requires_grad_()
    labels = torch.tensor(case["inputs"]["labels"])
    loss = los.over_smoothed(logits, labels, case["settings"]["label_smooth"])
    (gradient,) = torch.autograd.grad(loss, logits)
    golden.assert_fits(case, {"loss": loss, "grad_logits": gradient})


@pytest.mark.parametrize("case", golden.cases("mislas", "mislas"))
def test_label_aware_smoothing_against_the_original(case):
    given, settings = case["inputs"], case["settings"]
    if settings["shape"] != "concave":
        pytest.skip("MiSLAS uses the concave curve; the others are not offered")
    logits = golden.tensor(given["logits"]).requires_grad_()
    counts, labels = torch.tensor(given["class_counts"]), torch.tensor(given["labels"])
    smoothing = mislas.smoothing_of_classes(
        counts, settings["smooth_head"], settings["smooth_tail"]
    )
    loss = mislas.label_aware_smoothing(logits, labels, smoothing)
    (gradient,) = torch.autograd.grad(loss, logits)
    golden.assert_fits(case, {"loss": loss, "grad_logits": gradient, "smoothing": smoothing})


@pytest.mark.parametrize("case", golden.cases("weight_balancing"))
def test_maxnorm_against_the_original(case):
    given = {name: torch.tensor(values).double() for name, values in case["inputs"].items()}
    threshold = weight_balancing.limit(given["weight_at_start"], case["settings"]["thresh"])
    weight = weight_balancing.project(given["weight"], threshold)
    golden.assert_fits(case, {"threshold": threshold, "weight": weight, "bias": given["bias"]})


@pytest.mark.parametrize("case", golden.cases("cb_focal", "cb_port"))
def test_the_class_balanced_loss_against_the_original(case):
    if case["settings"]["loss_type"] != "softmax":
        pytest.skip("stage 2 of weight balancing uses softmax")
    logits = golden.tensor(case["inputs"]["logits"]).requires_grad_()
    counts = torch.tensor(case["inputs"]["class_counts"])
    weights = effective_number_weights(counts, case["settings"]["beta"])
    labels = torch.tensor(case["inputs"]["labels"])
    loss = weight_balancing.class_balanced(logits, labels, weights)
    (gradient,) = torch.autograd.grad(loss, logits)
    golden.assert_fits(case, {"loss": loss, "grad_logits": gradient})


def test_label_aware_smoothing_by_a_double_loop():
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(7, 4, generator=rng).double(), torch.arange(7) % 4
    counts = torch.tensor([50, 20, 7, 2])
    smoothing = mislas.smoothing_of_classes(counts)
    total = 0.0
    for i in range(7):
        log_p = [
            logits[i, j].item() - math.log(sum(math.exp(v) for v in logits[i].tolist()))
            for j in range(4)
        ]
        n = counts[labels[i]].item()
        epsilon = 0.1 + 0.3 * math.sin((n - 2) / 48 * math.pi / 2)
        for j in range(4):
            target = epsilon / 4 + (1 - epsilon) * (j == int(labels[i]))
            total -= target * log_p[j]
    ours = mislas.label_aware_smoothing(logits, labels, smoothing)
    assert ours.item() == pytest.approx(total / 7, rel=1e-9)


def test_gcl_by_a_double_loop_and_without_noise():
    rng = torch.Generator().manual_seed(0)
    cosines, labels = torch.rand(6, 3, generator=rng).double() * 2 - 1, torch.arange(6) % 3
    noise = (torch.randn(6, 3, generator=rng).double() / 3).clamp(-1, 1)
    counts = torch.tensor([90, 30, 3])
    total = 0.0
    for i in range(6):
        logits = []
        for j in range(3):
            cloud = abs(noise[i, j].item()) * math.log(90 / counts[j].item()) / math.log(30)
            logits.append(20 * (cosines[i, j].item() - 0.5 * cloud - 0.1 * (j == int(labels[i]))))
        p = math.exp(logits[labels[i]]) / sum(map(math.exp, logits))
        total += (1 - p) * -math.log(p)
    ours = gcl.clouded(cosines, labels, counts, noise)
    assert ours.item() == pytest.approx(total / 6, rel=1e-9)
    even = torch.tensor([5, 5, 5])
    still = gcl.clouded(cosines, labels, even, noise)
    assert torch.equal(still, gcl.clouded(cosines, labels, even, 0 * noise))


def test_marc_changes_two_numbers_a_class(imbalanced):
    dictionary, classifier = imbalanced
    made = marc.marc(dictionary, classifier).classifier
    before, after = classifier[-1], made[-1]
    scales = (after.weight * before.weight).sum(1) / before.weight.square().sum(1)
    torch.testing.assert_close(after.weight, scales[:, None] * before.weight)
    assert torch.equal(made[0].weight, classifier[0].weight)


def test_los_trains_the_last_layer_alone_and_weight_balancing_keeps_weights_short(imbalanced):
    dictionary, classifier = imbalanced
    made = los.los(dictionary, classifier).classifier
    assert torch.equal(made[0].weight, classifier[0].weight)
    assert not torch.equal(made[-1].weight, classifier[-1].weight)
    balanced = weight_balancing.weight_balancing(dictionary, classifier).classifier
    longest = weight_balancing.limit(classifier[-1].weight)
    assert balanced[-1].weight.norm(dim=1).max() <= longest * (1 + 1e-6)


def test_a_share_of_the_rate_is_a_share_of_the_step(imbalanced):
    """One step without momentum's past: twice the share, twice the way."""
    dictionary, classifier = imbalanced
    recipe = head_loop.Recipe(1, 208, 0.1, 0.0, "constant", "images")
    ways = []
    for share in (0.25, 0.5):
        made = head_loop.own(classifier, dictionary)
        before = made[-1].weight.detach().clone()

        def loss(logits, labels, step):
            return F.cross_entropy(logits, labels)

        head_loop.train(made, dictionary, loss, recipe, 0, {made[-1].weight: share})
        ways.append(made[-1].weight.detach() - before)
    torch.testing.assert_close(2 * ways[0], ways[1], rtol=1e-3, atol=1e-7)


def test_a_loss_that_is_no_number_names_the_steps(imbalanced):
    dictionary, classifier = imbalanced
    recipe = head_loop.Recipe(3, 64, 1e30, 0.0, "constant", "images")
    made = head_loop.own(classifier, dictionary)

    def loss(logits, labels, step):
        return F.cross_entropy(logits, labels) * logits.sum()

    with pytest.raises(TrainingError, match=r"between steps \d.*lr = 1e\+30.*Lower the learning"):
        head_loop.train(made, dictionary, loss, recipe, 0)


def test_diffused_features_lie_where_their_class_does():
    dictionary = tiny.dictionary((300, 300, 300), width=4, seed=2)
    model = ldmlr.LatentDiffusion(dictionary, epochs=150)
    labels = torch.arange(3).repeat_interleave(200)
    made = model.sample(labels, torch.Generator().manual_seed(0))
    for label in range(3):
        real = dictionary.features[dictionary.labels == label]
        new = made[labels == label]
        assert (real.mean(0) - new.mean(0)).norm() < 0.5 * real.std(0).norm()
        assert 0.4 < new.std(0).norm() / real.std(0).norm() < 1.6


def test_ddim_gives_back_what_the_denoiser_knows():
    """With a denoiser that always says the same feature, that feature is sampled."""
    dictionary = tiny.dictionary((8, 8), width=3)
    model = ldmlr.LatentDiffusion(dictionary, epochs=0)
    known = torch.tensor([1.0, -2.0, 0.5])
    model.denoiser = lambda noisy, step, labels: known.expand(len(labels), 3)
    made = model.sample(torch.zeros(5, dtype=torch.int64), torch.Generator().manual_seed(1))
    torch.testing.assert_close(made, (known * model.scale + model.centre).expand(5, 3))
