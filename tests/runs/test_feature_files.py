import pytest
import torch
from safetensors.torch import load_file, save_file

from facog_lab import phase2, runs
from facog_lab.data.files import DataError
from facog_lab.runs import feature_files, stages
from facog_lab.runs.presets import experiment
from facog_lab.settings import Phase2Config

FACTS = {"dataset": "digits", "imbalance_ratio": "20", "preset": "cpu"}


@pytest.fixture
def given(outputs):
    settings = experiment(phase1={"epochs": 3, "warmup_epochs": 1}, phase2={"epochs": 3})  # digits
    return runs.open(settings, "cpu").source


def test_what_was_written_is_read_again(given, tmp_path):
    written = feature_files.write(given, tmp_path, "digits_small", FACTS)
    assert feature_files.names(tmp_path) == ["digits_small"]
    assert len(written) == len(feature_files.PARTS)
    read = feature_files.read(tmp_path, "digits_small")
    for name in ("labels", "image_index", "class_counts", "test_labels", "starts"):
        assert torch.equal(getattr(read.features, name), getattr(given.features, name))
    assert torch.equal(read.features.features, given.features.features.half().float())
    assert read.features.class_names == given.features.class_names
    assert read.split_hash == given.split_hash
    assert feature_files.read_facts(tmp_path, "digits_small").items() >= FACTS.items()
    for part in ("classifier", "projector"):
        mine, own = getattr(read.model, part).state_dict(), getattr(given.model, part).state_dict()
        assert all(torch.equal(mine[key], own[key]) for key in own)


def test_phase_2_runs_on_it_and_the_key_follows_from_the_files(given, tmp_path):
    feature_files.write(given, tmp_path, "one", FACTS)
    read = feature_files.read(tmp_path, "one")
    config = Phase2Config(epochs=2, seed=1)
    training = stages.phase2_on(read, config, "cpu")
    scores = training.finish().evaluate()
    assert stages.phase2_on(read, config, "cpu").complete
    # float16 features: nearly the scores of the features themselves
    direct = phase2.Phase2(config, given.features, given.model, "cpu")
    for _ in direct:
        pass
    assert scores.acsa == pytest.approx(direct.evaluate().acsa, abs=0.02)

    given.features.features[0, 0] += 1
    feature_files.write(given, tmp_path, "two", FACTS)
    assert feature_files.read(tmp_path, "two").key != read.key


def test_a_missing_dictionary_is_named_with_those_there_are(given, tmp_path):
    feature_files.write(given, tmp_path, "there", FACTS)
    with pytest.raises(DataError, match=r"gone_train.safetensors is missing.*there"):
        feature_files.read(tmp_path, "gone")


FORGED = {
    "no features": ("train", lambda t: t.pop("features")),
    "labels out of range": ("train", lambda t: t["labels"].fill_(10**9)),
    "image numbers out of range": ("train", lambda t: t["images"].fill_(10**9)),
    "too few labels": ("train", lambda t: t.update(labels=t["labels"][1:].clone())),
    "test features of another width": (
        "test",
        lambda t: t.update(features=t["features"][:, 1:].clone()),
    ),
    "no heads": ("heads", lambda t: t.clear()),
    "a head of another shape": (
        "heads",
        lambda t: t.update({"classifier.0.weight": torch.ones(1)}),
    ),
    "a projector without a bias": ("heads", lambda t: t.pop("projector.2.bias")),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_dictionary_is_named(kind, given, tmp_path):
    feature_files.write(given, tmp_path, "one", FACTS)
    part, change = FORGED[kind]
    path = tmp_path / f"one_{part}.safetensors"
    tensors, facts = load_file(path), feature_files.read_facts(tmp_path, "one")
    change(tensors)
    save_file(tensors, path, facts)
    with pytest.raises(DataError, match=r"one_\*: no dictionary with its heads \("):
        feature_files.read(tmp_path, "one")


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 200])
@pytest.mark.parametrize("part", feature_files.PARTS)
def test_a_file_that_is_no_dictionary_is_named(part, content, given, tmp_path):
    feature_files.write(given, tmp_path, "one", FACTS)
    (tmp_path / f"one_{part}.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"one_\*: no dictionary with its heads \("):
        feature_files.read(tmp_path, "one")


@pytest.mark.parametrize("facts", [None, {"split_hash": "0"}, {"class_names": "["}])
def test_a_dictionary_without_its_facts_is_none(facts, given, tmp_path):
    feature_files.write(given, tmp_path, "one", FACTS)
    path = tmp_path / "one_test.safetensors"
    save_file(load_file(path), path, facts)
    with pytest.raises(DataError, match=r"one_\*: no dictionary with its heads \("):
        feature_files.read(tmp_path, "one")


@pytest.mark.parametrize("name", ["../one", "/etc/one", "a/../one"])
def test_a_dictionary_is_named_and_not_looked_for_elsewhere(name, given, tmp_path):
    feature_files.write(given, tmp_path, "one", FACTS)
    (tmp_path / "inner").mkdir()
    with pytest.raises(DataError, match="a name, not a path"):
        feature_files.read(tmp_path / "inner", name)


def test_the_committed_dictionary_scores_what_its_readme_says():
    given = feature_files.read(feature_files.FOLDER, "cifar100_lt_100_seed0")
    scores = phase2.score(given.model.classifier, given.features)
    assert scores.top1 == pytest.approx(0.4080, abs=5e-4)
    assert given.features.class_counts.tolist()[:2] == [500, 477]
    assert len(load_file(feature_files.FOLDER / "cifar100_lt_100_seed0_test.safetensors")) == 2
