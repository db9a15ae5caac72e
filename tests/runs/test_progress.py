import io
import sys
from types import SimpleNamespace

import pytest

from facog_lab.runs import progress
from facog_lab.runs.progress import Progress, is_live


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when it is told to."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def terminal(monkeypatch):
    """What is written to a terminal's standard error from now on."""
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", written)  # in the test itself: pytest sets it before
    return written


def front_end(monkeypatch, allow_stdin):
    request = {"content": {"allow_stdin": allow_stdin}}
    kernel = SimpleNamespace(get_parent=lambda channel: request)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=kernel))


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(clock, capsys):
    with Progress(100, "Phase 1, digits") as p:
        for step in range(100):
            clock.seconds += 0.3
            p.update(1, loss=1 / (step + 1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Phase 1, digits: 7/100 steps (7%), loss 0.1429, 0:28 left"
    assert lines[1] == "Phase 1, digits: 24/100 steps (24%), loss 0.04167, 0:23 left"
    assert lines[-1] == "Phase 1, digits: 100 steps in 0:30, loss 0.01"
    assert len(lines) == 7
    assert not any("\r" in line for line in lines)


def test_a_short_loop_is_one_line(clock, capsys):
    with Progress(3, "Dictionary", unit="image") as p:
        p.update(3)
    assert capsys.readouterr().out == "Dictionary: 3 images in 0:00\n"


def test_a_long_run_does_not_flood_its_log(clock, capsys):
    with Progress(36_000, "Phase 1") as p:
        for _ in range(36_000):
            clock.seconds += 1
            p.update()
    lines = capsys.readouterr().out.splitlines()
    assert 200 < len(lines) < 400
    assert "0:00 left" not in lines[0]
    assert lines[-1] == "Phase 1: 36,000 steps in 10:00:00"


def test_what_was_done_before_is_no_speed(clock, capsys):
    with Progress(100, "Phase 1") as p:
        p.resume(50)
        clock.seconds += 10
        p.update(10)
        clock.seconds += 40
        p.update(40)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["Phase 1: 60/100 steps (60%), 0:40 left", "Phase 1: 50 steps in 0:50"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, ValueError])
def test_a_loop_that_was_cut_off_says_so(clock, capsys, error):
    p = Progress(10, "Phase 1")
    p.__enter__()
    p.update(4)
    clock.seconds += 1
    p.__exit__(error, error(), None)
    assert capsys.readouterr().out == "Phase 1: stopped at step 4 of 10 after 0:01\n"


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    written = terminal(monkeypatch)
    with Progress(4, "Phase 1") as p:
        p.resume(1)
        for _ in range(3):
            p.update(1, loss=0.25)
    assert "Phase 1: 100%" in written.getvalue()
    assert "4/4" in written.getvalue()
    assert "loss=0.25" in written.getvalue()
    assert capsys.readouterr().out == ""


def test_without_tqdm_there_are_lines(monkeypatch, capsys):
    terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with Progress(4, "Phase 1") as p:
        p.update(4)
    assert capsys.readouterr().out == "Phase 1: 4 steps in 0:00\n"


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_a_front_end_may_ask_for_input(monkeypatch, allow_stdin):
    assert not is_live()
    front_end(monkeypatch, allow_stdin)
    assert is_live() is allow_stdin


def test_nobody_looks_at_a_plain_process(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not is_live()
