"""Progress of everything that takes over two seconds: a bar for a person, plain lines for a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Literal, Self

Live = Literal["auto", "on", "off"]

SECONDS_BEFORE_FIRST_LINE = 2.0
SECONDS_BETWEEN_LINES = 5.0  # and more in a long run: a fiftieth of the time that it took so far
SECONDS_BETWEEN_FIGURES = 0.2  # beside a bar


def is_live(live: Live = "auto") -> bool:
    """Whether a person at a notebook front end is looking on.

    A live front end allows the kernel to request input; papermill, nbconvert and nbmake do not.

    Args:
        live: "on" and "off" are the answer, "auto" asks the front end.
    """
    if live != "auto":
        return live == "on"
    ipython = sys.modules.get("IPython")  # not imported by us: the training core runs without it
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent("shell") or {}
    return bool(request.get("content", {}).get("allow_stdin"))


class Progress:
    """Progress of a loop: a tqdm bar in a notebook front end or a terminal, else plain lines.

    A log (papermill, CI, a file) gets one line every few seconds, without carriage returns, and
    one at the end.

    Args:
        total: how many units there are.
        label: the current task, e.g. ``"Phase 1, digits"``.
        unit: of the count, in the singular.
    """

    def __init__(self, total: int, label: str, unit: str = "step") -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = self.done_before = 0
        self.figures: dict[str, float] = {}
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._reported = self._started + SECONDS_BEFORE_FIRST_LINE - SECONDS_BETWEEN_LINES
        self._bar = self._make_bar()
        return self

    def resume(self, done: int) -> None:
        """Says how many units were done in an earlier session; they do not count as speed."""
        self.done = self.done_before = done
        if self._bar is not None:
            self._bar.initial = self._bar.n = done
            self._bar.refresh()

    def update(self, n: int = 1, **figures: float) -> None:
        """Counts `n` more units; `figures` are shown from now on, e.g. ``loss=0.31``."""
        self.done += n
        self.figures |= figures
        if self._bar is not None:
            self._bar.update(n)
        now = time.monotonic()
        wait = SECONDS_BETWEEN_FIGURES
        if self._bar is None:
            wait = max(SECONDS_BETWEEN_LINES, (now - self._started) / 50)
        if now - self._reported > wait and self.done < self.total:
            self._reported = now
            self._report()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.set_postfix(_rounded(self.figures))
            self._bar.close()
            return
        took = _clock(time.monotonic() - self._started)
        if kind is None and self.done >= self.total:
            counted = f"{self.total - self.done_before:,} {self.unit}s in {took}"
        else:
            counted = f"stopped at {self.unit} {self.done:,} of {self.total:,} after {took}"
        print(", ".join([f"{self.label}: {counted}", *_shown(self.figures)]), flush=True)

    def _make_bar(self) -> Any:
        if not is_live() and not (sys.stderr is not None and sys.stderr.isatty()):
            return None
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return None
        return tqdm(total=self.total, desc=self.label, unit=f" {self.unit}s")

    def _report(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix(_rounded(self.figures), refresh=False)
            return
        now_done = self.done - self.done_before
        left = (time.monotonic() - self._started) * (self.total - self.done) / max(1, now_done)
        counted = f"{self.done:,}/{self.total:,} {self.unit}s ({self.done / self.total:.0%})"
        parts = [f"{self.label}: {counted}", *_shown(self.figures), f"{_clock(left)} left"]
        print(", ".join(parts), flush=True)


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: ``2:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _rounded(figures: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in figures.items()}


def _shown(figures: dict[str, float]) -> list[str]:
    return [f"{name} {value}" for name, value in _rounded(figures).items()]
