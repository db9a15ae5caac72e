"""The files of a run's folder other than tensors: manifest and history, read and validated.

Hashes find damage. They do not find forgery, since whoever sends a folder can write them: so what a
file holds is looked at as well before anything is made of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facog_lab.config import digest
from facog_lab.metrics import History
from facog_lab.paths import DamagedError, StoreError

FORMAT = 1
CELLS = {int, float, str, bool, type(None)}


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
