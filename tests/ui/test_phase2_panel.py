import base64
import re
import threading
import types

import nbformat
import numpy as np
import pytest
import tiny
import torch
from loops import same, until
from nbclient import NotebookClient

from facog_lab import runs
from facog_lab.config import TrainingError
from facog_lab.phase2 import Phase2
from facog_lab.runs import presets, replay
from facog_lab.runs.store import StoreError
from facog_lab.settings import Controls, Phase2Config
from facog_lab.ui import heartbeat, inputs, phase2_panel
from facog_lab.ui.live_figure import PLOTLY
from facog_lab.ui.sliders import NumberWithSlider

SOURCE = """
from facog_lab.plots import charts
from facog_lab.ui import phase2_panel
values = []
groups = {{"Loss": ["loss"]}}
draw = lambda: charts.curves({{"loss": values}}, groups)
chart = phase2_panel.LiveFigure(draw, seconds=0, live="{live}")
for step in range(5):
    values.append(float(step))
    chart.update()
    print("drawn" if chart.place.handle else "waiting")
chart.finish()
"""


@pytest.fixture(scope="module")
def shown():
    """What cells of a real kernel show: live figures, redrawn or not, and a plain figure."""
    plain = "from facog_lab.plots import charts\ncharts.profiles({'a': [2, 1]})"
    sources = [SOURCE.format(live="on"), SOURCE.format(live="off"), plain]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, sources)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return dict(zip(("on", "off", "plain"), (c.outputs for c in notebook.cells), strict=True))


@pytest.mark.parametrize("live", ["on", "off"])
def test_a_live_figure_is_one_output_that_ends_with_the_last_state(live, shown):
    """In a real kernel: redrawn in place while someone looks, drawn once where nobody does."""
    outputs = shown[live]
    (figure,) = (o["data"][PLOTLY] for o in outputs if PLOTLY in o.get("data", {}))
    steps = figure["data"][0]["x"]  # as plotly sends numbers: base64
    values = np.frombuffer(base64.b64decode(steps["bdata"]), steps["dtype"])
    assert values.tolist() == [1, 2, 3, 4, 5]
    (words,) = (o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {}))
    assert re.search(r'role="img" aria-label="[^"]*from 0 at 1 to 4 at 5', words)
    printed = "".join(o.get("text", "") for o in outputs)
    assert printed.count("drawn" if live == "on" else "waiting") == 5


def test_a_plain_figure_is_shown_with_its_words(shown):
    """In a real kernel, whose notebooks show what a cell ends with."""
    figure, words = (o["data"] for o in shown["plain"])
    assert figure[PLOTLY]["config"]["showSendToCloud"] is False
    assert re.search(r'role="img" aria-label="[^"]*from 2 at 1 to 1 at 2', words["text/html"])


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACOG_OUTPUTS", str(tmp_path_factory.mktemp("panels")))
        yield presets.experiment(phase1={"epochs": 1}, phase2={"epochs": 40})


@pytest.fixture
def panel(settings):
    made = phase2_panel.Phase2Panel(runs.open(settings, "cpu"))
    yield made
    if phase2_panel.Phase2Panel._shown is made:
        made.close()
    assert not [t for t in threading.enumerate() if t.name == "facog-training"]


class TestPhase2Panel:
    def test_it_steers_and_records(self, panel):
        panel.start()
        until(lambda: panel.loop.step >= 5)
        panel.knobs["lambda_adv"].slider.value = 0.0
        panel.knobs["n_s"].box.value = 8
        panel.knobs["oversampler"].value = "uniform_weights"
        seen = panel.loop.step
        until(lambda: panel.loop.step >= seen + 5)
        panel.pause()
        loop = panel.result()
        changed = {c.control: c.new for c in panel.run.changes}
        assert changed == {"lambda_adv": 0.0, "n_s": 8, "oversampler": "uniform_weights"}
        assert panel.knobs["lambda_adv"].box.value == 0.0
        assert panel.knobs["n_s"].slider.value == 8
        assert "n_s 5 → 8" in panel.words.value
        assert "Paused" in panel.state.value
        assert same(replay.repeat(panel.run.folder, "cpu"), loop)

    def test_its_figures_say_what_they_show(self, panel):
        panel.step()
        panel.result()
        assert f"entropy of w: {panel.history['steps']['entropy'][0]:.3g} at 1" in (
            panel.chart.description
        )
        recall = panel.loop.scores.per_class[0]
        assert f"now: 3 at {panel.loop.scores.per_class[3]:.3g}, " in panel.board.description
        assert f"0 at {recall:.3g}" in panel.board.description

    def test_steps_one_at_a_time_and_parts_alone(self, panel):
        panel.step()
        panel.result()
        assert panel.loop.step == 1
        before = [p.clone() for p in panel.loop.oversampler.generator.parameters()]
        panel.knobs["trains"].value = "d"
        panel.step()
        panel.result()
        after = panel.loop.oversampler.generator.parameters()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert panel.history["steps"]["trains"] == ["all", "d"]

    def test_reset_is_the_state_before_the_first_step(self, panel):
        first = [trace.y for trace in (*panel.chart.data, *panel.board.data) if trace.meta]
        panel.knobs["temperature"].box.value = 0.5
        panel.start()
        until(lambda: panel.loop.step >= 5)
        panel.reset()
        assert panel.loop.step == 0
        assert panel.knobs["temperature"].box.value == 0.1
        assert panel.history["steps"] == {}
        now = [trace for trace in (*panel.chart.data, *panel.board.data) if trace.meta]
        for one, two in zip(first, now, strict=True):
            assert np.array_equal(np.asarray(one, float), np.asarray(two.y, float), equal_nan=True)

    def test_it_ends_by_itself_as_the_headless_run(self, panel, settings):
        panel.start()
        loop = panel.result()
        assert "Done." in panel.state.value
        plain = runs.open(settings, "cpu").phase2
        assert plain.complete  # the panel has kept it
        alone = replay.start(runs.open(settings, "cpu"))
        list(alone)
        assert same(loop, alone)
        assert same(plain.loop, alone)

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("n_s", 99, "n_s = 99: .*at most 20"),
            ("temperature", 0.0, "temperature = 0.0: .*at least 0.0001"),
        ],
    )
    def test_a_bad_value_is_said_and_undone(self, panel, field, value, said):
        before = panel.knobs[field].box.value
        panel.knobs[field].box.value = value
        assert re.search(said, panel.message.value)
        assert panel.knobs[field].box.value == before == getattr(panel.loop.controls, field)
        panel.knobs[field].box.value = before * 2
        assert panel.message.value == ""

    def test_what_a_page_sends_back_is_no_change(self, panel):
        """A front end rounds a log slider's value to its grid and sends it when it shows it."""
        slider = panel.knobs["lr_generator"].slider
        slider.value = 10**-2.3 * (1 + 1e-9)
        assert panel.loop.controls.lr_generator == 0.005
        slider.value = 10**-2.2
        assert panel.loop.controls.lr_generator == pytest.approx(10**-2.2, rel=1e-2)
        panel.knobs["lambda_adv"].box.value = 5.0  # beyond the slider's end
        assert panel.knobs["lambda_adv"].slider.value == 2.0
        assert panel.loop.controls.lambda_adv == 5.0

    def test_a_new_panel_ends_the_one_before(self, panel, settings):
        panel.start()
        until(lambda: panel.loop.step >= 2)
        second = phase2_panel.Phase2Panel(runs.open(settings, "cpu"))
        assert not panel.worker.running
        second.start()
        until(lambda: second.loop.step >= 2)
        assert len([t for t in threading.enumerate() if t.name == "facog-training"]) == 1
        second.close()

    def test_a_panel_that_could_not_be_made_leaves_none_behind(self, panel, settings, monkeypatch):
        def damaged(*_):
            raise StoreError("state is damaged")

        with monkeypatch.context() as patch:
            patch.setattr(phase2_panel.replay, "start", damaged)
            with pytest.raises(StoreError):
                phase2_panel.Phase2Panel(runs.open(settings, "cpu"))
        second = phase2_panel.Phase2Panel(runs.open(settings, "cpu"))
        assert phase2_panel.Phase2Panel._shown is second
        second.close()

    def test_an_error_is_shown_and_raised(self, panel):
        panel.step()
        panel.result()
        with torch.no_grad():
            panel.loop.classifier[2].bias.fill_(float("nan"))
        panel.start()
        with pytest.raises(TrainingError, match="loss_cls"):
            panel.result()
        assert "loss_cls became NaN" in panel.state.value
        assert panel.run.folder is None  # nothing was kept of it

    def test_a_disk_that_is_full_costs_nothing_that_is_in_memory(self, panel, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(panel.run, "save", full)
        panel.step()
        panel.result()
        assert "Not kept: [Errno 28]" in panel.state.value
        panel.step()
        panel.result()
        assert panel.loop.step == 2

    def test_equal_classes_have_no_gamo_to_choose(self):
        dictionary = tiny.dictionary((9, 9))
        config = Phase2Config(label_selection="uniform", batch_size=8)
        loop = Phase2(config, dictionary, tiny.model(dictionary), "cpu")
        options = inputs.knobs(loop, lambda field, value: None)["label_selection"].options
        assert [value for _, value in options] == ["inverse", "uniform", "as_found"]

    def test_every_control_has_a_description(self, panel):
        assert set(panel.knobs) == set(Controls.model_fields)
        for knob in panel.knobs.values():
            named = knob.box if isinstance(knob, NumberWithSlider) else knob
            assert named.description
            assert named.tooltip
        for button in panel.buttons.values():
            assert button.tooltip


class TestHeartbeat:
    def page(self, monkeypatch, answers=True):
        calls = []
        kernel = types.SimpleNamespace(io_loop=types.SimpleNamespace(add_callback=calls.append))
        shell = types.SimpleNamespace(kernel=kernel)
        monkeypatch.setattr(heartbeat, "get_ipython", lambda: shell)
        now = [100.0]
        monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
        return heartbeat.Heartbeat(), calls, now

    def test_a_page_that_never_spoke_is_not_gone(self, monkeypatch):
        page, _, now = self.page(monkeypatch)
        now[0] += 1e6
        assert not page.gone()

    def test_a_page_that_is_silent_is_gone(self, monkeypatch):
        page, calls, now = self.page(monkeypatch)
        page.beats = 1
        now[0] += 10
        assert not page.gone()
        now[0] += 10
        assert not page.gone()  # asks the kernel first
        (answer,) = calls
        answer()
        now[0] += 1
        assert not page.gone()
        now[0] += 10
        assert page.gone()
        page.beats = 2
        assert not page.gone()

    def test_words_that_wait_for_a_busy_kernel_count(self, monkeypatch):
        page, calls, now = self.page(monkeypatch)
        page.beats = 1
        now[0] += 500  # a cell that takes long: no word is heard, no question answered
        assert not page.gone()
        assert not page.gone()
        assert len(calls) == 1
        calls[0]()
        page.beats = 2  # comes with what has waited
        now[0] += 10
        assert not page.gone()

    def test_a_page_in_the_background_may_be_silent_for_longer(self, monkeypatch):
        page, calls, now = self.page(monkeypatch)
        page.beats, page.hidden = 1, True
        now[0] += 100
        assert not page.gone()
        assert calls == []
