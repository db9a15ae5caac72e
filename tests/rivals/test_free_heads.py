import gc
import math
import time

import golden
import pytest
import tiny
import torch
import torch.nn.functional as F
from sklearn.covariance import oas
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

from facog_lab.config import ConfigError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.rivals import choosing, closed_forms, free_heads
from facog_lab.rivals.head_loop import cosine_layer
from facog_lab.rivals.heads import free_heads as free_heads_by_name
from facog_lab.rivals.heads import head_config, train_head
from facog_lab.runs import feature_files

COUNTS = (40, 20, 9, 3, 2)


@pytest.fixture(scope="module")
def given():
    dictionary = tiny.dictionary(COUNTS, width=6)
    return dictionary, tiny.model(dictionary).classifier


def rebuilt(of, change=lambda x: x, labels=None, copies=1):
    """The dictionary with its features changed, its classes renumbered, every row repeated."""
    labels = of.labels if labels is None else labels
    return FeatureDictionary.build(
        change(of.features).repeat(copies, 1),
        labels.repeat(copies),
        of.image_index.repeat(copies),
        of.class_names,
        change(of.test_features),
        of.test_labels,
    )


def covariance_by_loops(dictionary):
    classes, width = dictionary.num_classes, dictionary.feature_dim
    means = [[0.0] * width for _ in range(classes)]
    for feature, label in zip(
        dictionary.features.tolist(), dictionary.labels.tolist(), strict=True
    ):
        for d in range(width):
            means[label][d] += feature[d] / COUNTS[label]
    total = [[0.0] * width for _ in range(width)]
    for feature, label in zip(
        dictionary.features.tolist(), dictionary.labels.tolist(), strict=True
    ):
        for a in range(width):
            for b in range(width):
                apart = (feature[a] - means[label][a]) * (feature[b] - means[label][b])
                total[a][b] += apart / (sum(COUNTS) - classes)
    return torch.tensor(means).double(), torch.tensor(total).double()


def test_moments_by_loops(given):
    dictionary, _ = given
    of = closed_forms.moments(dictionary)
    means, covariance = covariance_by_loops(dictionary)
    torch.testing.assert_close(of.means, means, rtol=1e-5, atol=1e-6)
    ours = of.directions * of.variances @ of.directions.T
    torch.testing.assert_close(ours, covariance, rtol=1e-5, atol=1e-6)


def test_moments_do_not_depend_on_the_size_of_a_part(given, monkeypatch):
    dictionary, _ = given
    whole = closed_forms.moments(dictionary)
    monkeypatch.setattr(closed_forms, "ROWS_AT_ONCE", 7)
    parts = closed_forms.moments(rebuilt(dictionary))
    assert parts is not whole
    torch.testing.assert_close(parts.means, whole.means)
    torch.testing.assert_close(parts.variances, whole.variances)


def test_moments_are_computed_once_for_as_long_as_a_dictionary_is_in_use(given):
    dictionary = rebuilt(given[0])
    first = closed_forms.moments(dictionary)
    assert closed_forms.moments(dictionary.to(dictionary.labels.device)) is first
    assert closed_forms.moments(rebuilt(dictionary)) is not first
    before = len(closed_forms._KNOWN)
    del dictionary
    gc.collect()
    assert len(closed_forms._KNOWN) < before


def test_all_free_heads_together_cost_less_than_two_seconds():
    """Of one core's time, on 10,847 features of 512 dimensions and 100 classes; about 0.9 s."""
    given = feature_files.read(feature_files.FOLDER, "cifar100_lt_100_seed0")
    assert given.features.features.shape == (10847, 512)
    began = time.process_time()
    for name in free_heads_by_name():
        train_head(head_config(name), given.features, given.model, "cpu")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.7, 1.0])
def test_lda_against_scikit_learn(given, shrinkage):
    """Theirs divides the scatter by N, and has the classes' sizes in its logits."""
    dictionary, _ = given
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    theirs.fit(dictionary.features.double().numpy(), dictionary.labels.numpy())
    scores = torch.from_numpy(theirs.decision_function(dictionary.test_features.double().numpy()))
    scores = (scores - torch.from_numpy(theirs.priors_).log()) * (1 - len(COUNTS) / sum(COUNTS))
    ours = closed_forms.lda(closed_forms.moments(dictionary), shrinkage)(
        dictionary.test_features
    ).double()
    torch.testing.assert_close(centred(ours), centred(scores), rtol=1e-3, atol=1e-3)


def test_lda_by_its_definition(given):
    dictionary, _ = given
    means, covariance = covariance_by_loops(dictionary)
    logits = closed_forms.lda(closed_forms.moments(dictionary))(dictionary.test_features)
    apart = dictionary.test_features.double()[:, None] - means  # (M, C, D)
    expected = -0.5 * torch.einsum("mcd,de,mce->mc", apart, covariance.inverse(), apart)
    torch.testing.assert_close(centred(logits.double()), centred(expected), rtol=1e-3, atol=1e-3)


def test_the_oracle_approximating_rule_against_scikit_learn(given):
    dictionary, _ = given
    of = closed_forms.moments(dictionary)
    apart = dictionary.features.double() - of.means[dictionary.labels]
    # Theirs has N in the covariance and in the rule; only the covariance's scale differs.
    _, expected = oas(apart.numpy(), assume_centered=True)
    assert closed_forms.oas_shrinkage(of._replace(freedom=sum(COUNTS))) == pytest.approx(
        expected, rel=1e-6
    )


def centred(logits):
    return logits - logits.mean(1, keepdim=True)


HEADS = {
    "lda": lambda d: closed_forms.lda(closed_forms.moments(d)),
    "lda 0.3": lambda d: closed_forms.lda(closed_forms.moments(d), 0.3),
    "mean": lambda d: free_heads.nearest_mean(closed_forms.moments(d).means),
    "cosine": lambda d: free_heads.NearestCosine(closed_forms.moments(d).means),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_rotation_changes_nothing(given, name):
    dictionary, _ = given
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    turned = rebuilt(dictionary, lambda x: x @ rotation)
    before = HEADS[name](dictionary)(dictionary.test_features)
    after = HEADS[name](turned)(turned.test_features)
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-3)


def test_any_change_of_coordinates_leaves_lda_as_it_was(given):
    dictionary, _ = given
    stretch = torch.diag(torch.tensor([10.0, 0.1, 1, 3, 0.5, 2]))
    changed = rebuilt(dictionary, lambda x: x @ stretch + 5)
    before = closed_forms.lda(closed_forms.moments(dictionary))(dictionary.test_features)
    after = closed_forms.lda(closed_forms.moments(changed))(changed.test_features)
    torch.testing.assert_close(centred(before), centred(after), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", HEADS)
def test_classes_in_another_order(given, name):
    dictionary, _ = given
    order = torch.tensor([3, 0, 4, 1, 2])
    renumbered = rebuilt(dictionary, labels=order[dictionary.labels])
    before = HEADS[name](dictionary)(dictionary.test_features)
    after = HEADS[name](renumbered)(dictionary.test_features)
    torch.testing.assert_close(before, after[:, order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", HEADS)
def test_views_that_are_copies_change_nothing_but_the_degrees_of_freedom(given, name):
    dictionary, _ = given
    before = HEADS[name](dictionary)(dictionary.test_features).argmax(1)
    after = HEADS[name](rebuilt(dictionary, copies=3))(dictionary.test_features).argmax(1)
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("counts", "width"), [((1, 1, 1), 4), ((1, 1), 9), ((30, 1), 3), ((3, 2), 40)]
)
@pytest.mark.parametrize("name", HEADS)
def test_classes_of_one_image_and_more_dimensions_than_images(counts, width, name):
    dictionary = tiny.dictionary(counts, width=width)
    logits = HEADS[name](dictionary)(dictionary.test_features)
    assert logits.isfinite().all()
    if name == "mean":
        far = torch.cdist(dictionary.test_features, closed_forms.moments(dictionary).means.float())
        assert torch.equal(logits.argmax(1), far.argmin(1))


@pytest.mark.parametrize("name", HEADS)
def test_constant_features(name):
    dictionary = rebuilt(tiny.dictionary((6, 3), width=4), lambda x: torch.ones_like(x))
    assert HEADS[name](dictionary)(dictionary.test_features).isfinite().all()


def test_directions_without_features_are_left_out():
    """12 dimensions embedded in 40, then rounded to half precision as dictionaries are kept."""
    narrow = tiny.dictionary((60, 50, 40, 5), width=12)
    embedding = torch.randn(12, 40, generator=torch.Generator().manual_seed(2))
    wide = rebuilt(narrow, lambda x: (x @ embedding).half())
    assert wide.features.dtype == torch.float16
    of = closed_forms.moments(wide)
    assert len(of.variances) == 12
    before = closed_forms.lda(closed_forms.moments(narrow))(narrow.test_features)
    after = closed_forms.lda(of)(wide.test_features.float())
    torch.testing.assert_close(centred(before), centred(after), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("case", golden.cases("posthoc_logit_adjustment"))
def test_logit_adjustment_against_the_original(case):
    counts = torch.tensor(case["inputs"]["class_counts"])
    head = closed_forms.logit_adjusted(nn.Identity(), counts, case["settings"]["tau"])
    logits = head(golden.tensor(case["inputs"]["logits"]))
    golden.assert_fits(case, {"adjusted_logits": logits, "predictions": logits.argmax(1)})


@pytest.mark.parametrize("case", golden.cases("tau_norm", "tau_norm"))
def test_tau_norm_against_the_original(case):
    given = {name: golden.tensor(values) for name, values in case["inputs"].items()}
    layer = nn.Linear(given["weight"].shape[1], len(given["weight"])).double()
    with torch.no_grad():
        layer.weight.copy_(given["weight"])
        layer.bias.copy_(given["bias"])
    made = choosing.tau_normalised(nn.Sequential(layer), case["settings"]["tau"])
    logits = made(given["features"])
    found = {"weight": made[0].weight, "logits": logits, "predictions": logits.argmax(1)}
    golden.assert_fits(case, found)


def test_logit_adjustment_makes_bayes_rule_even():
    """Logits log p(x|c) + log π_c + anything of x become log p(x|c) + anything of x."""
    counts = torch.tensor([90, 9, 1])
    evidence = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    logits = evidence + (counts / 100).log() + torch.arange(8.0)[:, None]
    adjusted = closed_forms.logit_adjusted(nn.Identity(), counts)(logits)
    torch.testing.assert_close(adjusted.softmax(1), evidence.softmax(1))
    as_found = closed_forms.logit_adjusted(nn.Identity(), counts, 0.0)(logits)
    assert torch.equal(as_found, logits)


def test_equal_classes_need_no_adjustment(given):
    dictionary, classifier = given
    head = closed_forms.logit_adjusted(classifier, torch.full((5,), 7))
    torch.testing.assert_close(
        centred(head(dictionary.test_features)), centred(classifier(dictionary.test_features))
    )


def test_the_heads_leave_phase_1_alone(given):
    dictionary, classifier = given
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    closed_forms.logit_adjusted(classifier, dictionary.class_counts)
    choosing.tau_normalised(classifier, 0.7)
    assert all(torch.equal(before[k], v) for k, v in classifier.state_dict().items())


def test_tau_norm_with_weights_of_no_length_and_with_a_cosine_layer(given):
    dictionary, _ = given
    layer = nn.Linear(6, 5)
    with torch.no_grad():
        layer.weight[2] = 0
    made = choosing.tau_normalised(nn.Sequential(layer), 1.0)
    assert made(dictionary.test_features).isfinite().all()
    with pytest.raises(ConfigError, match=r"CosineLinear.*τ-norm"):
        choosing.tau_normalised(nn.Sequential(cosine_layer(dictionary, 30, 0)), 1.0)


def test_mixed_by_loops_and_blind_to_a_shift_of_its_parts(given):
    dictionary, classifier = given
    lda = closed_forms.lda(closed_forms.moments(dictionary))
    mixed = closed_forms.Mixed([classifier, lda], [1.0, 0.3])(dictionary.test_features)
    first, second = classifier(dictionary.test_features), lda(dictionary.test_features)
    for i in range(5):
        for c in range(5):
            one = first[i, c] - math.log(sum(math.exp(v) for v in first[i].tolist()))
            two = second[i, c] - math.log(sum(math.exp(v) for v in second[i].tolist()))
            assert mixed[i, c].item() == pytest.approx((one + 0.3 * two).item(), rel=1e-4, abs=1e-5)
    shifted = closed_forms.Mixed(
        [closed_forms.Adjusted(classifier, torch.tensor(9.0)), lda], [1.0, 0.3]
    )
    torch.testing.assert_close(shifted(dictionary.test_features), mixed)


def test_the_cosine_head_sees_no_length(given):
    dictionary, _ = given
    head = free_heads.NearestCosine(closed_forms.moments(dictionary).means)
    torch.testing.assert_close(head(dictionary.test_features), head(7 * dictionary.test_features))
    best = F.cosine_similarity(
        dictionary.test_features[:, None], closed_forms.moments(dictionary).means.float(), dim=2
    )
    assert torch.equal(head(dictionary.test_features).argmax(1), best.argmax(1))
