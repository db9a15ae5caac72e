"""What a notebook shows while it runs: live figures, and the panel that steers phase 2.

**How the panel keeps answering.** Training runs in a daemon thread (`worker.Worker`), and the
kernel's own threads stay free for the messages of the controls. A cell that trains itself, or
awaits, gets no message of a slider under ipykernel 6 and 7.4; a thread gets all of them under every
version. So:

* a callback of a control writes controls and tells the worker to start or to end, no more; it may
  run on the kernel's main thread or, from ipykernel 7 on, on a subshell's;
* while there is a thread, it alone writes the charts and the texts;
* the thread ends with a pause, the last step, an error, and when the page is closed
  (`heartbeat.Heartbeat`); a cell that is run again first ends the thread of the panel before.
  Kernel → Interrupt does not reach it;
* without a front end (papermill, nbconvert) there is neither widget nor thread: `phase2` trains in
  the cell.

**Elsewhere.** VS Code shows ipywidgets and anywidget, and allows the kernel to ask for input, so it
counts as live; its page is gone when the editor is closed. Notebook 7 is JupyterLab's. Older front
ends that lack anywidget show an error in the figure's place: there, set `live` to "off". While
another cell keeps an ipykernel 6 busy the controls wait for it; the training goes on.
"""

from __future__ import annotations

import html
import threading
import time
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from facog_lab.config import ConfigError
from facog_lab.metrics import Step
from facog_lab.names import label, value_label
from facog_lab.phase2 import score
from facog_lab.plots.loss_terms import phase2_terms
from facog_lab.plots.training_charts import Dashboard
from facog_lab.runs import replay
from facog_lab.runs.progress import Live, is_live
from facog_lab.runs.stages import Lab
from facog_lab.ui.heartbeat import Heartbeat
from facog_lab.ui.inputs import knobs
from facog_lab.ui.live_figure import LiveFigure, Place, live_widget
from facog_lab.ui.resize_observer import ResizeObserver
from facog_lab.ui.sliders import Sliders
from facog_lab.ui.worker import Worker

__all__ = ["LiveFigure", "Phase2Panel", "phase2"]

CHANGES = 6  # of the controls that are listed, the last ones
LINES = "margin:2px 0;line-height:1.3"
REDRAW = 0.23  # seconds between two drawings of the charts at least
READ = 1.0  # seconds between two changes of the texts, of recall and of the map
SHARE = 0.1  # of the time at most that drawing takes; then it is drawn less often
TERMS = 4.0  # seconds between two looks at every loss term, its gradient, and figures in words
SPEEDS = {"as fast as it can": 0.0, "1 step/s": 1.0, "3 steps/s": 3.0, "10 steps/s": 10.0,
          "30 steps/s": 30.0}  # fmt: skip


def phase2(lab: Lab, live: Live = "auto") -> Any:
    """Phase 2, interactive in a live front end, and run to its end without one.

    Args:
        lab: the experiment; what is upstream of phase 2 is made if need be.
        live: whether a live front end shows it, see progress.is_live.

    Returns:
        A Phase2Panel, or the finished training.Training; both have `loop` and `history`.
    """
    if is_live(live):
        return Phase2Panel(lab)
    training = lab.phase2
    training.finish()
    before = score(lab.model.classifier, lab.dictionary)
    display(Dashboard(training.loop, before).figure())
    display(phase2_terms(training.loop))
    return training


class Phase2Panel:
    """Phase 2 with controls: Start, Pause, Step, Reset, and all that Controls hold.

    There is one in a kernel: a new one closes the one before.

    Args:
        lab: the experiment; what is upstream of phase 2 is made if need be.

    Attributes:
        run: the steered run.
        worker: the thread that takes its steps.
        knobs: the controls, by field of Controls.
        buttons: "Start", "Pause", "Step" and "Reset".
        speed: the list of speed limits.
        chart: the figure of what has a time axis.
        board: the figure of recall and map, drawn less often.
        redraws: how often the chart was drawn.
    """

    _shown: Phase2Panel | None = None

    def __init__(self, lab: Lab) -> None:
        if Phase2Panel._shown is not None:
            Phase2Panel._shown.close()
        self.run = replay.Steered(lab)
        self.worker = Worker(self.run, self._after, self._ended)
        self.heartbeat = Heartbeat()
        self.redraws = 0
        self._lock = threading.RLock()  # callbacks may come from two threads at once
        self.knobs = knobs(self.run.loop, self._set)
        actions = (
            ("Start", "play", "go on, step after step", self.start),
            ("Pause", "pause", "stop after the present step", self.pause),
            ("Step", "step-forward", "take one step", self.step),
            ("Reset", "undo", "back to before the first step, everything as at first", self.reset),
        )
        self.buttons = {}
        for name, icon, tooltip, act in actions:
            self.buttons[name] = widgets.Button(description=name, icon=icon, tooltip=tooltip)
            self.buttons[name].layout = widgets.Layout(width="71px", padding="0")
            self.buttons[name].on_click(lambda _, act=act: act())
        self.speed = widgets.Dropdown(options=SPEEDS, description="Speed limit")
        self.speed.style.description_width, self.speed.layout.width = "98px", "290px"
        self.speed.observe(self._set_rate, "value")
        self.state, self.where, self.message = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.words, self.terms = widgets.HTML(), widgets.HTML()
        self.dashboard = Dashboard(self.run.loop, self.run.phase1_scores)
        from facog_lab.ui.live_scatter import MovingFigure  # seconds to import

        chart, board = self.dashboard.halves()
        self.chart = MovingFigure(chart)
        self.board = live_widget(board)
        self._restart()
        self.box = self._arranged()
        self.place = Place()
        self.place.show(self.box)
        Phase2Panel._shown = self  # whole, so that it can be closed

    @property
    def loop(self) -> Any:
        """The loop of phase 2."""
        return self.run.loop

    @property
    def history(self) -> dict[str, dict[str, list[Any]]]:
        """The loop's history."""
        return self.run.loop.history

    def start(self) -> None:
        """Goes on until it is paused, in the background."""
        self._begin()
        self.worker.start()

    def pause(self) -> None:
        """Stops after the present step, and keeps what there is if a control was changed."""
        self.worker.pause(wait=False)

    def step(self) -> None:
        """Takes one step, after a pause if need be."""
        self.worker.pause()
        self._begin()
        self.worker.start(count=1)

    def reset(self) -> None:
        """Back to before the first step, with the controls of the parameters."""
        self.worker.pause()
        self.run.reset()
        self.dashboard.follow(self.run.loop)
        self._restart()

    def result(self) -> Any:
        """The loop, as soon as the training has ended.

        Raises:
            BaseException: what ended it, if a step failed.
        """
        self.worker.result()
        return self.run.loop

    def close(self) -> None:
        """Ends the training and puts a plain figure of the last state in the panel's place."""
        self.worker.pause()
        self.place.show_plain(self.dashboard.figure())
        self.box.close_all()
        Phase2Panel._shown = None

    def _set(self, field: str, value: Any) -> None:
        """The user has changed a control: the next step reads it."""
        with self._lock:
            try:
                self.run.loop.controls = self.run.loop.controls.replace(**{field: value})
                self.message.value = ""
            except ConfigError as error:
                self.message.value = _marked(f"Not changed. {error}")
            self.knobs[field].show(getattr(self.run.loop.controls, field))

    def _begin(self) -> None:
        """Before a thread starts: what was is no longer said, and the clock of the rate is set."""
        self._reason, self._read = "", 0.0
        self._counted = (time.monotonic(), self.run.loop.step)

    def _set_rate(self, event: Any) -> None:
        self.worker.rate = event.new or None

    def _restart(self) -> None:
        """Shows a run before its first step; there is no thread."""
        for field, knob in self.knobs.items():
            knob.show(getattr(self.run.loop.controls, field))
        self._reason = "Press Start."
        self._next, self._looked, self._read = 0.0, 0.0, 0.0
        self._counted = (time.monotonic(), 0)
        self._draw(time.monotonic(), everything=True)

    def _after(self, step: Step) -> None:
        """After every step, in the thread."""
        now = time.monotonic()
        if now >= self._next:
            self._draw(now)
            took = time.monotonic() - now
            self._next = now + max(REDRAW, took / SHARE)
        if self.heartbeat.gone():
            self._reason = "Paused: its page was closed. Press Start to go on."
            self.worker.pause(wait=False)

    def _ended(self) -> None:
        """Before the thread ends, in the thread."""
        loop = self.run.loop
        if self.worker.error is not None:
            self._reason = f"Stopped: {self.worker.error}"
        elif loop.step == loop.total_steps:
            self._reason = "Done."
        elif not self._reason:
            self._reason = "Paused."
        try:
            if self.worker.error is None:
                self.run.save()
        except (OSError, RuntimeError) as error:  # a full disk is no reason to lose what is here
            self._reason += f" Not kept: {error}"
        self._say(time.monotonic())  # whatever may fail in the drawing
        self._draw(time.monotonic(), everything=True)

    def _draw(self, now: float, everything: bool = False) -> None:
        """Charts, and less often the texts, up to date."""
        self.dashboard.update(self.chart)
        self.redraws += 1
        if everything or now >= self._read:
            self._read = now + READ
            self._say(now)
            self.dashboard.update(self.board)
            self.words.value = self._words()
        if everything or now - self._looked > TERMS:
            self.terms.value = phase2_terms(self.run.loop)._repr_html_()
            self.chart.describe()
            self.board.describe()
            self._looked = now

    def _say(self, now: float) -> None:
        """Where the run is; the state alone, which changes seldom, is for screen readers."""
        loop, (then, before) = self.run.loop, self._counted
        running = self.worker.running and not self._reason
        state = html.escape("Running" if running else self._reason)
        self.state.value = f'<b role="status">{state}</b>'
        epoch = f"epoch {loop.step // loop.steps_per_epoch:,} of {loop.config.epochs:,}"
        lines = [f"step {loop.step:,} of {loop.total_steps:,}, {epoch}"]
        if running and now - then > REDRAW:  # less is no measure
            lines.append(f"{(loop.step - before) / (now - then):,.0f} steps/s")
        if self.run.folder:
            lines.append("kept in " + html.escape("/".join(self.run.folder.parts[-3:])))
        self.where.value = f'<div style="{LINES}">{"<br>".join(lines)}</div>'
        self._counted = (now, loop.step)

    def _words(self) -> str:
        """Alarms, and the changes that are marked in the charts."""
        alarms = "".join(f"<li>⚠ {html.escape(text)}</li>" for text in self.dashboard.alarms)
        changes = "".join(
            f"<li value={number}>step {change.step:,}: {label(change.control)} "
            f"{value_label(change.control, change.old)} → "
            f"{value_label(change.control, change.new)}</li>"
            for number, change in list(enumerate(self.dashboard.changes, 1))[-CHANGES:]
        )
        return (
            f'<ul style="{LINES};list-style:none;padding:0">{alarms}</ul>'
            f'<ol style="{LINES};padding-left:2em">{changes}</ol>'
        )

    def _arranged(self) -> widgets.VBox:
        status = [self.state, self.where, self.message, self.speed]
        left = [widgets.HBox([*self.buttons.values()]), *status, *self.knobs.values(), self.words]
        unseen = [self.heartbeat, Sliders()]
        column = widgets.VBox([*left, *unseen], layout={"width": "300px", "flex": "0 0 auto"})
        wide = {"flex": "1 1 400px", "min_width": "400px"}  # on a narrow page below the controls
        chart = widgets.VBox([ResizeObserver(), self.chart, self.board], layout=wide)
        both = widgets.HBox([column, chart], layout={"flex_flow": "row wrap"})
        return widgets.VBox([both, self.terms])


def _marked(text: str) -> str:
    return f'<div role="alert" style="{LINES}">⚠ {html.escape(text)}</div>'
