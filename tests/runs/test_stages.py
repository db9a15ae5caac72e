import dataclasses
import json
import shutil

import pytest
import torch
from PIL import Image

from facog_lab import runs
from facog_lab.config import ConfigError
from facog_lab.rivals.heads import free_heads
from facog_lab.runs import checkpoint, stages
from facog_lab.runs import training as kept_training
from facog_lab.runs.presets import experiment
from facog_lab.runs.store import Run, StoreError


@pytest.fixture
def settings(outputs):
    return experiment(
        phase1={"epochs": 4, "warmup_epochs": 1}, phase2={"epochs": 2}, seed=1
    )  # digits


def state_of(training):
    return {k: v.clone() for k, v in checkpoint.state(training.loop).items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_asking_for_phase_2_makes_all_of_it_once(settings, outputs, monkeypatch):
    made = runs.open(settings, "cpu").phase2
    made.finish()
    found = sorted(p.name for p in (outputs / "digits").iterdir())
    assert found == ["dictionary", "phase1", "phase2"]

    def no_step(self):
        raise AssertionError("a finished run was trained again")

    for loop in (stages.phase1_loop.Phase1, stages.phase2_loop.Phase2):
        monkeypatch.setattr(loop, "__next__", no_step)
    again = runs.open(settings, "cpu").phase2
    assert list(again) == []
    assert same(state_of(made), state_of(again))
    assert again.history == made.history
    assert again.seconds == made.seconds > 0


@pytest.mark.parametrize("stage", ["phase1", "phase2"])
def test_a_run_that_was_cut_off_resumes_to_the_same_bytes(stage, settings, outputs, monkeypatch):
    monkeypatch.setattr(kept_training, "SECONDS_BETWEEN_SAVES", 0.0)
    whole = getattr(runs.open(settings, "cpu"), stage)
    whole.finish()
    expected, history = state_of(whole), whole.history
    for path in whole.run.folder.iterdir():
        path.unlink()

    cut = getattr(runs.open(settings, "cpu"), stage)
    for step in cut:
        if step.epoch == 1:  # in the middle of an epoch: what it did is lost, what was saved is not
            break
    assert cut.run.load().tensors["step"] == cut.loop.steps_per_epoch
    resumed = getattr(runs.open(settings, "cpu"), stage)
    steps = list(resumed)
    assert steps[0].epoch == 1
    assert same(expected, state_of(resumed))
    assert resumed.history == history


def test_ctrl_c_leaves_a_run_that_resumes(settings, monkeypatch):
    monkeypatch.setattr(kept_training, "SECONDS_BETWEEN_SAVES", 0.0)
    training = runs.open(settings, "cpu").phase1
    take = training.loop.__class__.__next__

    def interrupted(loop):
        if loop.step == 2 * loop.steps_per_epoch + 1:
            raise KeyboardInterrupt
        return take(loop)

    with monkeypatch.context() as patch:
        patch.setattr(training.loop.__class__, "__next__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            training.finish()
    resumed = runs.open(settings, "cpu").phase1
    assert 0 < resumed.loop.step < resumed.loop.total_steps
    assert resumed.finish().step == resumed.loop.total_steps


def test_the_record_says_what_was_done(settings):
    training = runs.open(settings, "cpu").phase2
    training.finish()
    data = stages.data(settings.data)
    first = json.loads((runs.open(settings).phase1.run.folder / "manifest.json").read_text())
    record = first["record"]
    assert record["split_hash"] == data.split_hash
    assert record["index"] == data.index.tolist()
    assert record["environment"]["threads"] == 1
    assert record["parameters"] > 10_000
    assert training.run.load().record["metrics"]["acsa"] == training.loop.evaluate().acsa


def test_other_settings_are_another_run_and_share_what_they_can(settings):
    keys = {runs.open(settings, "cpu").phase2.run.key}
    changed = experiment(
        phase1={"epochs": 4, "warmup_epochs": 1}, phase2={"epochs": 2, "n_s": 3}, seed=1
    )
    assert runs.open(changed).phase1.run.key == runs.open(settings).phase1.run.key
    keys.add(runs.open(changed, "cpu").phase2.run.key)
    other_split = experiment(
        data={"split_seed": 5}, phase1={"epochs": 4, "warmup_epochs": 1}, seed=1
    )
    assert runs.open(other_split).phase1.run.key != runs.open(settings).phase1.run.key
    assert len(keys) == 2


def test_compare_has_the_nulls_beside_facog(settings):
    results = runs.open(settings, "cpu").compare()
    assert list(results) == ["phase1", "facog", *stages.nulls(), *free_heads()]
    assert {"logit_adjustment", "nearest_mean", "lda", "second_opinion"} <= set(free_heads())
    assert results["phase1"].entropy is None
    assert results["random_oversampling"].entropy == 0
    assert results["uniform_weights"].entropy == pytest.approx(1.609, abs=1e-3)
    assert 1.2 < results["dirichlet_weights"].entropy < 1.35
    for result in results.values():
        assert result.scores.acsa == pytest.approx(sum(result.scores.per_class) / 10)


def test_a_free_head_that_phase_1_does_not_allow_is_left_out_and_said(outputs, capsys):
    """LDAM's last layer has cosines for logits: τ-norm has no lengths to divide by."""
    changed = {"epochs": 2, "warmup_epochs": 1, "objective": "ldam"}
    lab = runs.open(experiment(phase1=changed, phase2={"epochs": 1}), "cpu")
    results = lab.compare()
    assert set(free_heads()) - set(results) == {"tau_norm_no_bias"}
    assert "τ-norm, no bias is left out: the classifier's last layer" in capsys.readouterr().out


def test_balanced_data_is_refused_before_anything_is_trained(outputs):
    even = experiment()
    level = dataclasses.replace(stages.data(even.data), labels=torch.arange(10).repeat(5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "data", lambda config: level)
        lab = runs.open(even, "cpu")
        for ask in (lambda: lab.phase2, lab.compare):
            with pytest.raises(ConfigError, match="set it to 'uniform'"):
                ask()
    assert not outputs.exists()


def test_ones_own_images_end_to_end(outputs, tmp_path):
    """A folder of three classes of colour pictures, and a zip of it, which is the same data."""
    root = tmp_path / "pets"
    rng = torch.Generator().manual_seed(0)
    for label, (name, count) in enumerate({"cat": 24, "dog": 9, "emu": 4}.items()):
        for part, images in (("train", count), ("test", 5)):
            (root / part / name).mkdir(parents=True)
            for i in range(images):
                noise = torch.randint(0, 80, (20, 24, 3), generator=rng, dtype=torch.uint8)
                noise[..., label] += 120
                Image.fromarray(noise.numpy()).save(root / part / name / f"{i}.png")
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", root)
    results = []
    for place in (root, archive):
        own = experiment(
            data={"dataset": f"folder:{place}", "image_size": 16},
            phase1={"epochs": 6, "warmup_epochs": 1},
            phase2={"epochs": 3},
        )
        data = stages.data(own.data)
        assert data.class_counts.tolist() == [24, 9, 4]
        assert data.class_names == ("cat", "dog", "emu")
        assert data.images.shape == (37, 3, 16, 16)
        results.append(runs.open(own, "cpu").compare())
    for method, result in results[0].items():
        assert result.scores == results[1][method].scores
    assert results[0]["facog"].scores.acsa > 0.5  # the colour gives the class away


def test_a_protocol_the_data_does_not_have(settings):
    with pytest.raises(ConfigError, match=r"protocol = 'gamo'.*\['full'\]"):
        runs.open(settings, "cpu").compare("gamo")


def test_a_damaged_run_is_named_and_not_used(settings):
    training = runs.open(settings, "cpu").phase1
    training.finish()
    (path,) = training.run.folder.glob("state-*")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=path.name):
        _ = runs.open(settings, "cpu").phase1


def test_an_open_experiment_builds_and_reads_everything_once(settings, outputs, monkeypatch):
    runs.open(settings, "cpu").compare()  # all of it is made
    built, read = [], []

    def noted(owner, name, to):
        function = getattr(owner, name)

        def call(self, *given, **named):
            to.append(self)
            return function(self, *given, **named)

        monkeypatch.setattr(owner, name, call)

    noted(stages.phase1_loop.Phase1, "__init__", built)
    noted(stages.phase2_loop.Phase2, "__init__", built)
    noted(Run, "_read", read)
    lab = runs.open(settings, "cpu")
    for _ in range(2):
        _ = lab.data, lab.phase1, lab.model, lab.dictionary, lab.source, lab.phase2
        lab.compare()
    methods = 1 + len(stages.nulls())
    assert len(built) == 1 + methods  # phase 1, FACoG, the nulls
    assert len(read) == 2 + methods  # the same, and the dictionary


def test_a_training_that_was_broken_inside_a_step_is_opened_anew(settings, outputs, monkeypatch):
    monkeypatch.setattr(kept_training, "SECONDS_BETWEEN_SAVES", 0.0)
    whole = runs.open(settings, "cpu").phase1.finish()
    expected = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    for path in runs.open(settings).run("phase1").folder.iterdir():
        path.unlink()
    lab, step = runs.open(settings, "cpu"), stages.phase1_loop.Phase1.loss
    first = lab.phase1
    taken = []

    def interrupted(loop, *given):
        taken.append(loop.step)
        if len(taken) == 6:  # in the middle of an epoch, the step half done
            next(iter(loop.model.parameters())).data.zero_()
            raise KeyboardInterrupt
        return step(loop, *given)

    monkeypatch.setattr(stages.phase1_loop.Phase1, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.finish()
    assert lab.phase1 is not first
    made = lab.phase1.finish().model.state_dict()
    assert all(torch.equal(made[name], tensor) for name, tensor in expected.items())
    assert lab.phase1 is lab.phase1
