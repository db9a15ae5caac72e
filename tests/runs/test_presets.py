import pytest

from facog_lab import registry
from facog_lab.config import ConfigError
from facog_lab.runs.presets import PRESETS, experiment

NONE = {("cpu", "imagenet_lt")}


@pytest.mark.parametrize(
    ("preset", "family"), sorted({(p, f) for p in PRESETS for f in registry.datasets} - NONE)
)
def test_every_preset_makes_valid_settings(preset, family):
    name = "folder:somewhere" if family == "folder" else family
    made = experiment(preset, data={"dataset": name}, seed=3)
    assert made.phase1.seed == made.phase2.seed == made.dictionary.seed == 3


@pytest.mark.parametrize(
    ("dataset", "epochs"),
    [("cifar10", (160, 40)), ("cifar100", (160, 40)), ("mnist", (80, 20)),
     ("fashion_mnist", (80, 20)), ("imagenet_lt", (90, 10)), ("folder:x", (80, 20))],
)  # fmt: skip
def test_the_papers_settings(dataset, epochs):
    """§4.2, with the points that the paper leaves open as settled."""
    made = experiment("paper", data={"dataset": dataset})
    first, second = made.phase1, made.phase2
    assert (first.epochs, second.epochs) == epochs
    assert (first.lr, first.batch_size, first.momentum, first.weight_decay) == (0.5, 256, 0.9, 1e-4)
    assert (first.lambda_ce, first.lambda_sc, first.temperature) == (1.0, 0.1, 0.1)
    assert (first.views, first.warmup_epochs) == (3, 5)
    assert (second.n_s, second.batch_size, second.lr_generator) == (5, 128, 0.005)
    assert (second.lambda_adv, second.lambda_asc, second.temperature) == (1.0, 0.1, 0.1)
    assert second.lr_discriminator == second.lr_classifier == 0.005
    assert (second.label_selection, second.classifier_batches) == ("gamo", "mixed")
    wide = dataset == "imagenet_lt"
    assert first.architecture == ("resnext50" if wide else "resnet32")
    assert first.embedding_dim == (None if wide else 512)
    assert first.projection_dim == (1024 if wide else 128)


def test_auto_is_small_where_a_laptop_must_do():
    assert experiment(data={"dataset": "digits"}).phase1.architecture == "small"
    assert experiment(data={"dataset": "cifar100"}).phase1.architecture == "resnet32"


def test_own_settings_win_over_the_preset():
    made = experiment("cpu", data={"dataset": "mnist"}, phase1={"epochs": 1}, phase2={"seed": 9})
    assert (made.phase1.epochs, made.phase2.seed, made.phase1.seed) == (1, 9, 0)


def test_a_ratio_asks_for_the_profile_that_has_one():
    assert experiment(data={"dataset": "mnist"}).data.profile == "gamo"
    asked = {"dataset": "mnist", "imbalance_ratio": 50}
    assert experiment(data=asked).data.profile == "exponential"
    with pytest.raises(ConfigError, match="imbalance_ratio = 50: profile = 'gamo'"):
        experiment(data=asked | {"profile": "gamo"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("papr",), "no preset named 'papr'. Did you mean 'paper'"),
        (("cpu", {"dataset": "imagenet_lt"}), "set preset to 'paper'"),
        (("cpu", {"dataset": "fashion_mist"}), "Did you mean 'fashion_mnist'"),
    ],
)
def test_errors(arguments, message):
    preset, *data = arguments
    with pytest.raises(ConfigError, match=message):
        experiment(preset, data=data[0] if data else None)
