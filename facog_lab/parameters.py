"""A notebook's parameters: nothing but values before they are checked, and checked before any work.

A notebook has, in this order,

1. a cell that imports and calls `guard()`;
2. the cell tagged ``parameters``, after which papermill puts its own cell with the overrides;
3. a cell with the one line ``settings = parameters.check(main="phase2")``.

papermill writes a parameter's name into its cell as it is, so a name like ``x; import os; y``
would run. Between `guard` and `check`, a cell that holds anything but ``name = value`` is
therefore refused before it runs, and so is a name that the parameters cell does not have, which
papermill itself only warns of.
"""

from __future__ import annotations

import ast
import dataclasses
from typing import Any, Literal, NoReturn

from pydantic import Field

from facog_lab import presets
from facog_lab.config import Config, ConfigError, Device, unknown
from facog_lab.datasets import DataConfig
from facog_lab.dictionary import DictionaryConfig
from facog_lab.phase1 import Phase1Config
from facog_lab.phase2 import Phase2Config

Stage = Literal["data", "phase1", "dictionary", "phase2"]
STAGES: dict[Stage, type[Config]] = {
    "data": DataConfig,
    "phase1": Phase1Config,
    "dictionary": DictionaryConfig,
    "phase2": Phase2Config,
}


class Common(Config):
    """Parameters that belong to no single stage."""

    preset: presets.PresetName = Field("auto", description="cpu, paper, or what suits the data set")
    seed: int = Field(0, ge=0, lt=2**31, description="of every stage")
    device: Device = Field("auto", description="where to train")
    protocol: Literal["full", "gamo"] = Field("full", description="which test images")


@dataclasses.dataclass(frozen=True)
class Settings(presets.Experiment):
    """The experiment that a notebook's parameters describe.

    Attributes:
        common: preset, seed, device, test protocol.
        extra: the notebook's own parameters, if it has any.
    """

    common: Common
    extra: Any


def guard() -> None:
    """From here to `check`, this notebook's cells may hold plain values only.

    Outside IPython there are no cells, and nothing happens.
    """
    shell = _shell()
    if shell is not None:
        _GUARD.names = []
        _GUARD.armed = True
        if _GUARD not in shell.ast_transformers:
            shell.ast_transformers.append(_GUARD)


def check(
    main: Stage, extra: type[Config] | None = None, values: dict[str, Any] | None = None
) -> Settings:
    """Checks and converts all parameters, before any work is done with them.

    A parameter is a field of `Common`, of the data's config, of `extra` or of the main stage's
    config; ``phase1_epochs`` is the field ``epochs`` of another stage. None leaves a parameter to
    the preset.

    Args:
        main: the stage whose fields need no prefix.
        extra: a config of the notebook's own.
        values: the parameters by name; by default those of the notebook's parameters cell.

    Returns:
        Everything the notebook needs.

    Raises:
        ConfigError: with a line for every parameter that is unknown, of the wrong type or out of
            range: its name, its value, what is allowed, and the nearest known name.
    """
    if values is None:
        values = {name: _shell().user_ns[name] for name in _GUARD.names}
    owners: dict[str, tuple[str, type[Config], str]] = {}  # name -> (part, config, field)
    for stage, config in STAGES.items():
        owners |= {f"{stage}_{field}": (stage, config, field) for field in config.model_fields}
    parts: dict[str, type[Config]] = {"data": DataConfig, main: STAGES[main], "common": Common}
    for part, config in (parts | ({"extra": extra} if extra else {})).items():
        owners |= {field: (part, config, field) for field in config.model_fields}

    given: dict[str, dict[str, Any]] = {part: {} for part in (*STAGES, "common", "extra")}
    problems = []
    for name, value in values.items():
        if name not in owners:
            problems.append(unknown(name, values.keys() & owners.keys()))
        elif value is not None:
            part, config, field = owners[name]
            given[part][field] = value
            try:
                config(**{field: value})
            except ConfigError as error:
                problems.append(str(error).replace(f"{field} = ", f"{name} = ", 1))
    if problems:
        raise ConfigError("\n".join(problems))
    common = Common(**given.pop("common"))
    own = given.pop("extra")
    experiment = presets.experiment(common.preset, seed=common.seed, **given)
    _GUARD.armed = False
    return Settings(**vars(experiment), common=common, extra=extra(**own) if extra else None)


class _Guard(ast.NodeTransformer):
    """Refuses cells, as an IPython transformer of syntax trees; see the module's docstring."""

    armed = False
    names: list[str]

    def visit(self, node: ast.AST) -> ast.AST:
        """Looks at a whole cell, once."""
        if self.armed and isinstance(node, ast.Module) and not _calls_check(node):
            names = [_assigned(statement) for statement in node.body]
            if not self.names:
                self.names = names
            for name in names:
                if name not in self.names:
                    _refuse(unknown(name, self.names))
        return node


_GUARD = _Guard()


def _assigned(statement: ast.stmt) -> str:
    """The name in ``name = value`` or ``name: type = value``; anything else is refused."""
    target: ast.expr | None = None
    if isinstance(statement, ast.AnnAssign):
        target = statement.target
        if any(isinstance(part, ast.Call | ast.Lambda) for part in ast.walk(statement.annotation)):
            target = None
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    if isinstance(target, ast.Name) and _is_value(statement.value):  # type: ignore[attr-defined]
        return target.id
    source = ast.unparse(statement)
    _refuse(
        f"Not a parameter: {source[:80]!r}. Until the parameters are checked, cells may hold "
        "nothing but `name = value` with a plain value: a number, a text, True, False, None or a "
        "list of these. If you meant to run code here, run the cell with parameters.check() first."
    )


def _is_value(node: ast.expr | None) -> bool:
    if node is None:
        return False
    if ast.unparse(node) in ("float('nan')", "float('inf')", "float('-inf')"):
        return True  # papermill's way to write them
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return True


def _calls_check(cell: ast.Module) -> bool:
    """Whether a cell is the one line that ends the guard.

    papermill's cell never is: it ends in ``= value``, so a name that imitates the line makes a
    second statement, or no Python at all.
    """
    if len(cell.body) != 1 or not isinstance(cell.body[0], ast.Assign):
        return False
    call = cell.body[0].value
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "parameters.check":
        return False
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    return all(isinstance(a, ast.Constant | ast.Name | ast.Attribute) for a in arguments)


def _refuse(message: str) -> NoReturn:
    from IPython.core.error import InputRejected

    raise InputRejected(message)


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
