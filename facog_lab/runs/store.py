"""A run's folder: config, state, history, manifest; written atomically, checked when read.

A run lies in ``outputs/<data set>/<stage>/<key>/``. A save writes the state and the history under
new names and then replaces ``manifest.json``, which holds size and SHA-256 of every file: the
manifest is the moment of the save, so a run cut off while saving still has its last whole state.
``previous.json`` is the manifest before that one, whose state is used, with a warning, where the
last is damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from filelock import FileLock, Timeout
from torch import Tensor

from facog_lab.config import Config, digest
from facog_lab.paths import (
    DamagedError,
    StoreError,
    check_place,
    explain_oserror,
    outputs_root,
    write,
)
from facog_lab.runs import mmap
from facog_lab.runs.environment import environment
from facog_lab.runs.manifest import (
    FORMAT,
    History,
    RunWarning,
    Saved,
    as_json,
    checked,
    differences,
    facts_of,
    read_history,
    read_manifest,
    warn,
)

__all__ = ["DamagedError", "Run", "RunWarning", "Saved", "StoreError", "run_key"]

MANIFEST, PREVIOUS = "manifest.json", "previous.json"
RESERVED = ".state.part"  # the state that is being filled


def run_key(config: Config, upstream: str) -> str:
    """A short name for a stage's run: a hash of its config and of what it is built on."""
    return digest(FORMAT, config.model_dump(mode="json"), upstream)[:12]


class Run:
    """One stage's folder.

    Args:
        dataset: the data set's name; characters that do not suit a file name are replaced.
        stage: "phase1", "dictionary", "phase2" or "head".
        config: the stage's settings.
        upstream: the key of the run it is built on, or the data's fingerprint.
        name: of the folder, where the settings do not say all about the run; its key when None.
    """

    def __init__(
        self, dataset: str, stage: str, config: Config, upstream: str, name: str | None = None
    ) -> None:
        self.stage, self.config, self.upstream = stage, config, upstream
        self.key = run_key(config, upstream)
        safe_name = re.sub(r"[^\w.-]+", "-", dataset).strip("-.") or "data"
        self.folder = outputs_root() / safe_name / stage / (name or self.key)
        self._fell_back = False  # the manifest's state is known to be damaged

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """Held by the one process that makes this run; others wait for it to end.

        The system takes the lock from a process that dies. One process may hold it twice, so that
        a notebook never waits for itself.

        Raises:
            StoreError: if nothing can be written there.
        """
        check_place(self.folder)
        with explain_oserror(self.folder):
            locks = outputs_root() / ".locks"  # not in the folder, which people may remove
            locks.mkdir(parents=True, exist_ok=True)
            name = "-".join([*self.folder.parts[-3:], "lock"])
            lock = FileLock(locks / name, is_singleton=True, thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print(f"{self.folder} is being made elsewhere: waiting for it", flush=True)
                lock.acquire(poll_interval=0.2)
        try:
            yield
        finally:
            lock.release()

    def save(
        self, tensors: Mapping[str, Tensor], history: History, record: dict[str, Any], done: bool
    ) -> None:
        """Writes a state, so that `load` gives it back; the one before the last is then removed.

        Args:
            tensors: the state, by name.
            history: columns of numbers, texts and None.
            record: what to say about the run, as JSON values.
            done: False for a state to resume from.

        Raises:
            StoreError: if a tensor holds NaN or infinity, or something cannot be written, for
                instance on a full disk. What was saved before is still there, and nothing else.
        """
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise StoreError(f"{self.folder}: not saved, {name} holds NaN or infinity.")
        state = safetensors.torch.save({k: v.contiguous().cpu() for k, v in tensors.items()})
        self._commit(f"state-{_short_hash(state)}.safetensors", state, history, record, done)

    @contextlib.contextmanager
    def reserve(self, shapes: mmap.Shapes) -> Iterator[None]:
        """Inside there is room for a state too large for memory, or made by several processes.

        Afterwards the room is given back, unless `save_reserved` made it the run's state.

        Args:
            shapes: of its tensors; `reserved` has them.

        Raises:
            StoreError: if there is none.
        """
        size = sum(math.prod(shape) * dtype.itemsize for dtype, shape in shapes.values())
        try:
            with explain_oserror(self.folder, size):
                self.folder.mkdir(parents=True, exist_ok=True)
                mmap.create(self.folder / RESERVED, shapes)
            yield
        finally:
            (self.folder / RESERVED).unlink(missing_ok=True)

    def reserved(self) -> dict[str, Tensor]:
        """The tensors there is room for, mapped: to fill them is to write the file."""
        return mmap.read(self.folder / RESERVED, write=True).tensors

    def save_reserved(self, record: dict[str, Any]) -> None:
        """Commits the reserved, filled file as the complete state of this run.

        Raises:
            StoreError: see `save`.
        """
        with (self.folder / RESERVED).open("rb") as file:
            os.fsync(file.fileno())
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"state-{sha256[:12]}.safetensors"
        self._commit(name, self.folder / RESERVED, {}, record, True)

    def _commit(
        self, name: str, state: bytes | Path, history: History, record: dict[str, Any], done: bool
    ) -> None:
        """Writes all files of a state, the manifest last, and removes older ones."""
        written = as_json(history)
        parts = {
            "config.json": as_json(self.config.model_dump(mode="json")),
            name: state,
            f"history-{_short_hash(written)}.json": written,
        }
        size = sum(len(part) for part in parts.values() if isinstance(part, bytes))
        try:
            with explain_oserror(self.folder, size):
                self.folder.mkdir(parents=True, exist_ok=True)
                for name, content in parts.items():
                    if isinstance(content, Path):
                        content.replace(self.folder / name)
                    else:
                        write(self.folder / name, content)
                manifest = {
                    "format": FORMAT,
                    "stage": self.stage,
                    "key": self.key,
                    "upstream": self.upstream,
                    "complete": done,
                    "record": record | {"environment": environment()},
                    "files": {
                        name: facts_of(self.folder / name, content)
                        for name, content in parts.items()
                    },
                }
                path = self.folder / MANIFEST
                if path.exists() and not self._fell_back:
                    write(self.folder / PREVIOUS, path.read_bytes())
                write(path, as_json(manifest | {"digest": digest(manifest)}))
                self._fell_back = False
        finally:
            self._clean()

    def load(self) -> Saved | None:
        """The last complete state, or None if there is none.

        Where that is damaged, the state before it, with a RunWarning that names the file.

        Raises:
            StoreError: naming the file, if there is no whole state, or the run is another one.
        """
        damage: DamagedError | None = None
        before = self._saved_at()
        for name in (MANIFEST, PREVIOUS):
            if not (self.folder / name).exists():
                continue
            try:
                saved = self._read(self.folder / name)
            except DamagedError as error:
                if self._saved_at() != before:  # another process has saved and tidied up meanwhile
                    return self.load()
                damage = damage or error
                continue
            if name == PREVIOUS:
                damage = damage or DamagedError(self.folder / MANIFEST, "is missing")
                warn(f"{damage.damage}. The state saved before it is used.")
                self._fell_back = True
            return saved
        if damage:
            raise damage
        return None

    def _saved_at(self) -> tuple[int, int] | None:
        try:
            found = (self.folder / MANIFEST).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def load_or_warn(self) -> Saved | None:
        """`load`, for runs that take seconds: None, with a RunWarning, if it is damaged."""
        try:
            return self.load()
        except DamagedError as error:
            warn(f"{error.damage}. It is made again.")
            self._fell_back = True
            return None

    def _read(self, path: Path) -> Saved:
        manifest = read_manifest(path)
        if manifest["key"] != self.key:
            raise StoreError(
                f"{path} is of another run: {differences(manifest, self)}. Remove the folder to "
                "make the run again."
            )
        kinds = {}
        for name, facts in manifest["files"].items():
            try:
                kinds[name.split("-")[0]] = checked(self.folder / name, facts)
            except DamagedError as error:
                if name != "config.json":
                    raise
                warn(f"{error.damage}. It is written again: the run's settings are known.")
                with contextlib.suppress(OSError):  # nor is it read by anything
                    write(self.folder / name, as_json(self.config.model_dump(mode="json")))
        state = mmap.read(kinds["state"])
        return Saved(
            tensors=state.tensors,
            release=state.release,
            history=read_history(kinds["history"]),
            record=manifest["record"],
            complete=manifest["complete"],
        )

    def _clean(self) -> None:
        """Removes what no manifest names: older states, and parts of an interrupted save."""
        keep: set[str] = set()
        for name in (MANIFEST, PREVIOUS):
            if (self.folder / name).exists():
                try:
                    keep |= read_manifest(self.folder / name)["files"].keys()
                except StoreError:
                    if name == MANIFEST:  # whose files nobody knows
                        return
                    with contextlib.suppress(OSError):
                        (self.folder / name).unlink()
        with contextlib.suppress(OSError):  # the next save does it
            for path in self.folder.iterdir():
                if path.name not in keep and re.match(
                    r"(state|history)-\w+\.\w+$|\..*\.part$", path.name
                ):
                    path.unlink(missing_ok=True)


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
