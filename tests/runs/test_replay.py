import json
import shutil

import pytest
import torch

from facog_lab import runs
from facog_lab.cli import replay as replay_command
from facog_lab.config import ConfigError, digest
from facog_lab.runs import checkpoint, presets, replay, stages, store
from facog_lab.runs.manifest import as_json
from facog_lab.runs.replay import Change, Steered
from facog_lab.settings import Controls


@pytest.fixture(scope="module", autouse=True)
def outputs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACOG_OUTPUTS", str(tmp_path_factory.mktemp("steering")))
        yield


def settings(**phase2):
    return presets.experiment(phase1={"epochs": 1}, phase2={"epochs": 3, "batch_size": 64} | phase2)


STEERING = {
    3: {"lambda_adv": 0.0, "n_s": 2},
    5: {"trains": "d"},
    6: {"trains": "all", "oversampler": "uniform_weights"},
    8: {"oversampler": "facog", "label_selection": "inverse", "lr_generator": 0.1},
}


def steer(run, until=None):
    """Takes a run's steps with the changes of STEERING, each before the step of its number."""
    while run.loop.step < (until or run.loop.total_steps):
        changed = STEERING.get(run.loop.step + 1, {})
        run.loop.controls = run.loop.controls.replace(**changed)
        next(run)
    return run


def same(one, two):
    one, two = checkpoint.state(one), checkpoint.state(two)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


class TestReplay:
    def test_a_steered_run_comes_out_the_same_to_the_last_byte(self, capsys):
        run = steer(Steered(runs.open(settings())))
        assert run.folder.parent.name == "steered"
        assert same(replay.repeat(run.folder), run.loop)
        assert replay_command.main([str(run.folder)]) == 0
        assert "identical bytes" in capsys.readouterr().out

    def test_a_run_that_came_out_otherwise_is_an_error(self, capsys):
        run = steer(Steered(runs.open(settings(seed=1))))
        with torch.no_grad():
            run.loop.classifier[0].weight[0, 0] += 1e-6
        run._saved = (0, 0.0)
        run.save()
        with pytest.raises(store.StoreError, match=r"differ.*: classifier\.0\.weight\. .*threads"):
            replay.repeat(run.folder)
        assert replay_command.main([str(run.folder)]) == 1

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"acsa": 0.999}, r"acsa \(0\.999 was recorded, now 0\.\d+\)"),
            ({"few": 0.999}, r"few \(0\.999"),
            ({"made_up": 0.999}, r"made_up \(0\.999 was recorded, now nothing\)"),
            ({"per_class": [0.999] * 11}, r"recall of class 0 \(0\.999.* and 6 more"),
            ({"per_class": 5}, r"per_class \(5 was recorded, now nothing\)"),
            ({"gm": "high", "top1": None}, r"gm \(high .*top1 \(None"),
            (["acsa"], r"\['acsa'\] was recorded"),
        ],
        ids=str,
    )
    def test_a_metric_that_the_run_does_not_have_is_said(self, change, said, capsys):
        """A manifest can be written by anyone: its hashes fit, its figures are another run's."""
        run = steer(Steered(runs.open(settings(seed=4))))
        path = run.folder / "manifest.json"
        honest = path.read_bytes()
        manifest = store.read_manifest(path)
        record = manifest["record"]
        record["metrics"] = record["metrics"] | change if isinstance(change, dict) else change
        path.write_bytes(as_json(manifest | {"digest": digest(manifest)}))
        with pytest.raises(store.StoreError, match=said) as caught:
            replay.repeat(run.folder)
        assert "the metrics" in str(caught.value)
        assert "classifier" not in str(caught.value)
        assert replay_command.main([str(run.folder)]) == 1
        assert "identical bytes" not in capsys.readouterr().out
        path.write_bytes(honest)
        assert replay_command.main([str(run.folder)]) == 0

    def test_a_history_that_came_out_otherwise_names_column_and_row(self):
        run = steer(Steered(runs.open(settings(seed=5))))
        run.loop.history["steps"]["loss_cls"][6] += 1e-6
        run.loop.history["epochs"]["gm"][1] = 0.999
        run._saved = (0, 0.0)
        run.save()
        with pytest.raises(store.StoreError, match=r"row 7 of steps\.loss_cls") as caught:
            replay.repeat(run.folder)
        assert "row 2 of epochs.gm" in str(caught.value)

    def test_a_part_of_a_run(self):
        run = steer(Steered(runs.open(settings())), until=7)
        run.save()
        assert not json.loads((run.folder / "manifest.json").read_text())["complete"]
        assert replay.repeat(run.folder).step == 7

    def test_what_is_no_steered_run(self, tmp_path, capsys):
        with pytest.raises(store.StoreError, match=r"no manifest\.json: name a folder"):
            replay.repeat(tmp_path)
        plain = runs.open(settings()).phase2
        plain.finish()
        with pytest.raises(store.StoreError, match="is no steered run"):
            replay.repeat(plain.run.folder)
        with pytest.raises(SystemExit):
            replay_command.main([])
        assert "usage" in capsys.readouterr().err

    def test_a_damaged_history_is_noticed(self):
        run = steer(Steered(runs.open(settings())), until=4)
        run.save()
        (history,) = run.folder.glob("history-*.json")
        history.write_text(history.read_text().replace("0.0", "0.5", 1))
        with pytest.raises(store.StoreError, match=f"{history.name} is damaged"):
            replay.repeat(run.folder)
        shutil.rmtree(run.folder)


class TestWhereItIsKept:
    def test_every_change_is_in_the_history_and_nowhere_else(self):
        run = steer(Steered(runs.open(settings())))
        assert run.changes == [
            Change(3, "n_s", 5, 2),
            Change(3, "lambda_adv", 1.0, 0.0),
            Change(5, "trains", "all", "d"),
            Change(6, "oversampler", "facog", "uniform_weights"),
            Change(6, "trains", "d", "all"),
            Change(8, "lr_generator", 0.005, 0.1),
            Change(8, "oversampler", "uniform_weights", "facog"),
            Change(8, "label_selection", "gamo", "inverse"),
        ]
        table = run.loop.history["steps"]
        assert {len(column) for column in table.values()} == {run.loop.total_steps}
        assert table["loss_d"][4] is not None
        assert table["loss_d"][5:7] == [None, None]  # uniform weights have no discriminator

    def test_a_steered_run_never_takes_the_place_of_the_plain_one(self):
        plain = runs.open(settings(seed=2)).phase2
        plain.finish()
        steer(Steered(runs.open(settings(seed=2))))
        again = runs.open(settings(seed=2)).phase2
        assert again.complete
        assert same(again.loop, plain.loop)

    def test_a_run_without_a_change_is_the_plain_one(self):
        run = Steered(runs.open(settings(seed=3)))
        assert list(run)[-1].step == run.loop.total_steps
        assert run.folder is None
        made = runs.open(settings(seed=3)).phase2
        assert made.complete
        assert same(made.loop, run.loop)

    def test_a_change_before_the_first_step_counts(self):
        run = Steered(runs.open(settings()))
        run.loop.controls = run.loop.controls.replace(n_s=1)
        next(run)
        assert run.changes == [Change(1, "n_s", 5, 1)]

    def test_reset_goes_back_to_the_first_step(self):
        run = steer(Steered(runs.open(settings())), until=6)
        run.save()
        first = run.folder
        run.reset()
        assert (run.loop.step, run.folder, run.changes) == (0, None, [])
        steer(run)
        assert run.folder != first
        assert first.exists()

    def test_runs_that_are_saved_at_the_same_time_have_a_folder_each(self, monkeypatch):
        """Both look for a name before either has saved: the clock, and a look, tell nothing."""
        monkeypatch.setattr(replay.time, "strftime", lambda form: "now")
        one, other = (steer(Steered(runs.open(settings())), until=until) for until in (4, 6))
        save = replay.training.save

        def saves(*arguments):
            monkeypatch.setattr(replay.training, "save", save)
            other.save()
            save(*arguments)

        monkeypatch.setattr(replay.training, "save", saves)
        one.save()
        assert {one.folder.name, other.folder.name} == {"now", "now-2"}
        assert replay.repeat(one.folder).step == 4
        assert replay.repeat(other.folder).step == 6

    def test_no_folder_is_left_where_nothing_could_be_saved(self, monkeypatch):
        run = steer(Steered(runs.open(settings())), until=4)

        def full(*_):
            raise store.StoreError("no room")

        monkeypatch.setattr(replay.training, "save", full)
        parent = stages.run_of(settings(), "phase2").folder.parents[1] / "steered"
        before = set(parent.iterdir())
        with pytest.raises(store.StoreError, match="no room"):
            run.save()
        assert set(parent.iterdir()) == before
        assert run.folder is None
        monkeypatch.undo()
        run.save()
        assert replay.repeat(run.folder).step == 4


class TestParts:
    @pytest.mark.parametrize(
        ("trains", "moved"),
        [("all", "dgc"), ("d_and_g", "dg"), ("d", "d"), ("g", "g"), ("classifier", "c")],
    )
    def test_a_step_changes_what_it_should_and_measures_everything(self, trains, moved):
        loop = replay.start(runs.open(settings()))
        next(loop)
        parts = {
            "d": loop.oversampler.discriminator,
            "g": loop.oversampler.generator,
            "c": loop.classifier,
        }
        before = {k: [p.clone() for p in m.parameters()] for k, m in parts.items()}
        loop.controls = loop.controls.replace(trains=trains)
        step = next(loop)
        changed = [
            k
            for k, m in parts.items()
            if any(not torch.equal(a, b) for a, b in zip(before[k], m.parameters(), strict=True))
        ]
        assert "".join(changed) == moved
        assert {"loss_d", "loss_g", "loss_cls"} <= step.figures.keys()


class TestFork:
    def test_a_branch_without_a_change_is_the_run_itself(self):
        run = Steered(runs.open(settings()))
        list(run)
        loops = replay.fork(
            runs.open(settings()),
            run.loop.history["steps"],
            5,
            {"same": {}, "less": {"lambda_adv": 0}},
        )
        assert same(loops["same"], run.loop)
        assert loops["same"].history == run.loop.history
        less = loops["less"].history["steps"]
        assert less["lambda_adv"] == [1.0] * 5 + [0.0] * (run.loop.total_steps - 5)
        assert less["loss_g"][:5] == run.loop.history["steps"]["loss_g"][:5]
        assert not same(loops["less"], run.loop)

    def test_it_goes_on_from_a_steered_step(self):
        run = steer(Steered(runs.open(settings())))
        (branch,) = replay.fork(
            runs.open(settings()), run.loop.history["steps"], 8, {"a": {}}, 2
        ).values()
        assert branch.step == 10
        kept = {k: v[:8] for k, v in run.loop.history["steps"].items()}
        assert {k: v[:8] for k, v in branch.history["steps"].items()} == kept
        assert branch.history["steps"]["label_selection"][-1] == "inverse"

    @pytest.mark.parametrize("at", [0, 99])
    def test_a_step_that_was_not_taken(self, at):
        run = steer(Steered(runs.open(settings())), until=6)
        with pytest.raises(ConfigError, match=rf"at = {at}: 6 steps .* 1 to 6"):
            replay.fork(runs.open(settings()), run.loop.history["steps"], at, {"a": {}})

    @pytest.mark.parametrize("length", [-5, -1, 0])
    def test_a_branch_that_takes_no_step(self, length):
        run = steer(Steered(runs.open(settings())), until=6)
        left = run.loop.total_steps - 4
        with pytest.raises(ConfigError, match=rf"length = {length}: .* 1 to {left}.* or None"):
            replay.fork(runs.open(settings()), run.loop.history["steps"], 4, {"a": {}}, length)

    def test_a_branch_ends_where_phase_2_does(self):
        run = steer(Steered(runs.open(settings())), until=6)
        at = run.loop.total_steps - 3
        list(run)
        for length in (3, 100, None):
            (branch,) = replay.fork(
                runs.open(settings()), run.loop.history["steps"], at, {"a": {}}, length
            ).values()
            assert branch.step == run.loop.total_steps

    def test_a_control_that_is_none(self):
        run = steer(Steered(runs.open(settings())), until=2)
        with pytest.raises(ConfigError, match="Did you mean 'lambda_adv'"):
            replay.fork(
                runs.open(settings()), run.loop.history["steps"], 1, {"a": {"lamda_adv": 0}}
            )
        with pytest.raises(ConfigError, match="n_s = 40"):
            replay.fork(runs.open(settings()), run.loop.history["steps"], 1, {"a": {"n_s": 40}})


def test_no_change_in_an_empty_history():
    assert replay.changes({}, Controls()) == []
