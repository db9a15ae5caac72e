"""The points of a sweep: a notebook with one choice of its parameters each, and what came of it.

A point lies in ``outputs/sweeps/<notebook>/<key>/``: ``row.json``, written at its end, and
``executed.ipynb``. The key is a hash of the notebook's code, of all its parameters, of the data
that they name, and of the lab's version: a point that was made once is known again, by whatever
sweep asks for it, and one whose images were changed is another.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import os
import typing
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from facog_lab import __version__
from facog_lab.config import ConfigError, DataError, digest, unknown
from facog_lab.data.load import fingerprint
from facog_lab.paths import (
    DamagedError,
    StoreError,
    explain_oserror,
    locked,
    outputs_root,
    project_root,
    shortened,
    write,
)
from facog_lab.runs.manifest import read_file
from facog_lab.settings import FILE_SETTINGS, DataConfig
from facog_lab.study import literals

FORMAT = 2
MOST_POINTS = 1_000_000  # of a sweep
Row = dict[str, Any]
Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Point:
    """A notebook with a value for each of some parameters.

    Attributes:
        key: a short hash of the notebook's code, all its parameters, the data and the version.
        values: those that are given, by name; the others are the notebook's own.
        source: the notebook as it was when the point was made.
        cwd: the folder that it runs in.
        folder: where its row and its executed notebook lie.
        environment: variables that its kernel gets.
    """

    key: str
    values: dict[str, Any]
    source: Path
    cwd: Path
    folder: Path
    environment: dict[str, str]

    @property
    def executed(self) -> Path:
        """The executed notebook; there is none before the point was run."""
        return self.folder / "executed.ipynb"

    def row(self) -> Row | None:
        """What came of it; None if it was never run to its end.

        A row has `values`, `scores` (by name, as the notebook reported them), `error` (in words;
        empty if it ran), `seconds`, the `machine`, the `date`, the `key`, and in `executed` the
        path of the executed notebook, empty if there is none.
        """
        try:
            row = json.loads(read_file(self.folder / "row.json"))
            _Row.model_validate(row)
        except (StoreError, ValueError, RecursionError):  # never run, or damaged: it is run again
            return None
        own = row["format"] == FORMAT and row["key"] == self.key
        return self._whole(row) if own else None

    def kept(self, **facts: Any) -> Row:
        """Its row, written atomically; if that fails, the row has the reason as its error."""
        row = self.unkept(**facts)
        path = self.folder / "row.json"
        content = json.dumps({k: v for k, v in row.items() if k != "executed"}, indent=1).encode()
        try:
            with explain_oserror(path.parent, len(content)):
                self.folder.mkdir(parents=True, exist_ok=True)
                write(path, content)
        except StoreError as error:
            if (
                "Not kept: " not in row["error"]
            ):  # the executed notebook may have been no better off
                row["error"] = f"{row['error']} Not kept: {error}".strip()
        return self._whole(row)

    def unkept(self, **facts: Any) -> Row:
        """A row that is not written."""
        head = {"format": FORMAT, "key": self.key, "values": self.values}
        return self._whole(head | {"scores": {}, "error": "", "seconds": None} | facts)

    def _whole(self, row: Row) -> Row:
        """With the values that this sweep gives, which may be others of the same key."""
        executed = str(self.executed) if self.executed.is_file() else ""
        return row | {"values": self.values, "executed": executed}

    def alone(self, timeout: float | None = None) -> AbstractContextManager[None]:
        """Held by the one process that runs it, see `paths.locked`."""
        name = f"sweep-{self.folder.parent.name}-{self.key}.lock"
        return locked(self.folder.parents[2] / ".locks" / name, timeout)


class _Row(BaseModel):
    """What a row must be; the file may come from anybody."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    format: int
    key: str
    scores: dict[str, float | int | str | None]
    error: str
    seconds: float | int | None


def points(notebook: str | Path, grid: Grid, fixed: Mapping[str, Any] | None = None) -> list[Point]:
    """All points of a grid, the last parameter changing fastest; nothing is run.

    Args:
        notebook: its path, or the name of one in the lab's folder of notebooks.
        grid: by parameter, the values to take; texts may stand for values of other types.
        fixed: parameters that have one value; where the grid has the same name, it counts.

    Raises:
        ConfigError: if there is no such notebook, or it has no parameters, naming every name that
            it does not have and every value that does not suit its type.
        StoreError: if its source cannot be kept.
    """
    path = Path(os.path.expanduser(notebook))
    try:
        path = (path if path.exists() else project_root() / "notebooks" / path).resolve()
        text = read_file(path).decode()
    except DamagedError as error:
        raise ConfigError(f"{path}: {error.what}. Give a notebook's path, or its name.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path.name} is no notebook of Jupyter's format 4.") from None
    except (OSError, ValueError) as error:  # of a name that is too long, for instance
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"notebook = {shortened(str(notebook))}: no path ({reason}).") from None
    code, statements = _read(path.name, text)
    defaults = dict(map(literals.assigned, statements))
    kinds = dict(zip(defaults, map(literals.kind_of, statements), strict=True))
    problems: list[str] = []
    checked: dict[str, list[Any]] = {}
    wanted = {name: [value] for name, value in (fixed or {}).items()} | dict(grid)
    for name, values in wanted.items():
        if name not in kinds:
            problems.append(unknown(name, kinds, f"parameter of {path.name}"))
        elif isinstance(values, str) or not isinstance(values, Sequence) or not values:
            problems.append(f"{name} = {values!r}: give a list of values, as [1, 2].")
        else:
            for value in values:
                try:
                    checked.setdefault(name, []).append(_checked(value, kinds[name]))
                except (ValueError, TypeError):  # pydantic's is a ValueError
                    kind = kinds[name]
                    shown = kind.__name__ if isinstance(kind, type) else str(kind)
                    problems.append(
                        f"{name} = {value!r}: not allowed, {path.name} has {name}: "
                        f"{shown.removeprefix('typing.')}. Give a value of that type."
                    )
    if problems:
        raise ConfigError("\n".join(problems))
    if (number := math.prod(map(len, checked.values()))) > MOST_POINTS:
        raise ConfigError(
            f"grid: {number:,} points, and at most {MOST_POINTS:,} are run at a time."
        )
    folder = (outputs_root() / "sweeps" / path.stem).resolve()
    # Kept, so that the notebook may be changed while its points run.
    source = folder / f"{digest(text)[:12]}.ipynb"
    if not source.is_file() or source.read_bytes() != text.encode():
        with explain_oserror(folder, len(text)):
            folder.mkdir(parents=True, exist_ok=True)
            write(source, text.encode())
    environment = {name: value for name, value in os.environ.items() if name.startswith("FACOG_")}
    environment["FACOG_OUTPUTS"] = str(folder.parents[1])
    made: dict[str, Point] = {}
    seen: dict[str, str] = {}
    for chosen in itertools.product(*checked.values()):
        given = dict(zip(checked, chosen, strict=True))
        whole = defaults | given
        about = [__version__, _data(whole, path.parent, seen)]
        key = digest(FORMAT, path.stem, code, whole, about)[:12]
        made.setdefault(key, Point(key, given, source, path.parent, folder / key, environment))
    return list(made.values())


def said(values: Mapping[str, Any]) -> str:
    """Values in words: ``n_s=5, seed=0``."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _data(values: Mapping[str, Any], cwd: Path, seen: dict[str, str]) -> str:
    """A hash of the data that parameters name; empty where they name none, or none can be read.

    A point without data ends with its own error, which names the cause.

    Args:
        values: of all parameters.
        cwd: the folder that paths are looked for from, as in `data.places.user_path`.
        seen: hashes of data that were looked at before, to be added to.
    """
    names = {k: values[k] for k in ("dataset", *FILE_SETTINGS) if values.get(k) is not None}
    if "dataset" not in names:
        return ""
    for name, value in names.items():
        kind = "folder:" * (name == "dataset")
        if isinstance(value, str) and value.startswith(kind):
            path = os.path.expanduser(value.removeprefix(kind))
            names[name] = f"{kind}{(cwd if os.path.exists(cwd / path) else project_root()) / path}"
    if (asked := digest(names)) not in seen:
        try:
            seen[asked] = fingerprint(DataConfig(**names), report=print)
        except (ConfigError, DataError):
            seen[asked] = ""
    return seen[asked]


def _read(name: str, text: str) -> tuple[list[str], list[ast.stmt]]:
    """The code of a notebook without its parameters, and the lines that set them.

    Raises:
        ConfigError: if it has no cell of plain values that is tagged so.
    """
    try:
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        tagged = ["parameters" in cell["metadata"].get("tags", []) for cell in cells]
        code = ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{name} is no notebook of Jupyter's format 4.") from None
    try:
        (source,) = itertools.compress(code, tagged)
        statements = ast.parse(source).body
        for statement in statements:
            literals.assigned(statement)
    except (ValueError, TypeError, SyntaxError):
        raise ConfigError(
            f"{name} has no parameters to sweep over: give one code cell the tag 'parameters' and "
            "nothing but lines like `n_s: int = 5`, with the value written out."
        ) from None
    return [cell for cell, is_tagged in zip(code, tagged, strict=True) if not is_tagged], statements


def _checked(value: Any, kind: Any) -> Any:
    """The value as its type; the text "None" is None where that is allowed.

    Raises:
        ValueError, TypeError: if it does not suit.
    """
    if value == "None" and type(None) in typing.get_args(kind):
        return None
    checked = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    if isinstance(value, bool) and not isinstance(checked, bool):  # True is not a number here
        raise TypeError
    json.dumps(checked, allow_nan=False)
    return checked
