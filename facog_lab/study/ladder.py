"""The ladder of real images: what each rung scores, and where the methods lie on it.

The rungs put few or many of the images back that the long tail left out, and train the same head on
all, see `ceiling`. Where a method's score lies among them is its worth in real images a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from facog_lab import metrics, phase2
from facog_lab.config import Config
from facog_lab.dictionary import FeatureDictionary
from facog_lab.rivals.closed_forms import lda, moments, oas_shrinkage
from facog_lab.rng import rng_for
from facog_lab.runs.left_out import LeftOut
from facog_lab.study.ceiling import FOOT, METHOD, RUNGS, variant
from facog_lab.study.results import Row
from facog_lab.study.significance import KEY, Score, changes, name_of

CAPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # of the learning curve
TOLD = ("phase1", "facog", "random_oversampling", "balanced_softmax", "logit_adjustment", "lda",
        "second_opinion")  # the methods that a figure has room for  # fmt: skip


class CeilingView(Config):
    """What notebook 07 shows."""

    score: Score = Field("acsa", description="what is compared")


def rungs(rows: Sequence[Row], score: str = "acsa") -> pd.DataFrame:
    """The rungs of a data set, from the long tail as it is to all images.

    Args:
        rows: results of one data set, ratio and protocol, with those of `METHOD`.
        score: what is shown.

    Returns:
        By rung: `images`, what the smallest class has; `mean` and `sd` over seeds in percent;
        `seeds`, how many. Empty where no rung was run.
    """
    own = [row for row in rows if row["method"] == METHOD and row[score] is not None]
    found = []
    if own:
        foot = [row for row in rows if tuple(row[k] for k in KEY) == (FOOT, "feature", "")]
        found.append(("as it is", own[0]["chosen"]["smallest_before"], foot))
    for images in RUNGS:
        if rung := [row for row in own if row["variant"] == variant(images)]:
            found.append((images, rung[0]["chosen"]["smallest"], rung))
    lines = []
    for name, least, those in found:
        values = pd.Series([100 * row[score] for row in those if row[score] is not None])
        if len(values):
            lines.append((name, least, values.mean(), values.std(), len(values)))
    return pd.DataFrame(lines, columns=["rung", "images", "mean", "sd", "seeds"])


def worth(mean: float, steps: pd.DataFrame) -> tuple[float, str]:
    """A score in real images a class: where it lies on the ladder.

    Between two rungs it is interpolated, in the logarithm of the images. A rung that scores less
    than a smaller one counts as much as that one.

    Args:
        mean: in percent.
        steps: of `rungs`, at least two rungs.

    Returns:
        Images that every class would need at least, and the same in words: NaN and "below 5" under
        a foot of 5, 500 and "500 or more" from a top of 500 on.
    """
    heights, images = steps["mean"].cummax().to_numpy(), steps["images"].to_numpy(float)
    if mean < heights[0]:
        return np.nan, f"below {images[0]:.0f}"
    if mean >= heights[-1]:
        return images[-1], f"{images[-1]:.0f} or more"
    above = int(np.searchsorted(heights, mean, side="right"))
    low, high = heights[above - 1], heights[above]
    share = (mean - low) / (high - low)
    at = np.exp(np.log(images[above - 1]) * (1 - share) + np.log(images[above]) * share)
    return float(at), f"{at:.0f}"


def equivalents(rows: Sequence[Row], table: pd.DataFrame, score: str = "acsa") -> pd.DataFrame:
    """Each method between its two ends: how far from phase 1 to the ceiling, and in real images.

    Args:
        rows: of one data set, ratio and protocol.
        table: of `significance.summary` of these rows and this score.
        score: what is compared.

    Returns:
        By method, level and variant, best first: `seeds`, `mean` and `sd` in percent; `way`, the
        share in percent of the way from phase 1 to the ceiling, which is the best row with all
        images; `images`, what every class would need at least for the same score with the usual
        head, and from one deviation below the mean to one above; rungs are left out.
    """
    steps = rungs(rows, score)
    own = table[table["seeds"] > 0]
    phase1 = own["mean"].get(("phase1", "network", ""), np.nan)
    real = own.index.get_level_values("method") == METHOD
    of_all = [v.startswith("images=all") for v in own.index.get_level_values("variant")]
    top = own["mean"][real & np.array(of_all)].max()
    found = own.loc[~real, ["seeds", "mean", "sd"]].copy()
    found["way"] = 100 * (found["mean"] - phase1) / (top - phase1)
    if len(steps) > 1:
        found["images"] = [worth(mean, steps)[0] for mean in found["mean"]]
        ends = [(m, m - s, m + s) if s == s else (m,) for m, s in found[["mean", "sd"]].to_numpy()]
        found["in words"] = [_between([worth(end, steps)[1] for end in three]) for three in ends]
    return found


def _between(texts: Sequence[str]) -> str:
    """A value and the ends of its range: "12 (9 to 15)"; itself alone where they are the same."""
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def shown(found: pd.DataFrame) -> Any:
    """`equivalents` for a notebook."""
    columns = {
        "method": [name_of(key) for key in found.index],
        "seeds": found["seeds"],
        "mean ± sd": [_spread(m, s) for m, s in found[["mean", "sd"]].to_numpy()],
        "way": ["" if way != way else f"{way:.0f}%" for way in found["way"]],
    }
    if "in words" in found:
        columns["real images a class"] = found["in words"]
    return pd.DataFrame(columns).style.hide(axis="index")


def real_rows(rows: Sequence[Row], score: Score = "acsa") -> Any:
    """Every row with real images, beside the long tail as it is; for a notebook."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["method"] == METHOD and row[score] is not None:
            found.setdefault(changes(row["variant"]), []).append(row)
    foot = [row for row in rows if tuple(row[k] for k in KEY) == (FOOT, "feature", "")]
    lines = {"the long tail as it is": foot} | found
    scores = {name: pd.Series([100 * row[score] for row in own]) for name, own in lines.items()}
    table = pd.DataFrame(
        {
            "real images": list(lines),
            "images added": [
                f"{own[0]['chosen'].get('added', 0):,}" if own else "" for own in lines.values()
            ],
            "mean ± sd": [_spread(s.mean(), s.std()) if len(s) else "" for s in scores.values()],
            "seeds": [len(s) for s in scores.values()],
        }
    )
    return table.style.hide(axis="index")


def _spread(mean: float, sd: float) -> str:
    return f"{mean:.1f}" + (f" ± {sd:.1f}" if sd == sd else "")


def tightness(of: FeatureDictionary, more: LeftOut) -> pd.DataFrame:
    """How much closer together features are of images that the backbone was trained on.

    Args:
        of: the dictionary; only classes of two images or more say something.
        more: features of the images left out.

    Returns:
        By group of classes (many, medium, few, all): `classes`; `seen` and `unseen`, the mean
        squared distance of a feature to its class's mean, freed of what the mean itself owes to
        these features; `share`, the one divided by the other; `moved`, the squared distance of
        the two means less what chance alone would give, as a share of `unseen`.
    """
    groups = metrics.groups(of.class_counts)
    lines = []
    for label, count in enumerate(of.class_counts.tolist()):
        seen = of.features[of.starts[label] : of.starts[label + 1]].double()
        unseen = more.features[more.labels == label].double()
        if count < 2 or len(seen) < 2 or len(unseen) < 2:
            continue
        spread = [x.var(0, correction=1).sum().item() for x in (seen, unseen)]
        chance = spread[0] / len(seen) + spread[1] / len(unseen)
        apart = (seen.mean(0) - unseen.mean(0)).square().sum().item() - chance
        lines.append((groups[label], *spread, apart))
    found = pd.DataFrame(lines, columns=["group", "seen", "unseen", "apart"])
    parts = [("all", found), *((g, found[found["group"] == g]) for g in ("many", "medium", "few"))]
    columns = ["group", "classes", "seen", "unseen", "share", "moved"]
    return pd.DataFrame(
        [
            (name, len(p), s := p["seen"].mean(), u := p["unseen"].mean(), s / u,
             p["apart"].mean() / u)
            for name, p in parts if len(p)
        ],
        columns=columns,
    )  # fmt: skip


def tightness_table(table: pd.DataFrame) -> Any:
    """`tightness` for a notebook."""
    return table.style.hide(axis="index").format(precision=2)


def learning_curve(
    of: FeatureDictionary, caps: Sequence[int] = CAPS, repeats: int = 5, seed: int = 0
) -> pd.DataFrame:
    """What fewer images would have brought: every class cut down to n at most, LDA on the rest.

    It needs no images left out: the last doubling seldom brings less than the next one will. The
    backbone has seen all images, so the curve is flatter than with a backbone trained on n.

    Args:
        of: the dictionary.
        caps: n; half of the largest class and all of it are added, larger ones left out.
        repeats: draws of the images that are kept.
        seed: of these draws.

    Returns:
        By n: mean and standard deviation over the draws, in percent, of ACSA and of the mean
        recall of the rarest fifth of the classes.
    """
    counts, lines = of.class_counts, []
    largest = int(counts.max())
    for cap in sorted({*(c for c in caps if c < largest), max(1, largest // 2), largest}):
        drawn = []
        for repeat in range(repeats if cap < largest else 1):
            part = _cut(of, cap, rng_for("cpu", seed, "learning curve", cap, repeat))
            known = moments(part)
            scores = phase2.score(lda(known, oas_shrinkage(known)), of)
            drawn.append((100 * scores.acsa, 100 * scores.tail20))
        values = np.array(drawn)
        sd = values.std(0, ddof=1) if len(values) > 1 else (np.nan, np.nan)
        images = int(counts.clamp(max=cap).sum())
        lines.append((cap, images, len(values), values[:, 0].mean(), sd[0], values[:, 1].mean(),
                      sd[1]))  # fmt: skip
    columns = ["at most", "images", "draws", "acsa", "acsa_sd", "tail20", "tail20_sd"]
    return pd.DataFrame(lines, columns=columns)


def last_doubling(curve: pd.DataFrame) -> str:
    """What the last doubling of the images brought, in words."""
    last = curve.iloc[-1]
    half = curve[curve["at most"] <= last["at most"] // 2]
    if half.empty:
        return "The largest class has one image: there is no curve."
    before = half.iloc[-1]
    gain, spread = last["acsa"] - before["acsa"], before["acsa_sd"]
    return (
        f"From at most {before['at most']:.0f} images a class to {last['at most']:.0f}, "
        f"{last['images'] / before['images']:.1f} times as many in all: {gain:+.1f} points of "
        f"ACSA (± {spread:.1f} over draws)"
        + (", no more than chance." if abs(gain) <= 2 * spread else ".")
    )


def _cut(of: FeatureDictionary, cap: int, rng: torch.Generator) -> FeatureDictionary:
    """At most `cap` images of each class, with all their rows."""
    kept = []
    for label in range(of.num_classes):
        rows = torch.arange(int(of.starts[label]), int(of.starts[label + 1]))
        images = of.image_index[rows].unique()
        chosen = images[torch.randperm(len(images), generator=rng)[:cap]]
        kept.append(rows[torch.isin(of.image_index[rows], chosen)])
    rows = torch.cat(kept)
    return FeatureDictionary.build(
        of.features[rows].float(), of.labels[rows], of.image_index[rows], of.class_names,
        of.test_features, of.test_labels,
    )  # fmt: skip
