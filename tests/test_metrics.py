import math

import pytest
import torch

from facog_lab import metrics


def example(seed=0, classes=10, n=500):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (n,), generator=rng)])
    noise = torch.rand(len(labels), generator=rng) < 0.3
    wrong = torch.randint(classes, labels.shape, generator=rng)
    return torch.where(noise, wrong, labels), labels


@pytest.mark.parametrize("seed", range(3))
def test_against_imbalanced_learn_and_scikit_learn(seed):
    theirs = pytest.importorskip("imblearn.metrics")
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

    predictions, labels = example(seed)
    ours = metrics.evaluate(predictions, labels, torch.full((10,), 50))
    assert ours.gm == pytest.approx(theirs.geometric_mean_score(labels, predictions))
    assert ours.acsa == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert ours.top1 == pytest.approx(accuracy_score(labels, predictions))
    assert ours.per_class == pytest.approx(recall_score(labels, predictions, average=None))


def test_one_class_at_zero_makes_gm_zero():
    labels = torch.tensor([0, 1, 2])
    scores = metrics.evaluate(torch.tensor([0, 1, 1]), labels, torch.tensor([5, 4, 3]))
    assert scores.gm == 0
    assert scores.acsa == pytest.approx(2 / 3)


def test_many_medium_few_borders():
    counts = torch.tensor([101, 100, 20, 19])
    labels = torch.arange(4).repeat(2)
    predictions = labels.clone()
    predictions[3] = 0  # one of the two images of the class with 19
    scores = metrics.evaluate(predictions, labels, counts)
    assert (scores.many, scores.medium, scores.few) == (1.0, 1.0, 0.5)
    no_few = metrics.evaluate(labels[:3], labels[:3], counts[:3])
    assert no_few.few is None


def test_tail_is_the_rarest_fifth_whatever_the_order():
    counts = torch.tensor([5, 100, 1, 50, 30, 7, 8, 9, 10, 11])
    assert set(metrics.rarest_classes(counts).tolist()) == {0, 2}
    assert metrics.rarest_classes(torch.tensor([3, 3])).tolist() == [1]


def test_a_class_without_test_images_is_an_error():
    with pytest.raises(ValueError, match=r"without an image: \[1\]"):
        metrics.evaluate(torch.tensor([0]), torch.tensor([0]), torch.tensor([5, 5]))


def test_entropy_of_weights():
    assert metrics.weight_entropy(torch.tensor([[1.0, 0.0, 0.0]])).item() == 0
    uniform = metrics.weight_entropy(torch.full((2, 5), 0.2))
    assert uniform.item() == pytest.approx(math.log(5), rel=1e-6)
    rng = torch.Generator().manual_seed(0)
    draws = torch.empty(200_000, 5).exponential_(generator=rng)
    measured = metrics.weight_entropy(draws / draws.sum(1, keepdim=True)).item()
    assert metrics.dirichlet_entropy(5) == pytest.approx(measured, abs=2e-3)
    assert metrics.dirichlet_entropy(1) == 0
