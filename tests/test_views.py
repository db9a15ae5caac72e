"""Views against literal loops over single images that call torchvision with the same draws."""

import itertools
import math

import pytest
import torch
from pictures import POLICY, magnitude_of, pictures
from torchvision.transforms import InterpolationMode
from torchvision.transforms import autoaugment as reference
from torchvision.transforms import functional as vision

from facog_lab.augment import autoaugment, geometry
from facog_lab.rng import uniform
from facog_lab.views import RECIPES, Recipe, make_views

NEAREST = InterpolationMode.NEAREST
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
CLOSE = {"rtol": 0, "atol": 1e-5}  # float32 in 0..1: the order of a sum may differ


def views(images, recipe, **changes):
    c = images.shape[1]
    settings = {"seed": 3, "epoch": 5, "view": 1, "index": torch.arange(len(images)) * 7}
    return make_views(images, recipe, mean=MEAN[:c], std=STD[:c], **{**settings, **changes})


def test_autoaugment_of_imagenet_follows_crop_and_flip():
    """What it does to the crops that the recipe without it makes, rounded, is that policy's."""
    images, index = pictures(40), torch.arange(40) * 7
    asked = {"seed": 3, "epoch": 5, "view": 1, "index": index}
    asked |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    plain = Recipe(**vars(RECIPES["imagenet_autoaugment"]) | {"autoaugment": ""})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "crops", plain)
        crops = make_views(images, "crops", **asked)
    pixels = (crops * 255).round().to(torch.uint8)
    u = uniform(3, 5, index, "autoaugment/1", 5)
    expected = autoaugment.autoaugment(pixels, u, "imagenet").float() / 255
    made = make_views(images, "imagenet_autoaugment", **asked)
    assert torch.equal(made, expected)
    assert not torch.equal(made, crops)


def regular_one_by_one(images, recipe, index):
    """The recipes without RandomResizedCrop, an image at a time, as torchvision composes them."""
    do, side, out = RECIPES[recipe], images.shape[-1], []
    for x, i in zip(images, index, strict=True):

        def draw(name, n, i=i):
            return uniform(3, 5, i[None], f"{name}/1", n)[0].tolist()

        top, left = (int(u * (2 * do.padding + 1)) for u in draw("crop", 2))
        x = vision.crop(vision.pad(x, do.padding), top, left, side, side)
        if draw("flip", 1)[0] < do.flip:
            x = vision.hflip(x)
        if do.autoaugment:
            u = draw("autoaugment", 5)
            for slot, (name, p, level) in enumerate(POLICY.policies[int(u[0] * 25)]):
                if u[1 + slot] < p:
                    amount = magnitude_of(name, level or 0, side, u[3 + slot] >= 0.5)
                    x = reference._apply_op(x, name, amount, NEAREST, None)
        if do.cutout:
            row, column = (int(u * side) for u in draw("cutout", 2))
            half = do.cutout // 2
            x[:, max(0, row - half) : row + half, max(0, column - half) : column + half] = 0
        out.append(vision.normalize(x.float() / 255, MEAN[: len(x)], STD[: len(x)]))
    return torch.stack(out)


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (3, 8)])
@pytest.mark.parametrize("recipe", ["crop", "crop_flip", "standard", "autoaugment_cutout"])
def test_regular_views_are_those_of_a_loop_to_the_bit(recipe, channels, side):
    images, index = pictures(200, channels, side), torch.arange(200) * 7
    assert torch.equal(views(images, recipe), regular_one_by_one(images, recipe, index))


def simaugment_one_by_one(images, recipe, index, size):
    """The recipes with RandomResizedCrop, on float images, in which torchvision rounds nothing."""
    do, side, out = RECIPES[recipe], images.shape[-1], []
    for x, i in zip(images, index, strict=True):

        def draw(name, n, i=i):
            return uniform(3, 5, i[None], f"{name}/1", n)[0].tolist()

        *tries, down, across = draw("resized_crop", 22)
        height = width = side
        for a, r in zip(tries[::2], tries[1::2], strict=True):
            area = side**2 * (do.area[0] + (do.area[1] - do.area[0]) * a)
            ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * r)
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= side and 0 < h <= side:
                height, width = h, w
                break
        top, left = int(down * (side - height + 1)), int(across * (side - width + 1))
        x = vision.resized_crop(x / 255, top, left, height, width, [size, size], antialias=True)
        if draw("flip", 1)[0] < do.flip:
            x = vision.hflip(x)
        u = draw("jitter", 9)
        if u[0] < do.jitter:
            for k in sorted(range(4), key=lambda k: u[5 + k]):
                change = (do.strengths[k] if k < len(do.strengths) else 0) * (2 * u[1 + k] - 1)
                if k == 3:
                    x = vision.adjust_hue(x, change)
                else:
                    names = ("adjust_brightness", "adjust_contrast", "adjust_saturation")
                    x = getattr(vision, names[k])(x, 1 + change)
        if draw("grey", 1)[0] < do.grey:
            x = vision.rgb_to_grayscale(x, len(x))
        u = draw("blur", 2)
        if u[0] < do.blur:
            kernel = max(3, 2 * (size // 20) + 1)
            x = vision.gaussian_blur(x, [kernel] * 2, [0.1 + 1.9 * u[1]] * 2)
        out.append(vision.normalize(x, MEAN[: len(x)], STD[: len(x)]))
    return torch.stack(out)


@pytest.mark.parametrize(
    ("channels", "side", "size"), [(3, 32, 32), (1, 28, 28), (3, 64, 42), (3, 8, 8), (3, 20, 32)]
)
@pytest.mark.parametrize("recipe", ["simaugment", "imagenet"])
def test_simaugment_views_are_those_of_a_loop(recipe, channels, side, size):
    images, index = pictures(100, channels, side), torch.arange(100) * 7
    got = views(images, recipe, size=size)
    want = simaugment_one_by_one(images, recipe, index, size)
    assert got.is_contiguous()
    torch.testing.assert_close(got, want, rtol=0, atol=5e-5)  # 1e-5 over a std of about 0.25


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_view_does_not_depend_on_its_batch(recipe, channels):
    images, index = pictures(40, channels), torch.arange(40) * 7
    before, rng = images.clone(), torch.get_rng_state()
    together = views(images, recipe)
    assert together.dtype == torch.float32
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(views(images[order], recipe, index=index[order]), together[order])
    for i in range(8):
        alone = views(images[i : i + 1], recipe, index=index[i : i + 1])
        assert torch.equal(alone[0], together[i])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(views(images, recipe), together)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "clean"])
def test_seed_epoch_and_view_each_give_other_views(recipe):
    images = pictures(40)[::8].repeat(8, 1, 1, 1)  # the noise: any change shows
    base = views(images, recipe)
    for change in ({"seed": 4}, {"epoch": 6}, {"view": 2}, {"index": torch.arange(40) + 999}):
        same = (views(images, recipe, **change) == base).flatten(1).all(1)
        assert same.float().mean() < 0.2, change


def test_recipes_are_the_papers():
    regular = RECIPES["autoaugment_cutout"]
    assert (regular.padding, regular.flip, regular.autoaugment, regular.cutout) == (
        4,
        0.5,
        "cifar10",
        16,
    )
    sim = RECIPES["simaugment"]
    assert (sim.area, sim.flip, sim.grey, sim.blur, sim.sigma) == (
        (0.2, 1),
        0.5,
        0.2,
        0.5,
        (0.1, 2),
    )
    assert (sim.jitter, sim.strengths) == (0.8, (0.4, 0.4, 0.4, 0.1))
    padded = {name: (recipe.padding, recipe.flip) for name, recipe in RECIPES.items()}
    assert padded["crop"] == (2, 0)
    assert padded["crop_flip"] == (2, 0.5)
    assert padded["standard"] == (4, 0.5)


def test_normalisation_is_exact():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    want = vision.normalize(images.float() / 255, MEAN, STD)
    assert torch.equal(views(images, "clean"), want)


@pytest.mark.parametrize(
    ("side", "size", "scaled"), [(256, 224, 256), (400, 224, 256), (30, 28, 30), (20, 32, 32)]
)
def test_clean_views_of_another_size_are_scaled_then_cut_from_the_middle(side, size, scaled):
    images = pictures(2, 3, side)
    want = vision.resize(images, [scaled, scaled], antialias=True)
    want = vision.center_crop(want, [size, size])
    assert torch.equal(geometry.resize_center_crop(images, size), want)
    assert views(images, "standard", size=size).shape == (2, 3, size, size)


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_empty_batch_gives_an_empty_batch(recipe):
    images = pictures(0)
    assert views(images, recipe, size=24).shape == (0, 3, 24, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "crop_flp"}, "Did you mean 'crop_flip'"),
        ({"images": torch.zeros(2, 3, 8, 8)}, r"float32: pass \(B, C, H, H\) uint8"),
        ({"images": pictures(2, 3, 8)[..., 1:]}, r"\(2, 3, 8, 7\) and type torch.uint8: pass"),
        ({"images": pictures(2, 2, 8)}, "C 1 or 3"),
        ({"images": pictures(2, 3, 8)[0]}, r"\(B, C, H, H\)"),
        ({"index": torch.arange(3)}, r"index has shape \(3,\)"),
        ({"index": torch.zeros(2)}, "float32: pass one whole number"),
        ({"size": 2}, "size = 2 is not allowed"),
        ({"mean": (0.5,)}, r"mean = \(0.5,\), std = .* each of 3 channels"),
        ({"std": (0.5, 0.0, 0.5)}, "above 0"),
    ],
)
def test_wrong_input_is_named(change, message):
    given = {"images": pictures(2, 3, 8), "recipe": "standard", "index": torch.arange(2)}
    given |= {"seed": 0, "epoch": 0, "mean": MEAN, "std": STD, **change}
    with pytest.raises(ValueError, match=message):
        make_views(given.pop("images"), given.pop("recipe"), **given)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_gpu_gives_the_same_views_and_the_cpu_never_waits_for_it(recipe, channels):
    images, index = pictures(200, channels), torch.arange(200)
    want = views(images, recipe, index=index)
    images, index = images.cuda(), index.cuda()
    views(images, recipe, index=index)  # draws up the tables
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = views(images, recipe, index=index)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if RECIPES[recipe].area:
        torch.testing.assert_close(got.cpu(), want, rtol=0, atol=5e-5)
    else:
        assert torch.equal(got.cpu(), want)


# What a recipe may hold, each with and without: 64 recipes, those of RECIPES among them.
PARTS = {
    "area": [None, (0.2, 1.0)],
    "padding": [0, 4],
    "flip": [0.0, 1.0],
    "autoaugment": ["", "cifar10"],
    "jitter": [0.0, 1.0],
    "cutout": [0, 8],
}
STRENGTHS = {"strengths": (0.4, 0.4, 0.4, 0.1), "grey": 0.5, "blur": 0.5}


@pytest.mark.parametrize("size", [32, 24, 30, 40])
def test_the_callers_images_are_never_changed(size, monkeypatch):
    without = [values[0] for values in PARTS.values()]
    for parts in itertools.product(*PARTS.values()):
        if size != 32 and sum(a != b for a, b in zip(parts, without, strict=True)) > 2:
            continue  # all of them together at one size, any two at every size
        recipe = Recipe(**dict(zip(PARTS, parts, strict=True)), **STRENGTHS)
        monkeypatch.setitem(RECIPES, "any", recipe)
        for given in (pictures(16), pictures(1).expand(16, -1, -1, -1), pictures(16, channels=1)):
            before = given.clone()
            views(given, "any", size=size)
            assert torch.equal(given, before), recipe
    for name in RECIPES:
        before = (given := pictures(16)).clone()
        views(given, name, size=size)
        assert torch.equal(given, before), name


def test_a_recipe_that_copies_anyway_copies_once(monkeypatch):
    """Padding gathers pixels into new memory, and so does a resize: no copy before or after."""
    copies = []
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda x, **k: copies.append(x) or clone(x, **k))
    for name, recipe in RECIPES.items():
        if not recipe.autoaugment:  # some of whose operations copy what they work on
            views(pictures(16), name)
    monkeypatch.setitem(RECIPES, "flip", Recipe(flip=1.0))
    views(pictures(16), "flip", size=40)
    assert copies == []
    views(pictures(16), "flip")
    assert len(copies) == 1
