"""Where a score lies on the ladder, how tight seen features are, and what fewer images bring."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from facog_lab.dictionary import FeatureDictionary
from facog_lab.runs.left_out import LeftOut
from facog_lab.study import ladder, significance


def row(method, acsa, variant="", level="feature", seed=0, **chosen):
    named = {"method": method, "level": level, "variant": variant, "seed": seed}
    return named | {"acsa": acsa, "few": None, "chosen": chosen}


ROWS = [
    row("phase1", 0.40, level="network"),
    row("balanced_softmax", 0.44),
    row("balanced_softmax", 0.46, seed=1),
    *(
        row("real_images", acsa, f"images={images}", smallest=least, smallest_before=5, added=1)
        for images, acsa, least in (("10", 0.47, 10), ("20", 0.49, 20), ("all", 0.55, 500))
    ),
    row("real_images", 0.60, "images=all, head=cosine_adjusted", smallest=500, smallest_before=5),
    row("facog", 0.44),
    row("lda", 0.48),
]


def test_rungs_go_from_the_long_tail_as_it_is_to_all_images():
    steps = ladder.rungs(ROWS)
    assert steps["rung"].tolist() == ["as it is", "10", "20", "all"]
    assert steps["images"].tolist() == [5, 10, 20, 500]
    assert steps["mean"].tolist() == pytest.approx([45, 47, 49, 55])
    assert steps["seeds"].tolist() == [2, 1, 1, 1]
    assert steps["sd"][0] == pytest.approx(np.std([44, 46], ddof=1))


def test_no_rung_was_run():
    assert ladder.rungs([row("balanced_softmax", 0.4)]).empty
    table = significance.summary(ROWS[:3])
    assert "images" not in ladder.equivalents(ROWS[:3], table)


@pytest.mark.parametrize(
    ("mean", "images", "text"),
    [
        (44.9, np.nan, "below 5"),
        (45.0, 5, "5"),
        (46.0, np.sqrt(50), "7"),
        (47.0, 10, "10"),
        (52.0, 100, "100"),
        (55.1, 500, "500 or more"),
        (99.0, 500, "500 or more"),
    ],
)
def test_a_score_in_real_images(mean, images, text):
    found, words = ladder.worth(mean, ladder.rungs(ROWS))
    assert found == pytest.approx(images, nan_ok=True)
    assert words == text


def test_a_rung_below_a_smaller_one_is_no_way_back():
    steps = pd.DataFrame({"images": [5, 10, 20], "mean": [45.0, 44.0, 47.0]})
    at = [ladder.worth(mean, steps)[0] for mean in np.linspace(45, 47, 21)]
    assert at == sorted(at)
    assert ladder.worth(45.0, steps)[0] == pytest.approx(10)  # what five bring, ten bring, too


def test_methods_between_their_two_ends():
    found = ladder.equivalents(ROWS, significance.summary(ROWS))
    way = found["way"].to_dict()
    assert way["phase1", "network", ""] == pytest.approx(0)
    assert way["lda", "feature", ""] == pytest.approx(40)  # of 40 to 60
    assert "real_images" not in found.index.get_level_values("method")
    words = found["in words"].to_dict()
    assert words["facog", "feature", ""] == "below 5"
    assert words["balanced_softmax", "feature", ""].startswith("5 (below 5 to ")


def test_what_is_shown_has_words_for_all():
    found = ladder.equivalents(ROWS, significance.summary(ROWS))
    page = ladder.shown(found).to_html()
    assert "real images a class" in page
    assert "Phase 1 alone" in page
    assert "nan" not in page
    real = ladder.real_rows(ROWS).to_html()
    assert "the long tail as it is" in real
    assert "images a class = all" in real
    assert "nan" not in real


def dictionary(scale, seed, per_class=400, width=8, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat_interleave(torch.tensor([per_class, 60, 12]))
    centres = 10 * torch.eye(width)[:3] + shift
    features = centres[labels] + scale * torch.randn(len(labels), width, generator=rng)
    return FeatureDictionary.build(
        features, labels, torch.arange(len(labels)), ("a", "b", "c"), features[:], labels
    )


def test_tightness_by_groups():
    seen, unseen = dictionary(1.0, 0), dictionary(1.2, 1)
    found = ladder.tightness(seen, LeftOut(unseen.features, unseen.labels)).set_index("group")
    assert found["classes"].to_dict() == {"all": 3, "many": 1, "medium": 1, "few": 1}
    assert found.loc["many", "seen"] == pytest.approx(8, rel=0.1)  # a variance of 1 in 8 directions
    assert found.loc["many", "share"] == pytest.approx(1 / 1.44, rel=0.1)
    assert abs(found.loc["many", "moved"]) < 0.01


def test_a_mean_that_moved_is_seen_and_chance_is_not():
    seen, unseen = dictionary(1.0, 0), dictionary(1.0, 1, shift=1.0)
    found = ladder.tightness(seen, LeftOut(unseen.features, unseen.labels)).set_index("group")
    assert found.loc["all", "moved"] == pytest.approx(1, abs=0.25)  # 8 of 8
    same = ladder.tightness(seen, LeftOut(dictionary(1.0, 2).features, seen.labels))
    assert same["moved"].abs().max() < 0.25


def test_classes_without_images_left_out_say_nothing():
    seen = dictionary(1.0, 0)
    few = LeftOut(seen.features[-12:], seen.labels[-12:])
    assert ladder.tightness(seen, few)["group"].tolist() == ["all", "few"]


def test_a_learning_curve_rises_and_says_what_the_last_doubling_brought():
    of = tiny.dictionary((60, 40, 20, 10, 5))
    curve = ladder.learning_curve(of, repeats=3)
    assert curve["at most"].tolist() == [1, 2, 5, 10, 20, 30, 50, 60]
    assert curve["images"].tolist()[:3] == [5, 10, 25]
    assert curve["draws"].tolist() == [3] * 7 + [1]
    assert curve["acsa"].iloc[-1] > curve["acsa"].iloc[0]
    assert ladder.last_doubling(curve).startswith("From at most 30 images a class to 60, ")
    pd.testing.assert_frame_equal(curve, ladder.learning_curve(of, repeats=3))


def test_a_class_of_one_image_each_has_no_curve():
    of = tiny.dictionary((1, 1, 1))
    assert "no curve" in ladder.last_doubling(ladder.learning_curve(of))


def test_what_chance_moves_is_not_counted():
    """Two means of twelve images each lie apart by a sixth of the variance, by chance alone."""
    moved = []
    for seed in range(40):
        seen, unseen = dictionary(1.0, 2 * seed), dictionary(1.0, 2 * seed + 1)
        found = ladder.tightness(seen, LeftOut(unseen.features, unseen.labels))
        moved.append(found.set_index("group").loc["few", "moved"])
    assert abs(np.mean(moved)) < 0.06
