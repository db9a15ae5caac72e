"""The kernels against torchvision's own operations on single images."""

from collections import Counter

import pytest
import torch
from pictures import POLICY, chi_square, magnitude_of, pictures
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode
from torchvision.transforms import autoaugment as reference
from torchvision.transforms import functional as vision

from facog_lab.augment import autoaugment, color, geometry, ops
from facog_lab.rng import uniform

NEAREST = InterpolationMode.NEAREST
CLOSE = {"rtol": 0, "atol": 1e-5}  # float32 in 0..1: the order of a sum may differ


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (3, 33)])
@pytest.mark.parametrize("name", ops.OPERATIONS)
def test_every_operation_level_and_sign_is_torchvisions_to_the_bit(name, channels, side):
    images = pictures(8, channels, side)
    number = ops.OPERATIONS.index(name)
    for level in range(10):
        for positive in (0, 1):
            amount = magnitude_of(name, level, side, positive)
            want = [reference._apply_op(x, name, amount, NEAREST, None) for x in images]
            which = (torch.full((8,), k) for k in (number, level, positive))
            got = ops.operate(images.clone(), *which)
            assert torch.equal(got, torch.stack(want)), (level, positive)


@pytest.mark.parametrize("name", autoaugment.POLICIES)
def test_policy_is_the_published_one(name):
    theirs = reference.AutoAugment(AutoAugmentPolicy(name)).policies
    published = [tuple((n, p, level or 0) for n, p, level in pair) for pair in theirs]
    assert list(autoaugment.POLICIES[name]) == published


def test_sub_policies_probabilities_and_signs_are_drawn_as_published(monkeypatch):
    n, calls = 40_000, []
    monkeypatch.setattr(autoaugment, "operate", lambda x, *which: calls.append(which) or x)
    u = uniform(0, 0, torch.arange(n), "autoaugment/0", 5)
    autoaugment.autoaugment(torch.zeros(n, 1, 3, 3, dtype=torch.uint8), u)
    seen = torch.stack([column for call in calls for column in call], dim=1)  # (n, 6)
    counts = Counter(map(tuple, seen.tolist()))

    expected = Counter()
    for pair in POLICY.policies:
        cells = [((), n / 25)]
        for name, p, level in pair:
            choices = [(ops.OPERATIONS.index(name), p), (-1, 1 - p)]
            cells = [
                ((*key, operation, level or 0, sign), mass * share / 2)
                for key, mass in cells
                for operation, share in choices
                for sign in (0, 1)
            ]
        for key, mass in cells:
            expected[key] = expected.get(key, 0) + mass
    possible = {key: mass for key, mass in expected.items() if mass > 0}
    assert set(counts) <= set(possible)
    assert min(possible.values()) > 5  # for chi-square to hold
    assert chi_square([counts[k] for k in possible], list(possible.values())) > 1e-3


@pytest.mark.parametrize("value", [-0.4, -0.1, 0.0, 0.07, 0.4])
@pytest.mark.parametrize(
    ("ours", "theirs", "offset"),
    [
        (color.brightness, vision.adjust_brightness, 1),
        (color.contrast, vision.adjust_contrast, 1),
        (color.color, vision.adjust_saturation, 1),
        (color.hue, vision.adjust_hue, 0),
    ],
)
def test_jitters_operations_are_torchvisions(ours, theirs, offset, value):
    for channels in (1, 3):
        images = pictures(8, channels) / 255
        want = torch.stack([theirs(x, offset + value) for x in images])
        torch.testing.assert_close(ours(images, torch.full((8,), value)), want, **CLOSE)


@pytest.mark.parametrize(("side", "kernel"), [(8, 3), (28, 3), (32, 3), (64, 7), (224, 23)])
def test_blur_is_torchvisions_with_a_kernel_of_a_tenth_of_the_side(side, kernel):
    assert abs(kernel - max(3, side / 10)) <= 1
    images, sigma = pictures(3, 3, side) / 255, torch.tensor([0.1, 0.9, 2.0])
    pairs = zip(images, sigma.tolist(), strict=True)
    want = torch.stack([vision.gaussian_blur(x, [kernel] * 2, [s] * 2) for x, s in pairs])
    torch.testing.assert_close(color.gaussian_blur(images, sigma), want, **CLOSE)


def test_box_that_never_fits_is_the_whole_image():
    found = geometry.boxes(uniform(0, 0, torch.arange(50), "box", 22), 32, (1.5, 2.0))
    assert found.tolist() == [[0, 0, 32, 32]] * 50


def test_boxes_keep_area_ratio_and_image():
    top, left, height, width = geometry.boxes(
        uniform(0, 0, torch.arange(20_000), "box", 22), 224, (0.2, 1.0)
    ).unbind(1)
    assert min(top.min(), left.min()) == 0
    assert max((top + height).max(), (left + width).max()) == 224
    share, ratio = height * width / 224**2, width / height
    assert share.min() == pytest.approx(0.2, abs=0.01)
    assert share.max() > 0.95
    assert (ratio.min().item(), ratio.max().item()) == pytest.approx((3 / 4, 4 / 3), abs=0.02)


def test_cutouts_hole_is_16_pixels_around_every_centre_cut_off_at_the_border():
    centres = torch.cartesian_prod(torch.arange(32), torch.arange(32))
    for (row, column), hole in zip(
        centres.tolist(), geometry.holes((centres + 0.5) / 32, 32, 16), strict=True
    ):
        want = torch.zeros(1, 32, 32, dtype=torch.bool)
        want[:, max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8] = True
        assert torch.equal(hole, want), (row, column)


def test_cutouts_centres_are_uniform():
    corners = geometry.holes(uniform(1, 0, torch.arange(16_000), "cutout/0", 2), 8, 1)
    assert chi_square(corners.sum(0).flatten().tolist(), [250.0] * 64) > 1e-3
