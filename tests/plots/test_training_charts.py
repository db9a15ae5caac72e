import math

import numpy as np
import pytest
import tiny
import torch

from facog_lab.phase2 import Phase2
from facog_lab.plots import training_charts
from facog_lab.plots.timelines import BINS, Curve, overlay
from facog_lab.plots.training_charts import Dashboard
from facog_lab.runs import checkpoint
from facog_lab.settings import Phase2Config
from facog_lab.ui.live_scatter import MovingFigure

TIMED = ("", "2", "3", "4")  # axes of the panels with steps


def loop(counts=(40, 20, 9, 3, 1), **changes):
    dictionary = tiny.dictionary(counts)
    config = Phase2Config(**{"epochs": 4, "batch_size": 16} | changes)
    return Phase2(config, dictionary, tiny.model(dictionary), "cpu")


def traces(figure):
    return {trace.name: trace for trace in figure.data if trace.name}


def by_meta(figure):
    return {trace.meta: trace for trace in figure.data if trace.meta}


def numbers(trace):
    return np.asarray(trace.y, float)


class TestCurve:
    @pytest.mark.parametrize("steps", [0, 1, BINS - 1, BINS, BINS + 1, 5 * BINS + 3, 40_000])
    def test_against_means_of_equal_parts(self, steps):
        values = np.random.default_rng(0).normal(size=steps)
        curve = Curve()
        for part in np.array_split(values, 7):
            curve.extend(part.tolist())
        x, y = curve.points()
        stride = 1
        while steps > stride * BINS:
            stride *= 2
        bins = [values[i : i + stride] for i in range(0, steps, stride)]
        assert len(x) == len(bins) <= BINS
        assert y == pytest.approx([b.mean() for b in bins], abs=1e-6)
        middle = [i * stride + (len(b) + 1) / 2 for i, b in enumerate(bins)]
        assert x == pytest.approx(middle)

    def test_steps_without_a_value_are_gaps(self):
        curve = Curve()
        curve.extend([1.0, None, 3.0])
        x, y = curve.points()
        assert x.tolist() == [1, 2, 3]
        assert y[0] == 1
        assert np.isnan(y[1])
        curve.extend([None] * BINS)
        assert curve.points()[1][0] == 1  # of 1 and nothing


class TestDashboard:
    def test_before_the_first_step_the_map_and_phase_1_are_there(self):
        made = loop()
        figure = Dashboard(made, made.scores).figure()
        shown = traces(figure)
        assert len(shown["real"].x) > 0
        assert len(shown["generated"].x) == 5 * (training_charts.GENERATED_SHOWN // 5)
        assert list(shown["phase 1"].y) == list(shown["now"].y)
        assert shown["ACSA"].y.tolist() == pytest.approx([made.scores.acsa])
        assert figure.to_json()

    def test_the_curves_are_the_history(self):
        made = loop()
        before = made.scores
        shown = Dashboard(made, before)
        figure = shown.figure()
        for step in made:
            if step.step % 3 == 0:
                shown.update(figure)
        shown.update(figure)
        once = Dashboard(made, before).figure()
        for one, two in zip(figure.data, once.data, strict=True):
            assert np.array_equal(numbers(one), numbers(two), equal_nan=True), one.name
        steps = made.history["steps"]
        drawn = {trace.meta: trace for trace in figure.data}
        for name in ("loss_d", "loss_adv", "loss_asc", "loss_cls", "entropy"):
            assert drawn[name].y == pytest.approx(steps[name], rel=1e-6)
        assert drawn["log n_s"].y == pytest.approx([math.log(5)] * len(steps["n_s"]))
        assert drawn["tail20_gm"].y[1:] == pytest.approx(made.history["epochs"]["tail20_gm"])
        assert list(drawn["now"].y) == [made.scores.per_class[c] for c in (0, 1, 2, 3, 4)]

    def test_the_map_shows_what_the_oversampler_makes_of_the_same_noise(self):
        made = loop(oversampler="uniform_weights")
        board = Dashboard(made, made.scores)
        before = traces(board.figure())["generated"]
        for _ in made:
            pass
        after = traces(board.figure())["generated"]
        assert np.array_equal(before.x, after.x)  # nothing was learned, so nothing moves
        learned = loop(lr_generator=1.0)
        board = Dashboard(learned, learned.scores)
        before = traces(board.figure())["generated"]
        for _ in learned:
            pass
        assert not np.array_equal(before.x, traces(board.figure())["generated"].x)

    def test_generated_points_lie_between_the_ends_of_their_lines(self):
        made = loop()
        board = Dashboard(made, made.scores)
        figure = board.figure()
        ties = by_meta(figure)["parents"]
        ends = np.stack([ties.x, ties.y], 1).reshape(training_charts.TRACED, 5, 3, 2)
        point, parents = ends[:, 0, 0], ends[:, :, 1]
        assert (point <= parents.max(1) + 1e-5).all()
        assert (point >= parents.min(1) - 1e-5).all()
        drawn = traces(figure)["generated"]
        for x, y in point:
            assert np.isclose(drawn.x, x).any()
            assert np.isclose(drawn.y, y).any()

    def test_changes_are_marked_on_every_time_axis(self):
        made = loop()
        board = Dashboard(made, made.scores)
        figure = board.figure()
        assert figure.layout.shapes == ()
        for _ in range(3):
            next(made)
        board.update(figure)
        made.controls = made.controls.replace(lambda_adv=0.0, n_s=2)
        for _ in range(3):
            next(made)
        board.update(figure)
        assert [(c.step, c.control, c.new) for c in board.changes] == [
            (4, "n_s", 2),
            (4, "lambda_adv", 0.0),
        ]
        marks = figure.layout.shapes
        assert {mark.xref for mark in marks} == {f"x{axis}" for axis in TIMED}
        assert {(mark.x0, mark.label.text) for mark in marks} == {(4, "1,2")}
        assert len(board.figure().layout.shapes) == 4  # a new figure has them, too
        upper, lower = board.halves()
        made.controls = made.controls.replace(n_s=3)
        next(made)
        board.update(lower)  # sees the change first, and has no axis to mark it on
        board.update(upper)
        assert {mark.label.text for mark in upper.layout.shapes} == {"1,2", "3"}
        board.follow(loop())
        board.update(figure)
        assert figure.layout.shapes == ()
        assert board.changes == []

    def test_a_long_run_takes_no_more_room(self):
        made = loop(epochs=400, counts=(20, 10))
        board = Dashboard(made, made.scores)
        sizes = []
        for step in made:
            if step.step in (600, 800):
                sizes.append(len(board.figure().to_json()))
        assert sizes[1] < 1.1 * sizes[0]
        tail = by_meta(board.figure())["tail20"]
        assert len(tail.x) == BINS
        assert tail.x[-1] == made.history["epochs"]["step"][-1]
        assert tail.y[-1] == pytest.approx(made.scores.tail20)

    def test_a_widget_is_brought_up_to_date_as_a_figure_is(self):
        made = loop()
        board = Dashboard(made, made.scores)
        widget = MovingFigure(board.figure())
        for _ in range(6):
            next(made)
        board.update(widget)
        plain = board.figure()
        for one, two in zip(widget.data, plain.data, strict=True):
            assert np.array_equal(numbers(one), numbers(two), equal_nan=True), one.name

    @pytest.mark.parametrize(
        ("counts", "changes"),
        [
            ((9, 4), {}),
            ((5, 1), {"n_s": 1}),
            (tuple(range(120, 20, -1)), {}),
            ((9, 4), {"n_s": 20}),
        ],
        ids=["two classes", "n_s 1", "a hundred classes", "n_s 20"],
    )
    def test_any_number_of_classes(self, counts, changes):
        made = loop(counts=counts, epochs=2, **changes)
        board = Dashboard(made, made.scores)
        figure = board.figure()
        for _ in range(2):
            next(made)
        board.update(figure)
        bars = traces(figure)["now"]
        assert len(bars.x) == (20 if len(counts) == 100 else len(counts))

    def test_its_halves_are_the_whole(self):
        made = loop()
        board = Dashboard(made, made.scores)
        upper, lower = board.halves()
        for _ in range(6):
            next(made)
        made.controls = made.controls.replace(n_s=2)
        next(made)
        for half in (lower, upper):
            board.update(half)
        whole = board.figure()
        halves = [*upper.data, *lower.data]
        assert len(halves) == len(whole.data)
        for one, two in zip(halves, whole.data, strict=True):
            assert (one.meta, one.name, one.yaxis) == (two.meta, two.name, two.yaxis)
            if one.type == "bar" or one.meta:
                assert np.array_equal(numbers(one), numbers(two), equal_nan=True), one.meta
        assert upper.layout.shapes == whole.layout.shapes
        assert lower.layout.shapes == ()
        titles = [note.text for half in (upper, lower) for note in half.layout.annotations]
        assert titles == [note.text for note in whole.layout.annotations]

    def test_names_are_text(self):
        made = loop(counts=(9, 4))
        object.__setattr__(made.dictionary, "class_names", ("<b>x</b>", "$a$"))
        page = Dashboard(made, made.scores).figure().to_json()
        assert "<b>x</b>" not in page.replace("\\u003c", "<").replace("\\u003e", ">")

    def test_no_draw_of_the_training_is_used_up(self):
        watched, alone = loop(), loop()
        board = Dashboard(watched, watched.scores)
        figure = board.figure()
        state = torch.random.get_rng_state()
        for _ in watched:
            board.update(figure)
        for _ in alone:
            pass
        assert torch.equal(state, torch.random.get_rng_state())
        one, two = checkpoint.state(watched), checkpoint.state(alone)
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_branches_over_each_other():
    one, two = loop(), loop(n_s=2)
    for branch in (one, two):
        list(branch)
    figure = overlay({"<a>": one.history["steps"], "b": two.history["steps"]}, 5)
    assert len(figure.data) == 8
    assert {trace.name for trace in figure.data} == {"&lt;a&gt;", "b"}
    assert [shape.x0 for shape in figure.layout.shapes] == [5.5] * 4
    entropy = [trace for trace in figure.data if trace.xaxis == "x4"]
    assert entropy[1].y == pytest.approx(two.history["steps"]["entropy"], rel=1e-6)


def test_a_branch_is_seen_where_others_cover_it():
    steps = {"loss_d": [1.0, 0.5], "loss_adv": [1.0, 0.5], "loss_asc": [3.0], "entropy": [1.0]}
    figure = overlay({"as it was": steps, "λ_adv = 0": steps, "λ_asc = 0": steps}, 1)
    for panel in range(4):
        first, second, third = figure.data[3 * panel : 3 * panel + 3]  # the later ones above
        assert first.name == "as it was"
        assert first.line.width >= 3 * second.line.width
        assert first.opacity < 1
        assert second.line.dash != third.line.dash
    assert figure.layout.legend.title.text.strip() == "wide band: as it was"
    alone = overlay({"as it was": steps}, 1)
    assert alone.data[0].line.width == second.line.width
    assert alone.layout.legend.title.text is None
    eleven = {f"branch {k}": steps for k in range(11)}
    assert {trace.name for trace in overlay(eleven, 1).data} == set(eleven)
