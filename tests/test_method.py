"""The page that has the whole method, against the package: the same bytes."""

import pytest
import torch

from facog_lab import datasets, dictionary, method, presets
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import Phase2

STEPS = 100  # of phase 2


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums are split by threads, and last digits follow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[2, 3], ids=["2 views", "3 views"])
def both(request):
    """Settings, the package's phase 1 and dictionary, and those of the page."""
    few = {"epochs": 6, "warmup_epochs": 2, "views": request.param}  # of each learning rate some
    settings = presets.experiment(data={"dataset": "digits"}, phase1=few)
    data = datasets.load(settings.data)
    loop = Phase1(settings.phase1, data, "cpu")
    for _ in loop:
        pass
    model = method.phase1(settings.phase1, data)
    return settings, loop, dictionary.extract(loop, settings.dictionary), model, data


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_phase1_ends_with_the_same_weights(both):
    _, loop, _, model, _ = both
    same(model.state_dict(), loop.model.state_dict())


def test_the_dictionary_has_the_same_features(both):
    _, _, made, model, data = both
    features, labels = method.dictionary(model, data)
    same({"f": features, "labels": labels}, {"f": made.features, "labels": made.labels})


@pytest.mark.parametrize("n_s", [5, 20])  # 20: more than the rarest classes have
def test_phase2_ends_with_the_same_classifier(both, n_s):
    settings, loop, made, model, data = both
    config = settings.phase2.replace(n_s=n_s)
    assert data.class_counts.min() < 20
    phase2 = Phase2(config, made, loop.model, "cpu")
    for _ in range(STEPS):
        next(phase2)
    classifier = method.phase2(config, model, *method.dictionary(model, data), STEPS)
    same(classifier.state_dict(), phase2.classifier.state_dict())
    assert not torch.equal(classifier[-1].weight, model.classifier[-1].weight)  # it has learned
