"""The files of a run's folder other than tensors: manifest and history, read and validated.

Hashes find damage. They do not find forgery, since whoever sends a folder can write them: so what a
file holds is looked at as well before anything is made of it.
"""

from __future__ import annotations

import hashlib
import json
import stat
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from facog_lab.config import digest
from facog_lab.metrics import History
from facog_lab.paths import DamagedError, StoreError
from facog_lab.runs.environment import environment
from facog_lab.runs.mmap import LARGE

FORMAT = 1
CELLS = {int, float, str, bool, type(None)}


class RunWarning(UserWarning):
    """A run is used although something of it is damaged, or was made elsewhere."""


@dataclass
class Saved:
    """What a run's folder holds.

    Attributes:
        tensors: the state, by name.
        history: columns of figures, one table a kind of row.
        record: what was recorded about the run: config, versions, hardware, metrics, seconds.
        complete: False if the run was cut off and can be resumed.
        release: see mapped.Mapped.
    """

    tensors: dict[str, Tensor]
    history: History
    record: dict[str, Any]
    complete: bool
    release: Callable[[], None]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _File(_Strict):
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    mtime_ns: int | None = None


class _Record(_Strict):
    environment: dict[str, Any]


class _Manifest(_Strict):
    """What a manifest of this format is made of."""

    stage: str
    key: str
    upstream: str
    complete: bool
    record: _Record
    files: dict[str, _File]


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest.

    Raises:
        DamagedError: naming the file, if it cannot be read, was changed since it was written, or is
            no manifest.
        StoreError: if it is one of another format, or names files outside its folder.
    """
    try:
        manifest = json.loads(content := read_file(path))
        whole = content == as_json(manifest) and manifest.pop("digest") == digest(manifest)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise DamagedError(path, "is damaged")
    if manifest.get("format") != FORMAT:
        raise StoreError(
            f"{path} is of another run: format {manifest.get('format')!r}, here {FORMAT}. Remove "
            "the folder to make the run again."
        )
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        (first, *_) = error.errors()
        place = ".".join(map(str, first["loc"]))
        raise DamagedError(path, f"is no manifest ({place}: {first['msg']})") from None
    for name in manifest["files"]:
        if Path(name).name != name:
            raise StoreError(f"{path} names a file outside its folder, {name!r}. Remove it.")
    kinds = sorted(name.split("-")[0] for name in manifest["files"])
    if kinds != ["config.json", "history", "state"]:
        raise DamagedError(path, f"is no manifest (it names {', '.join(manifest['files'])})")
    return manifest


def read_history(path: Path) -> History:
    """The tables of a history, whose columns are of one length and hold numbers, texts and None.

    Raises:
        DamagedError: naming the file, if it holds anything else.
    """
    try:
        tables = json.loads(read_file(path))
        for columns in tables.values():
            if len(set(map(len, columns.values()))) > 1:
                raise ValueError("its columns are of several lengths")
            for column in columns.values():
                if not isinstance(column, list) or not set(map(type, column)) <= CELLS:
                    raise ValueError("its columns hold other things than numbers and texts")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(path, f"is no history ({error})") from None
    history: History = tables
    return history


def read_file(path: Path) -> bytes:
    """A file, and not what waits or never ends, as a pipe or a device does.

    Raises:
        DamagedError: naming it, if it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise DamagedError(path, "is no file")
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(path, f"cannot be read ({error.strerror})") from error


def as_json(value: Any) -> bytes:
    """JSON that is the same for the same value."""
    return json.dumps(value, indent=1, sort_keys=True).encode()


def facts_of(path: Path, content: bytes | Path) -> dict[str, Any]:
    """What a manifest says of a file whose content, or what is there already, is this."""
    if isinstance(content, Path):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        sha256 = hashlib.sha256(content).hexdigest()
    found = path.stat()
    return {"bytes": found.st_size, "sha256": sha256, "mtime_ns": found.st_mtime_ns}


def checked(path: Path, facts: dict[str, Any]) -> Path:
    """A file that is as a manifest says.

    Raises:
        DamagedError: if it is not.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            raise DamagedError(path, "is no file")
        # A large file that was not written since is not hashed again: that takes seconds.
        unchanged = found.st_mtime_ns == facts.get("mtime_ns")
        if facts["bytes"] == found.st_size > LARGE and unchanged:
            return path
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedError(path, f"cannot be read ({error.strerror})") from error
    if path.stat().st_size != facts["bytes"] or sha256 != facts["sha256"]:
        raise DamagedError(path, "is damaged: its content is not what the manifest says")
    return path


def differences(manifest: Mapping[str, Any], run: Any) -> str:
    """What of a manifest is not a `store.Run`'s, in words."""
    found = [
        f"{name} {manifest.get(name)!r}, here {own!r}"
        for name, own in (("stage", run.stage), ("upstream", run.upstream))
        if manifest.get(name) != own
    ]
    try:
        theirs = dict(json.loads(read_file(run.folder / "config.json")))
    except (StoreError, ValueError, TypeError, RecursionError):
        theirs = {}
    ours = run.config.model_dump(mode="json")
    found += [
        f"{name} = {theirs.get(name)!r}, here {ours.get(name)!r}"
        for name in sorted(theirs.keys() | ours.keys() if theirs else ())
        if theirs.get(name) != ours.get(name)
    ]
    return "; ".join(found) or f"key {manifest['key']}, here {run.key}"


def warn(message: str) -> None:
    """A run is used, or made again, although part of it is damaged or differs."""
    warnings.warn(message, RunWarning, stacklevel=3)


def warn_of_another_machine(folder: Path, record: Mapping[str, Any]) -> None:
    """Warns of what differs when an interrupted run resumes, if its bytes may depend on it."""
    then, now = record["environment"], environment()
    then, now = (
        {**e, **e.get("versions", {}), "versions": None, "cores": None} for e in (then, now)
    )
    if differing := [f"{k} {then.get(k)}, here {now[k]}" for k in now if then.get(k) != now[k]]:
        warn(
            f"{folder} was begun in another environment: {'; '.join(differing)}. "
            "Its last digits may differ from those of a run made in one environment."
        )
