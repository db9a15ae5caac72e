import math

import pytest
import tiny
import torch
import torch.nn.functional as F
from test_free_heads import rebuilt

from facog_lab.config import ConfigError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.rivals import choosing, closed_forms, lent_spread, shrunken_means
from facog_lab.rivals import second_opinion as second
from facog_lab.settings import Controls

COUNTS = (40, 20, 9, 3, 2)


@pytest.fixture(scope="module")
def given():
    dictionary = tiny.dictionary(COUNTS, width=6)
    return dictionary, tiny.model(dictionary).classifier


def without(dictionary, row):
    keep = torch.arange(len(dictionary.labels)) != row
    return FeatureDictionary.build(
        dictionary.features[keep],
        dictionary.labels[keep],
        dictionary.image_index[keep],
        dictionary.class_names,
        dictionary.test_features,
        dictionary.test_labels,
    )


def test_leaving_out_by_making_lda_anew_for_every_image(given):
    dictionary, _ = given
    ours = second.left_out_logits(dictionary, closed_forms.moments(dictionary), 0.0)
    for row in range(len(dictionary.labels)):
        anew = closed_forms.lda(closed_forms.moments(without(dictionary, row)))(
            dictionary.features[row]
        ).double()
        expected = anew - anew.mean()
        torch.testing.assert_close(ours[row] - ours[row].mean(), expected, rtol=1e-3, atol=1e-3)


def test_leaving_out_with_shrinkage_is_near_to_making_it_anew():
    """The variance that is shrunk to is kept, so this is not exact: the more images, the nearer."""
    dictionary = tiny.dictionary((80, 60, 40), width=5, seed=4)
    of = closed_forms.moments(dictionary)
    ours = second.left_out_logits(dictionary, of, 0.3)
    for row in range(0, 180, 17):
        anew = closed_forms.lda(closed_forms.moments(without(dictionary, row)), 0.3)(
            dictionary.features[row]
        )
        expected = (anew - anew.mean()).double()
        torch.testing.assert_close(ours[row] - ours[row].mean(), expected, rtol=0.02, atol=0.02)


def test_a_class_of_one_image_cannot_be_left_out_and_is_not_counted():
    dictionary = tiny.dictionary((12, 8, 1), width=4)
    logits = second.left_out_logits(dictionary, closed_forms.moments(dictionary), 0.0)
    assert logits[-1, 2] == -torch.inf
    weight, nats = second.weight_of(logits, dictionary.labels, dictionary.class_counts)
    assert math.isfinite(weight)
    assert math.isfinite(nats)


def test_the_weight_is_the_best_of_a_fine_grid(given):
    dictionary, _ = given
    logits = second.left_out_logits(dictionary, closed_forms.moments(dictionary), 0.0)
    counts, labels = dictionary.class_counts, dictionary.labels
    weight, nats = second.weight_of(logits, labels, counts)

    def by_loops(a):
        """Classes of 3 and 2 images are pooled: five images that count as two classes."""
        total = [0.0, 0.0, 0.0, 0.0]
        for row, label in enumerate(labels.tolist()):
            chances = (a * (logits[row] - logits[row].max())).exp()
            total[min(label, 3)] += math.log(chances[label] / chances.sum())
        return (total[0] / 40 + total[1] / 20 + total[2] / 9 + total[3] * 2 / 5) / 5

    grid = [i / 100 for i in range(1, 200)]
    best = max(grid, key=by_loops)
    assert abs(weight - best) <= 0.01
    assert nats == pytest.approx(by_loops(weight), rel=1e-5)


def test_logits_that_are_sure_for_no_reason_get_no_weight_and_right_ones_much():
    labels = torch.arange(4).repeat(30)
    counts = torch.full((4,), 30)
    right = 10.0 * F.one_hot(labels, 4)
    assert second.weight_of(right, labels, counts)[0] > 20
    wrong = 10.0 * F.one_hot((labels + 1) % 4, 4)
    assert second.weight_of(wrong, labels, counts)[0] < 1e-3


def test_true_posteriors_get_the_weight_one():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(4000)
    x = torch.randn(12000, generator=rng) + labels
    logits = -((x[:, None] - torch.arange(3)) ** 2) / 2
    counts = torch.full((3,), 4000)
    assert second.weight_of(logits, labels, counts)[0] == pytest.approx(1, abs=0.06)
    assert second.weight_of(5 * logits, labels, counts)[0] == pytest.approx(0.2, abs=0.012)


def test_the_second_opinion_is_its_two_parts(given):
    dictionary, classifier = given
    made = second.second_opinion(dictionary, classifier)
    short = F.normalize(dictionary.features)
    of = closed_forms.moments(rebuilt(dictionary, lambda x: F.normalize(x.float())))
    assert torch.allclose(second.of_length_one(dictionary).features, short)
    prior = (dictionary.class_counts / dictionary.class_counts.sum()).log()
    first = F.log_softmax(classifier(dictionary.test_features) - prior, 1)
    lda = closed_forms.lda(of, made.chosen["shrinkage"])(F.normalize(dictionary.test_features))
    expected = first + made.chosen["weight"] * F.log_softmax(lda, 1)
    torch.testing.assert_close(
        made.classifier(dictionary.test_features), expected, rtol=1e-3, atol=1e-3
    )


def test_the_second_opinion_helps_a_blind_first_one(given):
    dictionary, classifier = given
    head = second.second_opinion(dictionary, classifier).classifier
    right = head(dictionary.test_features).argmax(1) == dictionary.test_labels
    assert right.double().mean() > 0.7  # the classifier is untrained: chance is 0.2


@pytest.mark.parametrize("counts", [(1, 1, 1), (5, 1), (1, 30), (2, 2), (3,)])
@pytest.mark.parametrize("width", [2, 30])
def test_degenerate_dictionaries(counts, width):
    dictionary = tiny.dictionary(counts, width=width)
    classifier = tiny.model(dictionary).classifier
    made = second.second_opinion(dictionary, classifier)
    assert made.classifier(dictionary.test_features).isfinite().all()
    for choice in (choosing.adjusted_by_choice, choosing.tau_norm):
        assert choice(dictionary, classifier).classifier(dictionary.test_features).isfinite().all()


def test_constant_features_and_features_of_length_zero():
    for value in (0.0, 1.0):
        constant = rebuilt(
            tiny.dictionary((6, 3), width=4), lambda x, v=value: torch.full_like(x, v)
        )
        classifier = tiny.model(constant).classifier
        made = second.second_opinion(constant, classifier)
        assert made.classifier(constant.test_features).isfinite().all()


def test_views_are_left_aside_and_halves_are_read():
    dictionary = tiny.dictionary(COUNTS, width=6)
    classifier = tiny.model(dictionary).classifier
    noisy = FeatureDictionary.build(
        torch.cat([dictionary.features, dictionary.features + 9]),
        dictionary.labels.repeat(2),
        dictionary.image_index.repeat(2),
        dictionary.class_names,
        dictionary.test_features,
        dictionary.test_labels,
    )
    before = second.second_opinion(dictionary, classifier)
    assert second.second_opinion(noisy, classifier).chosen == pytest.approx(before.chosen)
    half = second.second_opinion(rebuilt(dictionary, lambda x: x.half()), classifier)
    assert half.chosen["weight"] == pytest.approx(before.chosen["weight"], rel=0.02)


def test_expected_true_means_by_loops_in_one_dimension():
    """Two covariances in one dimension: the closed form of each class, the fixed point of EM."""
    rng = torch.Generator().manual_seed(3)
    counts = (60, 30, 8, 4, 2, 2)
    true = 3 * torch.randn(6, generator=rng)
    labels = torch.arange(6).repeat_interleave(torch.tensor(counts))
    x = (true[labels] + torch.randn(len(labels), generator=rng))[:, None]
    dictionary = FeatureDictionary.build(
        x, labels, torch.arange(len(labels)), tuple("abcdef"), x[:1], labels[:1]
    )
    of = closed_forms.moments(dictionary)
    ours = shrunken_means.true_means(of)
    spread = of.variances.item()
    between = ours.between.item() * spread
    again = 0.0
    for c, n in enumerate(counts):
        seen = (of.means[c] - of.centre).item()
        expected = n * between / (n * between + spread) * seen
        unsure = between * spread / (n * between + spread)
        assert ours.means[c].item() == pytest.approx(of.centre.item() + expected, rel=1e-6)
        again += (expected**2 + unsure) / 6
    assert again == pytest.approx(between, rel=1e-3)


def test_large_classes_keep_their_means_and_rare_ones_come_nearer_the_truth():
    rng = torch.Generator().manual_seed(1)
    classes, width = 60, 20
    truth = torch.randn(classes, width, generator=rng) * torch.linspace(2, 0, width)
    counts = torch.tensor([2000] * 5 + [4] * 55)
    labels = torch.arange(classes).repeat_interleave(counts)
    x = truth[labels] + torch.randn(len(labels), width, generator=rng)
    dictionary = FeatureDictionary.build(
        x, labels, torch.arange(len(labels)), tuple(map(str, range(classes))), x[:1], labels[:1]
    )
    of = closed_forms.moments(dictionary)
    shrunk = shrunken_means.true_means(of).means.float()
    torch.testing.assert_close(shrunk[:5], of.means[:5].float(), atol=0.05, rtol=0.05)
    between = 4 * torch.linspace(2, 0, width) ** 2  # of four images, in units of their variance
    best = of.means.float() * between / (between + 1)  # for whoever knows the spread of the means
    means = (of.means.float(), shrunk, best)
    before, after, least = ((m[5:] - truth[5:]).square().mean() for m in means)
    assert before - after > 0.5 * (before - least) > 0


def test_a_rotation_turns_the_expected_means(given):
    dictionary, _ = given
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    before = shrunken_means.true_means(closed_forms.moments(dictionary)).means.float()
    turned = rebuilt(dictionary, lambda x: x @ rotation)
    after = shrunken_means.true_means(closed_forms.moments(turned)).means.float()
    torch.testing.assert_close(before @ rotation, after, rtol=1e-3, atol=1e-3)


def test_imagined_images_have_the_moments_they_are_drawn_from(given):
    dictionary, _ = given
    of = closed_forms.moments(dictionary)
    known = shrunken_means.true_means(of)
    features, labels = shrunken_means.imagine(known, 4000, torch.Generator().manual_seed(0))
    assert torch.equal(labels.bincount(), torch.full((5,), 4000))
    for label in range(5):
        new = features[labels == label].double()
        covariance = of.directions * of.variances @ of.directions.T
        assert torch.linalg.norm(torch.cov(new.T) - covariance) < 0.1 * covariance.norm()
    # Each class's true mean is drawn once: over many draws, around the expected one.
    drawn = torch.stack(
        [shrunken_means.imagine(known, 1, torch.Generator().manual_seed(s))[0] for s in range(3000)]
    ).double()
    torch.testing.assert_close(drawn.mean(0), known.means, atol=0.15, rtol=0.05)
    rarest = torch.cov(drawn[:, 4].T)
    back = known.back
    expected = covariance + back.T @ torch.diag(known.unsure[4]) @ back
    assert torch.linalg.norm(rarest - expected) < 0.15 * expected.norm()


def test_choosing_takes_the_best_and_of_equals_the_middle_one():
    labels = torch.arange(3).repeat(5)
    on = choosing.unseen(F.one_hot(labels, 3).float(), labels, 3)

    def heads(value):
        return lambda x: x if 0.3 <= value <= 0.7 else -x

    value, scores = choosing.choose(heads, [0.1, 0.3, 0.5, 0.7, 0.9], on)
    assert value == 0.5
    assert list(scores.values()) == pytest.approx([0, 1, 1, 1, 0])


def test_rare_classes_are_pooled_where_a_number_is_chosen():
    """20, 4 and 1 images: one class and a group of two; in the group each image counts alike."""
    labels = torch.tensor([0] * 20 + [1] * 4 + [2])
    shares = closed_forms.shares_of(labels, torch.tensor([20, 4, 1]))
    assert shares.sum().item() == pytest.approx(1)
    assert shares[:20].sum().item() == pytest.approx(1 / 3)
    assert shares[20:].tolist() == pytest.approx([2 / 15] * 5)


def test_without_an_unseen_image_it_says_what_to_do():
    with pytest.raises(ConfigError, match=r"no unseen image.*imagined"):
        choosing.unseen(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2)


def test_the_choice_is_of_the_given_images_and_is_recorded(given):
    dictionary, classifier = given
    first = choosing.adjusted_by_choice(dictionary, classifier, seed=3)
    assert first.chosen == choosing.adjusted_by_choice(dictionary, classifier, seed=3).chosen
    assert first.chosen["on"] == "imagined"
    assert set(map(float, first.chosen["recall"])) == set(choosing.TAUS)
    head_only = choosing.unseen(
        dictionary.features[:40], torch.zeros(40, dtype=torch.int64), dictionary.num_classes
    )
    chosen = choosing.adjusted_by_choice(dictionary, classifier, held_out=head_only).chosen
    assert chosen["on"] == "unseen"
    assert chosen["recall"]["0.0"] == max(chosen["recall"].values())  # for the largest class


def test_lent_spread_has_the_covariance_of_all_classes_around_a_real_feature():
    dictionary = rebuilt(tiny.dictionary((60, 30, 2), width=4), lambda x: x - 50)  # never >= 0
    made = lent_spread.LentSpread(dictionary)
    labels = torch.full((6000,), 2)
    mix = made.generate(labels, Controls(), torch.Generator().manual_seed(0))
    of = closed_forms.moments(dictionary)
    covariance = of.directions * of.variances @ of.directions.T
    h = lent_spread.bandwidths(dictionary.class_counts, 4)[2].item()
    assert h == pytest.approx((4 / (6 * 2)) ** (1 / 8))
    assert torch.linalg.norm(torch.cov(mix.added.double().T) - h**2 * covariance) < 0.1 * h**2 * (
        covariance.norm()
    )
    assert (dictionary.labels[mix.rows[:, 0]] == 2).all()
    torch.testing.assert_close(dictionary.features[mix.rows[:, 0]] + mix.added, mix.features)


def test_lent_spread_keeps_features_that_are_never_negative_so():
    dictionary = rebuilt(tiny.dictionary((60, 30, 2), width=4), F.relu)
    mix = lent_spread.LentSpread(dictionary).generate(
        torch.arange(3).repeat(99), Controls(), torch.Generator().manual_seed(0)
    )
    assert (mix.features >= 0).all()


def test_lent_spread_of_classes_of_one_image_repeats_them():
    dictionary = tiny.dictionary((1, 1), width=4)
    mix = lent_spread.LentSpread(dictionary).generate(
        torch.tensor([0, 1]), Controls(), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(mix.features, dictionary.features)
