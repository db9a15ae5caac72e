"""A table's methods, of the families and in the order asked for; FACoG and nulls on top."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field, field_validator

from facog_lab import registry
from facog_lab.config import unknown
from facog_lab.runs.stages import nulls
from facog_lab.study.ceiling import METHOD
from facog_lab.study.significance import StudyConfig, name_of

Sort = Literal["score", "gain", "family", "name"]


def families() -> list[str]:
    """The families that methods come in, by name; "network" is whatever is trained end to end."""
    kinds = (registry.oversamplers, registry.heads)
    found = (entry.family for kind in kinds for entry in kind.values())
    return [*dict.fromkeys(found), "network"]


class BenchmarkConfig(StudyConfig):
    """What notebook 06 shows, and what it adds to the results."""

    family: str = Field("all", description="only methods of this family, and the pinned ones")
    sort: Sort = Field("score", description="what methods are sorted by")

    @field_validator("family")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in (known := ["all", *families()]):
            raise ValueError(unknown(value, known, "family"))
        return value


def family_of(key: tuple[str, str, str]) -> str:
    """The family of a line of a table; of a method that is not built, "network"."""
    method, level, _ = key
    if level == "network" and method != "phase1":
        return "network"
    for kind in (registry.oversamplers, registry.heads):
        if method in kind:
            return kind[method].family
    return "phase 1" if method == "phase1" else "network"


def pinned(key: tuple[str, str, str]) -> int | None:
    """The place on top of what is always shown: FACoG, phase 1, then the nulls that generate."""
    order = ["facog", "phase1", *nulls()]
    return order.index(key[0]) if key[0] in order and not key[2] else None


def arranged(table: pd.DataFrame, family: str = "all", sort: Sort = "score") -> pd.DataFrame:
    """The lines that are shown, in their order; real images, which are no method, are left out.

    Args:
        table: of significance.summary.
        family: see `families`; "all" for every one.
        sort: by score or gain, the best first; by name; or by family, and within it by score.

    Returns:
        The pinned lines, then the others.
    """
    keys = [key for key in table.index if key[0] != METHOD]
    first = sorted((k for k in keys if pinned(k) is not None), key=lambda k: pinned(k) or 0)
    rest = [k for k in keys if pinned(k) is None and family in ("all", family_of(k))]
    if sort == "gain":
        by_gain = table["gain"].sort_values(ascending=False, na_position="last", kind="stable")
        rest = [key for key in by_gain.index if key in set(rest)]
    elif sort == "name":
        rest.sort(key=lambda key: name_of(key).lower())
    elif sort == "family":
        order = ["phase 1", *families()]
        rest.sort(key=lambda key: order.index(family_of(key)))
    return table.loc[[*first, *rest]]
