"""Result rows as tables: mean and deviation over seeds, rank, a paired test, the paper's values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from facog_lab import registry
from facog_lab.config import Config
from facog_lab.names import CHANGES, as_text, label, value_label
from facog_lab.registry import choice
from facog_lab.runs import presets, stages
from facog_lab.settings import DataConfig, Phase2Config
from facog_lab.study import bootstrap, paired, paper
from facog_lab.study.grid import Cell
from facog_lab.study.results import Row

Score = Literal["acsa", "gm", "top1", "many", "medium", "few", "tail20"]
KEY = ["method", "level", "variant"]  # what a line of a table stands for


class StudyConfig(Config):
    """What notebooks 05 and 06 show, and what they add to the results."""

    score: Score = Field("acsa", description="what is compared")
    against: choice(registry.oversamplers) = Field(  # type: ignore[valid-type]
        "random_oversampling", description="what others are tested on"
    )
    seeds: int = Field(5, ge=1, le=100, description="seeds that run_missing runs, from 0 on")
    run_missing: bool = Field(False, description="run what has no result yet: hours for all")
    level: Literal["feature", "network"] = Field(
        "feature", description="what run_missing runs: on phase-1 features, or whole networks"
    )


def name_of(key: tuple[str, str, str]) -> str:
    """A row's name: the method, its changed settings, and whether the whole network was trained."""
    method, level, variant = key
    own = level == "network" and method != "phase1"
    return label(method) + (f", {changes(variant)}" if variant else "") + (" (network)" * own)


def changes(variant: str) -> str:
    """A variant in words: "with prior", or as setting and value: "λ_adv = 0.0"."""
    parts = ((change, *change.partition("=")) for change in variant.split(", ") if change)
    return ", ".join(
        CHANGES.get(whole) or f"{label(name)} = {value_label(name, value)}"
        for whole, name, _, value in parts
    )


def select(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """The rows whose columns have the wanted values, as dataset="mnist", protocol="full"."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def of_data(
    rows: Sequence[Row], data: DataConfig, preset: str, protocol: str = "full"
) -> list[Row]:
    """The rows of a data set, imbalance ratio and preset, whatever the seed."""
    name = stages.data(data).name if data.family == "folder" else data.dataset
    preset = presets.resolved(preset, data.dataset)
    own = select(rows, dataset=name, preset=preset, protocol=protocol, dictionary=None)
    if data.profile != "exponential":
        return own
    return select(own, imbalance_ratio=data.imbalance_ratio)


def of_cells(rows: Sequence[Row], cells: Sequence[Cell]) -> list[Row]:
    """The rows of some cells."""
    keys = {(cell.method, cell.level, cell.variant) for cell in cells}
    return [row for row in rows if tuple(row[name] for name in KEY) in keys]


def with_change(rows: Sequence[Row], name: str, usual: Any) -> list[Row]:
    """FACoG's rows in which a setting alone was changed, with its value: n_s=10 as `n_s`, 10.

    Args:
        rows: of one data set.
        name: of the setting.
        usual: its value in rows without a change.
    """
    found = []
    for row in select(rows, method="facog"):
        setting, _, value = row["variant"].partition("=")
        if setting in ("", name):
            found.append(row | {name: type(usual)(value) if value else usual})
    return found


def mean_recall(rows: Sequence[Row], methods: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """(C,) recall of each class, mean over seeds, of those methods that have rows."""
    found = {}
    for method in methods:
        if own := [row["per_class"] for row in select(rows, method=method, variant="")]:
            found[method] = np.mean(own, axis=0)
    return found


def summary(
    rows: Sequence[Row],
    score: Score = "acsa",
    against: str = "random_oversampling",
    of_paper: Sequence[Mapping[str, Any]] = (),
    not_built: Sequence[str] = (),
) -> pd.DataFrame:
    """One line a method: what it scored over the seeds, and whether it beats another.

    Args:
        rows: of one data set, imbalance ratio and test protocol, several seeds.
        score: what is compared.
        against: the method that all are tested against, on features and without changes.
        of_paper: the paper's rows for the same data set, see `paper.rows`.
        not_built: methods without any result that get a line of their own.

    Returns:
        By method, level and variant, best first: `seeds` (how many), `mean` and `sd` in percent,
        `rank`; beside `against`, over the `n` seeds that both have, what `paired.Compared` says
        (`gain`, `above`, `p`, `p_signs`), `holm`, Holm's adjusted p over all p of the table, and
        `low` and `high`, the 95% interval of the gain in points over test images, where all these
        rows share one phase 1 and the score is ACSA; `paper`, the paper's figure in percent. What
        was not run is NaN, or 0 of `seeds` and `n`.
    """
    per_seed = pd.DataFrame(rows, columns=[*KEY, "seed", score])
    per_seed = per_seed.dropna(subset=[score]).pivot_table(index=KEY, columns="seed", values=score)
    table = pd.DataFrame(
        {
            "seeds": per_seed.count(axis=1),
            "mean": 100 * per_seed.mean(axis=1),
            "sd": 100 * per_seed.std(axis=1),
        }
    )
    table["rank"] = table["mean"].rank(ascending=False, method="min")
    tested: dict[tuple[str, str, str], dict[str, float]] = {}
    other = (against, "feature", "")
    for key in per_seed.index if other in per_seed.index else ():
        both = per_seed.loc[[key, other]].dropna(axis=1) if key != other else per_seed[[]]
        if len(both.columns):
            tested[key] = paired.compared(*both.to_numpy())._asdict()
            ends = _over_images(rows, key, other, set(both.columns)) if score == "acsa" else None
            if ends:
                tested[key] |= {"low": 100 * ends[0], "high": 100 * ends[1]}
    said = {tuple(row[name] for name in KEY): 100 * row[score] for row in of_paper if score in row}
    named = {method for method, _, _ in table.index}
    more = [(method, "network", "") for method in not_built if method not in named]
    # all lines at once: pandas warns where they are added one by one
    keys = list(dict.fromkeys([*table.index, *said, *more]))
    table = table.reindex(pd.MultiIndex.from_tuples(keys, names=KEY)).fillna({"seeds": 0})
    for name in ("n", "gain", "above", "p", "p_signs", "low", "high"):
        empty = 0 if name in ("n", "above") else np.nan
        table[name] = [tested.get(key, {}).get(name, empty) for key in keys]
    table["holm"] = paired.holm(table["p"])
    table["paper"] = [said.get(key, np.nan) for key in keys]
    table = table.sort_values(["mean", "paper"], ascending=False)
    return table.astype({"seeds": int, "n": int, "above": int})


def _over_images(
    rows: Sequence[Row],
    key: tuple[str, str, str],
    other: tuple[str, str, str],
    seeds: Collection[int],
) -> tuple[float, float] | None:
    """`bootstrap.between` of two methods, None if their rows do not share one phase 1."""
    those, others = (
        [row for row in rows if tuple(row[k] for k in KEY) == one and row["seed"] in seeds]
        for one in (key, other)
    )
    given = {phase1_of(row) for row in (*those, *others)}
    return bootstrap.between(those, others) if len(given) == 1 and None not in given else None


def phase1_of(row: Row) -> tuple[Any, ...] | None:
    """What says which phase 1 a row's features are of; None if the row changes it."""
    of_phase2 = {change.partition("=")[0] for change in row["variant"].split(", ") if change}
    own_network = row["level"] == "network" and row["method"] != "phase1"
    if own_network or not of_phase2 <= set(Phase2Config.model_fields):
        return None
    if row["dictionary"]:
        return (row["dictionary"],)
    return tuple(row.get(name) for name in ("dataset", "imbalance_ratio", "preset", "seed"))


def seeds_in_words(rows: Sequence[Row]) -> str:
    """What differs between the seeds of some rows, and so what a p over them speaks of."""
    if not rows:
        return "not run yet"
    if len({row["seed"] for row in rows}) == 1:
        return "one seed: no spread, no test"
    if all(row["dictionary"] for row in rows):
        return "seeds are of phase 2 alone, on one phase 1: nothing is said of another phase 1"
    return "each seed has its own subset and phase 1"


def shown(table: pd.DataFrame) -> Any:
    """A summary for a notebook: readable names, one decimal, empty where nothing was run."""
    index = list(table.index)
    there = [method not in paper.NOT_BUILT for method, _, _ in index]
    named = pd.DataFrame(
        {
            "method": [name_of(key) for key in index],
            # a table is HTML
            "level": [
                as_text(key[1]) if t else "not built" for key, t in zip(index, there, strict=True)
            ],
            "n": [n or "" for n in table["seeds"]],
            "mean ± sd": [_spread(*line) for line in table[["mean", "sd"]].to_numpy()],
            "rank": _texts(table["rank"], "{:.0f}"),
            "gain": _texts(table["gain"], "{:+.2f}"),
            # only where it is another n, as beside a method that was run on fewer seeds
            "n of gain": [
                n if n and n != seeds else ""
                for n, seeds in zip(table["n"], table["seeds"], strict=True)
            ],
            "p": [p_text(p) for p in table["p"]],
            "p, Holm": [p_text(p) for p in table["holm"]],
            "p, distribution-free": [
                f"{p_text(p)}, {above} of {n} above ({paired.name_of_test(n)})" if p == p else ""
                for p, n, above in zip(table["p_signs"], table["n"], table["above"], strict=True)
            ],
            "95% over images": [
                f"{low:+.2f} to {high:+.2f}" if low == low else ""
                for low, high in table[["low", "high"]].to_numpy()
            ],
            "paper": _texts(table["paper"], "{:.1f}"),
        }
    )
    kept = [c for c in named if c == "mean ± sd" or (named[c].astype(str) != "").any()]
    return named[kept].style.hide(axis="index")


def p_text(p: float) -> str:
    """A p for a table: three decimals, empty for NaN."""
    return "" if p != p else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _texts(values: pd.Series, form: str) -> list[str]:
    return [form.format(x) if x == x else "" for x in values]


def _spread(mean: float, sd: float) -> str:
    return "" if mean != mean else f"{mean:.1f}" + (f" ± {sd:.1f}" if sd == sd else "")


def beside_paper(rows: Sequence[Row], table: str) -> pd.DataFrame:
    """A table of the paper with our mean over seeds beside each of its figures.

    Args:
        rows: all rows of the test protocol "full".
        table: "1" to "5".

    Returns:
        One line a method; columns by data set, score, and "paper" or "ours", as texts in percent:
        "42.8 ± 0.4 (3)" is mean, standard deviation and seeds. What was not run is empty, what
        is not implemented says so.
    """
    cells: dict[tuple[str, str, str], dict[tuple[str, str, str], str]] = {}
    for line in paper.rows(table):
        key = (line["method"], line["level"], line["variant"])
        ratio = line["imbalance_ratio"]
        data = label(line["dataset"]) + (f" at {ratio:g}" if table not in "13" else "")
        own = select(
            rows, dataset=line["dataset"], dictionary=None, **dict(zip(KEY, key, strict=True))
        )
        own = [row for row in own if ratio in (None, row["imbalance_ratio"])]
        scored = ("top1", "many", "medium", "few") if "top1" in line else ("acsa", "gm")
        for score in scored:
            if score not in line:
                continue
            scores = pd.Series(
                [100 * row[score] for row in own if row[score] is not None], dtype=float
            )
            spread = f" ± {scores.std():.1f} ({len(scores)})" if len(scores) > 1 else " (1)"
            place = cells.setdefault(key, {})
            place[data, score, "paper"] = f"{100 * line[score]:.1f}"
            missing = "not built" if line["method"] in paper.NOT_BUILT else ""
            place[data, score, "ours"] = f"{scores.mean():.1f}{spread}" if len(scores) else missing
    return pd.DataFrame.from_dict(cells, orient="index")


def styled(table: pd.DataFrame) -> Any:
    """A table of `beside_paper` for a notebook: readable names, empty where nothing was run."""
    named = table.fillna("")
    named.index = [name_of(key) for key in named.index]
    named.columns = pd.MultiIndex.from_tuples(
        [(data, label(score), whose) for data, score, whose in named.columns]
    )
    return named.style
