"""The page that has the whole method, against the package: the same bytes."""

import pytest
import torch

from facog_lab import method
from facog_lab.data.load import load
from facog_lab.phase1 import Phase1
from facog_lab.phase2 import Phase2
from facog_lab.runs import presets
from facog_lab.runs.extract import extract

pytestmark = pytest.mark.first


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums are split by threads, and last digits follow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[2, 3], ids=["2 views", "3 views"])
def both(request):
    """Settings, data, the package's phase 1 and dictionary, and those of the page."""
    few = {"epochs": 6, "warmup_epochs": 2, "views": request.param}  # of each learning rate some
    settings = presets.experiment(data={"dataset": "digits"}, phase1=few)
    data = load(settings.data)
    loop = Phase1(settings.phase1, data, "cpu")
    for _ in loop:
        pass
    model = method.phase1(settings.phase1, data)
    features = method.dictionary(model, data)
    return settings, data, loop, extract(loop, settings.dictionary), model, features


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_phase1_ends_with_the_same_weights(both):
    _, _, loop, _, model, _ = both
    same(model.state_dict(), loop.model.state_dict())


def test_the_dictionary_has_the_same_features(both):
    _, _, _, made, _, (features, labels) = both
    same({"f": features, "labels": labels}, {"f": made.features, "labels": made.labels})


# 20: more than the rarest classes have
@pytest.mark.parametrize(("n_s", "steps"), [(5, 100), (20, 20)])
def test_phase2_ends_with_the_same_classifier(both, n_s, steps):
    settings, data, loop, made, model, features = both
    config = settings.phase2.replace(n_s=n_s)
    assert data.class_counts.min() < 20
    phase2 = Phase2(config, made, loop.model, "cpu")
    for _ in range(steps):
        next(phase2)
    classifier = method.phase2(config, model, *features, steps)
    same(classifier.state_dict(), phase2.classifier.state_dict())
    assert not torch.equal(classifier[-1].weight, model.classifier[-1].weight)  # it has learned
