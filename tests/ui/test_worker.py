import itertools
import threading
import time

import pytest

from facog_lab.ui.worker import Worker


class Steps:
    """An iterator that counts, and fails where it is told to."""

    def __init__(self, last=10**9, fails_at=None):
        self.taken, self.last, self.fails_at = 0, last, fails_at

    def __iter__(self):
        return self

    def __next__(self):
        if self.taken == self.last:
            raise StopIteration
        self.taken += 1
        time.sleep(0.001)
        if self.taken == self.fails_at:
            raise RuntimeError(f"step {self.taken}")
        return self.taken


def training_threads():
    return [t for t in threading.enumerate() if t.name == "facog-training"]


def until(holds, seconds=5.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def made():
    """Makes workers and lists what they were told; none outlives its test."""
    workers = []

    def make(steps, after=lambda step: None):
        ends = []
        worker = Worker(steps, after, lambda: ends.append(worker.running))
        workers.append(worker)
        return worker, ends

    yield make
    for worker in workers:
        worker.pause()
    assert training_threads() == []


def test_it_runs_until_it_is_paused_and_goes_on(made):
    steps, seen = Steps(), []
    worker, ends = made(steps, seen.append)
    assert not worker.running
    for _ in range(3):
        before = steps.taken
        worker.start()
        until(lambda before=before: steps.taken > before + 3)
        assert worker.running
        assert len(training_threads()) == 1
        worker.pause()
        assert training_threads() == []
        paused_at = steps.taken
        time.sleep(0.02)
        assert steps.taken == paused_at
    assert seen == list(range(1, steps.taken + 1))
    assert ends == [False] * 3


def test_single_steps_and_starts_while_it_runs(made):
    steps = Steps()
    worker, _ = made(steps)
    for count in (1, 1, 5):
        before = steps.taken
        worker.start(count)
        worker.result()
        assert steps.taken == before + count
    worker.start()
    for _ in range(20):
        worker.start()
    assert len(training_threads()) == 1


def test_it_ends_with_the_steps(made):
    worker, ends = made(Steps(last=7))
    worker.start()
    worker.result()
    assert not worker.running
    worker.start()  # nothing is left
    worker.result()
    assert ends == [False, False]


@pytest.mark.parametrize("where", ["step", "after"])
def test_an_error_ends_the_thread_and_is_raised_by_result(made, where):
    def fail(step):
        if where == "after" and step == 4:
            raise RuntimeError("step 4")

    worker, ends = made(Steps(fails_at=4 if where == "step" else None), fail)
    worker.start()
    with pytest.raises(RuntimeError, match="step 4"):
        worker.result()
    assert ends == [False]
    worker.start(1)  # a new start forgets it
    worker.result()
    assert worker.error is None


def test_an_error_at_the_end_does_not_hide_the_one_before():
    def fail():
        raise OSError("full")

    worker = Worker(Steps(fails_at=1), lambda step: None, fail)
    worker.start()
    with pytest.raises(RuntimeError, match="step 1"):
        worker.result()
    worker = Worker(Steps(last=1), lambda step: None, fail)
    worker.start()
    with pytest.raises(OSError, match="full"):
        worker.result()


def test_a_speed_limit_holds_and_neither_it_nor_a_pause_keeps_one_waiting(made):
    steps = Steps()
    worker, _ = made(steps)
    worker.rate = 50
    began = time.monotonic()
    worker.start(10)
    worker.result()
    assert time.monotonic() - began >= 10 / 50 * 0.95
    worker.rate = 0.01  # a step in 100 seconds
    before = steps.taken
    worker.start()
    until(lambda: steps.taken == before + 1)
    began = time.monotonic()
    worker.rate = None  # the wait ends
    until(lambda: steps.taken > before + 3)
    worker.rate = 0.01
    time.sleep(0.02)
    worker.pause()
    assert time.monotonic() - began < 5


def test_a_pause_from_its_own_thread_does_not_wait_for_itself(made):
    steps = Steps()
    worker, _ = made(steps, lambda step: worker.pause() if step == 3 else None)
    worker.start()
    worker.result()
    assert steps.taken == 3


def test_many_hands_at_once_leave_one_thread_at_most(made):
    steps = Steps()
    worker, _ = made(steps)
    acts = itertools.cycle([worker.start, worker.pause, lambda: worker.start(2), worker.start])
    hands = [threading.Thread(target=act) for act, _ in zip(acts, range(60), strict=False)]
    for hand in hands:
        hand.start()
        assert len(training_threads()) <= 1
    for hand in hands:
        hand.join(5)
    assert not any(hand.is_alive() for hand in hands)
