"""A thread that takes a loop's steps, so that the notebook stays free to be used.

It knows no widgets and no training: `steps` is any iterator.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

PATIENCE = 0.05  # seconds in which a change of the rate, or a pause, ends a wait


class Worker:
    """Takes the steps of an iterator in a thread of its own, until it is paused or they end.

    The thread lives no longer than there are steps to take: a worker that is paused, done or
    failed has none. Methods may be called from any thread.

    Args:
        steps: whose `next` is a step.
        after: called in the thread after every step, with what the step gave.
        finally_: called in the thread when it is about to end, for whatever reason.

    Attributes:
        rate: steps a second at most; None for as fast as they come.
        error: what ended the thread, if a step or a callback failed.
    """

    def __init__(
        self,
        steps: Iterator[Any],
        after: Callable[[Any], None],
        finally_: Callable[[], None],
    ) -> None:
        self.steps, self.after, self.finally_ = steps, after, finally_
        self.rate: float | None = None
        self.error: BaseException | None = None
        self._pause = threading.Event()
        self._lock = threading.Lock()  # two callbacks may come at once, from two threads
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether there is a thread, and it was not told to end."""
        return self._thread is not None and self._thread.is_alive() and not self._pause.is_set()

    def start(self, count: int | None = None) -> None:
        """Goes on for `count` steps, or until it is paused; does nothing while it runs."""
        with self._lock:
            if self.running:
                return
            self._join()
            self._pause.clear()
            self.error = None
            self._thread = threading.Thread(
                target=self._run, args=(count,), name="facog-training", daemon=True
            )
            self._thread.start()

    def pause(self, wait: bool = True) -> None:
        """Ends the thread after the present step; `wait` returns when it has ended."""
        if not wait or threading.current_thread() is self._thread:
            self._pause.set()
            return
        with self._lock:  # so that no start comes between the word and the end
            self._pause.set()
            self._join()

    def result(self) -> None:
        """Waits for the thread to end.

        Raises:
            BaseException: what ended it, if a step failed.
        """
        self._join()
        if self.error is not None:
            raise self.error

    def _join(self) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self, count: int | None) -> None:
        taken = 0
        try:
            while not self._pause.is_set() and (count is None or taken < count):
                began = time.monotonic()
                try:
                    step = next(self.steps)
                except StopIteration:
                    break
                taken += 1
                self.after(step)
                self._wait(began)
        except BaseException as error:  # shown by the panel, raised by result()
            self.error = error
        finally:
            self._pause.set()  # from here on it does not run, though it is alive for a moment
            try:
                self.finally_()
            except BaseException as error:
                self.error = self.error or error

    def _wait(self, began: float) -> None:
        while self.rate and not self._pause.is_set():
            left = began + 1 / self.rate - time.monotonic()
            if left <= 0:
                return
            self._pause.wait(min(left, PATIENCE))
