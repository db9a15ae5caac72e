"""Where data lie, and what a data set is called by where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from facog_lab.config import DataError
from facog_lab.paths import named_folder, project_root, shortened
from facog_lab.settings import DataConfig

PACKAGED = Path("/usr/share/datasets")  # where Debian's packages put data sets


def name_of(config: DataConfig) -> str:
    """What a data set is called: its name, or that of its folder or zip."""
    if config.family != "folder":
        return config.dataset
    path = folder_path(config)
    return path.stem if path.suffix.lower() == ".zip" else path.name


def folder_path(config: DataConfig) -> Path:
    """The folder or zip that a config names."""
    return user_path(config.dataset.removeprefix("folder:"))


def user_path(text: str) -> Path:
    """A path as given: from the current folder, or else from the project's root.

    Raises:
        DataError: if no path can be so.
    """
    path = Path(os.path.expanduser(text))  # where nobody has that home, there is no such folder
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shortened(text)}: no path ({reason}). Give one that exists.") from None
    # Not resolved: a link's own name is the data set's.
    return Path(os.path.abspath(path if path.exists() else project_root() / path))


def data_folders() -> list[Path]:
    """Where data is looked for: the project's data/, FACOG_DATA, the distribution's packages."""
    named = named_folder("FACOG_DATA")
    return [project_root() / "data", *([named] if named else []), PACKAGED]
