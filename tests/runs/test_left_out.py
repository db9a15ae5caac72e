"""Features of the images that a long tail left out."""

import pytest
import torch

from facog_lab import runs
from facog_lab.config import ConfigError, DataError
from facog_lab.data import builtin, load
from facog_lab.data.arrays import make_long_tailed
from facog_lab.paths import StoreError
from facog_lab.runs import extract, feature_files, left_out, presets
from facog_lab.settings import DataConfig

SHORT = {"epochs": 1, "warmup_epochs": 0}


def lab_of(**data):
    settings = presets.experiment("cpu", data={"dataset": "digits"} | data, phase1=SHORT)
    return runs.open(settings, "cpu")


def test_what_is_kept_and_what_is_left_out_are_the_whole_source():
    config = DataConfig(dataset="digits")
    kept, (images, labels) = load.load(config), load.left_out(config)
    whole = builtin.digits(config, print)
    rest = sorted(set(range(len(whole.labels))) - set(kept.index.tolist()))
    assert torch.equal(images, whole.images[rest])
    assert torch.equal(labels, whole.labels[rest])
    counts = kept.class_counts + labels.bincount()
    assert tuple(counts.tolist()) == kept.available


def test_nothing_is_left_out_of_a_data_set_used_whole():
    with pytest.raises(DataError, match=r"as_found.*learning curve"):
        load.left_out(DataConfig(dataset="digits", profile="as_found"))


def test_features_are_the_frozen_backbones_and_are_kept(outputs, monkeypatch):
    lab = lab_of()
    found = left_out.of_lab(lab)
    images, labels = load.left_out(lab.settings.data)
    loop = lab.phase1.finish()
    loop.model.eval()
    mean, std = (torch.tensor(v)[:, None, None] for v in (lab.data.mean, lab.data.std))
    with torch.no_grad():
        direct = loop.model.backbone((images.float() / 255 - mean) / std)
    torch.testing.assert_close(found.features, direct, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.labels, labels)

    monkeypatch.setattr(extract, "_fill", None)  # nothing is made twice
    again = left_out.of_lab(lab_of())
    assert torch.equal(again.features, found.features)


def test_training_features_through_the_same_door_are_the_dictionarys(outputs):
    lab = lab_of()
    features = extract.features_of(lab.phase1.finish(), lab.data.images)
    rows = lab.dictionary.image_index
    assert torch.equal(features[rows], lab.dictionary.features)


def test_arrays_have_no_rest_that_is_known(outputs):
    images = torch.randint(0, 255, (60, 8, 8), dtype=torch.uint8)
    data = make_long_tailed(images, torch.arange(60) % 3, profile="as_found")
    lab = runs.open(presets.experiment("cpu", phase1=SHORT), "cpu", data=data)
    with pytest.raises(ConfigError, match="arrays"):
        left_out.of_lab(lab)


def test_a_folder_with_something_else_in_it_is_named(outputs):
    lab = lab_of()
    left_out.of_lab(lab)
    (run,) = (outputs / "digits" / "left_out").iterdir()
    from facog_lab.runs.store import Run

    def other(self):
        return None if self.stage != "left_out" else Saved({"labels": torch.zeros(1)})

    class Saved:
        def __init__(self, tensors):
            self.tensors = tensors

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "load_or_warn", other)
        with pytest.raises(StoreError, match=f"{run.name}.*features"):
            left_out.of_lab(lab)


def test_a_kept_dictionary_needs_its_backbone_and_its_split(outputs, tmp_path, monkeypatch):
    lab = lab_of(split_seed=3)
    facts = {"dataset": "digits", "imbalance_ratio": "20", "split_seed": "3", "preset": "cpu"}
    feature_files.write(lab.source, tmp_path, "mine", facts)
    monkeypatch.setattr(feature_files, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"mine_backbone\.safetensors is missing"):
        left_out.of_kept("mine")

    from safetensors.torch import save_file

    backbone = tmp_path / "mine_backbone.safetensors"
    save_file(lab.model.backbone.state_dict(), backbone)
    torch.testing.assert_close(left_out.of_kept("mine").features, left_out.of_lab(lab).features)

    feature_files.write(lab_of(split_seed=4).source, tmp_path, "mine", facts)
    with pytest.raises(DataError, match="another split of digits"):
        left_out.of_kept("mine")
