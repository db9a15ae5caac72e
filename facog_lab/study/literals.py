"""Lines like ``n_s: int = 5``: name, type and value, read from the source without running it."""

from __future__ import annotations

import ast
from typing import Any, Optional, Union

# What an annotation may be made of.
TYPES = {
    **{kind.__name__: kind for kind in (int, float, str, bool, list, dict, tuple)},
    "Optional": Optional,
    "Union": Union,
}


def assigned(statement: ast.stmt) -> tuple[str, Any]:
    """Name and value of ``name = value`` or ``name: type = value``.

    Raises:
        ValueError, TypeError: if it is anything else.
    """
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, _literal(value)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value, annotation=kind):
            if all(_is_type(node) for node in ast.walk(kind)):
                return name, _literal(value)
    raise ValueError


def kind_of(statement: ast.stmt) -> Any:
    """The type that a line gives to its name: its annotation, else its value's; Any for None."""
    _, value = assigned(statement)
    if isinstance(statement, ast.AnnAssign):  # of nothing but TYPES, as `assigned` has seen
        return _type(statement.annotation)
    return Any if value is None else type(value)


def _literal(value: ast.expr) -> Any:
    if ast.unparse(value) in ("float('nan')", "float('inf')", "float('-inf')"):  # as papermill's
        return float(value.args[0].value)  # type: ignore[attr-defined]
    return ast.literal_eval(value)


def _type(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name):
            return TYPES[name]
        case ast.Subscript(value=value, slice=inside):  # list[int]
            return _type(value)[_type(inside)]
        case ast.Tuple(elts=parts):
            return tuple(map(_type, parts))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_type(left), _type(right)]  # noqa: UP007
        case ast.Constant(value=value):  # None, or ... of tuple[int, ...]
            return value
    raise ValueError


def _is_type(node: ast.AST) -> bool:
    others = (ast.Subscript, ast.Tuple, ast.BinOp, ast.BitOr, ast.Constant, ast.expr_context)
    return node.id in TYPES if isinstance(node, ast.Name) else isinstance(node, others)
