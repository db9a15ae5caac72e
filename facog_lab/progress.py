"""Progress of anything that takes over two seconds: a bar for people, plain lines for logs."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

SECONDS_BETWEEN_LINES = 5.0


def is_live() -> bool:
    """Whether a notebook's front end with a person before it runs this kernel.

    Such a front end allows input in its execute requests; papermill and nbconvert do not.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent("shell")
    return bool(request.get("content", {}).get("allow_stdin", False))


class Progress:
    """Counts towards a total: tqdm's bar in a live notebook or a terminal, else a line now and then.

    Args:
        total: how many units there are.
        label: what is being done.
        unit: of what.
    """

    def __init__(self, total: int, label: str, unit: str = "it") -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = self.done_before = 0
        self.started = self.printed = time.monotonic()
        self.figures: dict[str, float] = {}
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if is_live() or sys.stderr.isatty():
            try:
                from tqdm.auto import tqdm
            except ImportError:  # the training core runs without it
                return self
            self.bar = tqdm(total=self.total, desc=self.label, unit=self.unit, mininterval=0.3)
        return self

    def update(self, n: int = 1, **figures: float) -> None:
        """Counts n more; figures are shown beside the count."""
        self.done += n
        self.figures |= figures
        if self.bar is not None:
            self.bar.update(n)
            if figures:
                self.bar.set_postfix_str(self._shown())
        elif time.monotonic() - self.printed > SECONDS_BETWEEN_LINES:
            self._print()

    def resume(self, done: int) -> None:
        """Says that this much was done in an earlier session."""
        self.done = self.done_before = done
        if self.bar is not None:
            self.bar.update(done)
            self.bar.unpause()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is None and time.monotonic() - self.started > 2:
            self._print()

    def _print(self) -> None:
        self.printed = time.monotonic()
        spent = self.printed - self.started
        rate = (self.done - self.done_before) / spent
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
        shown = f"  {self._shown()}" if self.figures else ""
        print(
            f"{self.label}: {self.done:,} of {self.total:,} {self.unit}s, {spent:.0f} s{left}{shown}",
            flush=True,
        )

    def _shown(self) -> str:
        return " ".join(f"{name}={value:.3g}" for name, value in self.figures.items())
