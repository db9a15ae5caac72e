"""A run's folder: config, state, history, manifest; written atomically, checked when read.

A run lies in ``outputs/<data set>/<stage>/<key>/``. A save writes the state and the history under
new names and then replaces ``manifest.json``, which holds size and SHA-256 of every file: the
manifest is the moment of the save, so a run cut off while saving still has its last whole state.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

import facog_lab
from facog_lab.config import Config, digest

FORMAT = 1
# What happened while a run was made, as columns: history["epochs"]["loss"][3]. Numbers, names of
# options, and None where there was nothing to measure.
History = dict[str, dict[str, list[Any]]]


class StoreError(RuntimeError):
    """A run's folder holds something that was not written by this lab, or was damaged since."""


@dataclass
class Saved:
    """What a run's folder holds.

    Attributes:
        tensors: the state, by name.
        history: columns of figures, one table a kind of row.
        record: what was recorded about the run: config, versions, hardware, metrics, seconds.
        complete: False if the run was cut off and can be resumed.
    """

    tensors: dict[str, Tensor]
    history: History
    record: dict[str, Any]
    complete: bool


def project_root() -> Path:
    """The folder of the checkout; where the package is installed elsewhere, the current one."""
    checkout = Path(facog_lab.__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


def outputs_root() -> Path:
    """Where runs are kept: the folder named by FACOG_OUTPUTS, else ``outputs/`` in the project."""
    return Path(os.environ.get("FACOG_OUTPUTS") or project_root() / "outputs")


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

    def save(
        self, tensors: Mapping[str, Tensor], history: History, record: dict[str, Any], done: bool
    ) -> None:
        """Writes a state, so that `load` gives it back; the state before it is then removed.

        Args:
            tensors: the state, by name.
            history: columns of numbers, texts and None.
            record: what to say about the run, as JSON values.
            done: False for a state to resume from.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        state = safetensors.torch.save({k: v.contiguous().cpu() for k, v in tensors.items()})
        parts = {
            "config.json": _json(self.config.model_dump(mode="json")),
            f"state-{_short_hash(state)}.safetensors": state,
        }
        written = _json(history)
        parts[f"history-{_short_hash(written)}.json"] = written
        for name, content in parts.items():
            _write(self.folder / name, content)
        manifest = {
            "format": FORMAT,
            "stage": self.stage,
            "key": self.key,
            "upstream": self.upstream,
            "complete": done,
            "record": record | {"environment": environment()},
            "files": {
                name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in parts.items()
            },
        }
        _write(self.folder / "manifest.json", _json(manifest | {"digest": digest(manifest)}))
        for old in self.folder.iterdir():
            if old.name not in parts and re.match(
                r"(state|history)-\w+\.\w+$|\..*\.part$", old.name
            ):
                old.unlink()

    def load(self) -> Saved | None:
        """The last whole state, or None if there is none.

        Raises:
            StoreError: naming the file, if the manifest or a file it lists was changed.
        """
        path = self.folder / "manifest.json"
        if not path.exists():
            return None
        manifest = read_manifest(path)
        if manifest["format"] != FORMAT or manifest["key"] != self.key:
            raise StoreError(
                f"{path} is of format {manifest['format']} and key {manifest['key']}; expected "
                f"format {FORMAT} and key {self.key}. Remove the folder to make the run again."
            )
        paths = [self._checked(name, facts) for name, facts in manifest["files"].items()]
        kinds = {path.name.split("-")[0]: path for path in paths}
        return Saved(
            tensors=safetensors.torch.load_file(kinds["state"]),  # mapped, not read
            history=json.loads(kinds["history"].read_bytes()),
            record=manifest["record"],
            complete=manifest["complete"],
        )

    def _checked(self, name: str, facts: dict[str, Any]) -> Path:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise StoreError(
                f"{path} is missing. Remove the folder to make the run again."
            ) from None
        if path.stat().st_size != facts["bytes"] or sha256 != facts["sha256"]:
            raise StoreError(
                f"{path} is damaged: its content is not what the manifest says. "
                "Remove the folder to make the run again."
            )
        return path


def read_manifest(path: Path) -> dict[str, Any]:
    """What a manifest says.

    Raises:
        StoreError: naming the file, if it was changed since it was written.
    """
    try:
        manifest = json.loads(path.read_bytes())
        whole = manifest.pop("digest") == digest(manifest)
    except (ValueError, KeyError, AttributeError, UnicodeDecodeError):
        whole = False
    if not whole:
        raise StoreError(f"{path} is damaged. Remove the folder to make the run again.")
    return manifest


def pack(**parts: nn.Module | torch.optim.Optimizer) -> dict[str, Tensor]:
    """Modules and optimisers as one flat dictionary of tensors, each name led by its part's."""
    return {
        f"{part}.{name}": tensor.detach()
        for part, owner in parts.items()
        for name, tensor in _tensors(owner)
    }


def unpack(tensors: Mapping[str, Tensor], **parts: nn.Module | torch.optim.Optimizer) -> None:
    """Puts what `pack` made back into the same parts."""
    for part, owner in parts.items():
        own = {
            name.removeprefix(f"{part}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{part}.")
        }
        if isinstance(owner, nn.Module):
            owner.load_state_dict(own)
            continue
        parameters = [p for group in owner.param_groups for p in group["params"]]
        for name, tensor in own.items():
            number, slot = name.split(".", 1)
            parameter = parameters[int(number)]
            # Adam counts its steps in a tensor that stays on the CPU
            target = tensor if slot == "step" else tensor.to(parameter.device)
            owner.state[parameter][slot] = target.clone()


def environment() -> dict[str, Any]:
    """Versions, processor, device and threads: what a figure was measured with."""
    packages = ("torch", "torchvision", "numpy", "pydantic", "safetensors")
    return {
        "facog_lab": facog_lab.__version__,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _tensors(owner: nn.Module | torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    if isinstance(owner, nn.Module):
        yield from owner.state_dict().items()
        return
    parameters = [p for group in owner.param_groups for p in group["params"]]
    for number, parameter in enumerate(parameters):
        for slot, value in owner.state.get(parameter, {}).items():
            if value is not None:
                yield f"{number}.{slot}", value


def _write(path: Path, content: bytes) -> None:
    """Writes a file so that its name stands for the whole content or for what was there before."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
