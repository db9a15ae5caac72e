"""The constants of the paper, and of what it leaves open as settled: one table.

Each line is a constant, the value it must have, and a measurement of what the code does with it:
of the optimiser that was built, of D's output, of the metric at the border. A constant that is
changed fails its line here, whatever the tests of its own file compare it with.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn

from facog_lab import generator, losses, metrics, models, phase2, views
from facog_lab.augment import color
from facog_lab.data import load as load_module
from facog_lab.data.long_tail import long_tail_counts
from facog_lab.models import BasicBlock
from facog_lab.phase1 import Phase1, learning_rate
from facog_lab.phase2 import Phase2
from facog_lab.rivals import contrastive, heads, networks, smote
from facog_lab.rivals.objectives import ClassificationLoss
from facog_lab.rng import rng_for
from facog_lab.runs import methods, presets
from facog_lab.settings import Controls, Phase1Config, Phase2Config
from facog_lab.views import Recipe

SETS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet_lt", "folder")


class Line(NamedTuple):
    """A constant.

    Attributes:
        name: what it is, as in the table of method and paper.
        value: what it must be.
        measured: what the code does.
    """

    name: str
    value: Any
    measured: Any


# Data sets


def counts(profile, available, ratio=100.0):
    return long_tail_counts(profile, available, ratio)


def totals(largest, classes):
    made = [counts("exponential", [largest] * classes, ratio) for ratio in (100, 50, 10)]
    return [(sum(one), min(one)) for one in made]


def gamo_protocol():
    """How many test images of each class, and the last place they are drawn from."""
    labels = torch.arange(10).repeat_interleave(1000)
    chosen = load_module.protocols("mnist", labels, 0)["gamo"]
    places = chosen - 1000 * labels[chosen]
    return labels[chosen].bincount().tolist(), bool(places.max() < 800), bool(places.max() > 750)


DATA = [
    Line("GAMO's counts", [4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40],
         lambda: counts("gamo", [6000] * 10)),
    Line("GAMO's test images", ([100] * 10, True, True), gamo_protocol),
    Line("CIFAR-10-LT at 100", [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
         lambda: counts("exponential", [5000] * 10)),
    Line("CIFAR-10-LT: images and smallest class at 100, 50, 10",
         [(12406, 50), (13996, 100), (20431, 500)], lambda: totals(5000, 10)),
    Line("CIFAR-100-LT: images and smallest class at 100, 50, 10",
         [(10847, 5), (12608, 10), (19573, 50)], lambda: totals(500, 100)),
    Line("usual profile and ratio",
         {"digits": ("exponential", 20), "mnist": ("gamo", 20), "fashion_mnist": ("gamo", 20),
          "cifar10": ("exponential", 100), "cifar100": ("exponential", 100),
          "imagenet_lt": ("as_found", 20), "folder": ("as_found", 20)},
         lambda: {name: (made.data.profile, made.data.imbalance_ratio)
                  for name, made in ((s, experiment("auto", s)) for s in SETS)}),
]  # fmt: skip


# Metrics


def at_the_borders(many=101, medium=(100, 20), few=19):
    """Many, medium, few of four classes whose recalls are all different."""
    sizes = torch.tensor([many, *medium, few])
    labels = torch.arange(4).repeat_interleave(10)
    wrong = torch.cat([torch.arange(10) < n for n in (1, 2, 4, 7)])  # recalls .9 .8 .6 .3
    scores = metrics.evaluate(torch.where(wrong, (labels + 1) % 4, labels), labels, sizes)
    return scores.many, scores.medium, scores.few


def tail_share(classes):
    return len(metrics.rarest_classes(torch.arange(classes, 0, -1)))


METRICS = [
    Line("many is above 100, medium 20 to 100, few below 20", (0.9, 0.7, 0.3), at_the_borders),
    Line("100 is medium", (None, 0.7 + 0.2 / 3, 0.3), lambda: at_the_borders(many=100)),
    Line("101 is many", (0.85, 0.6, 0.3), lambda: at_the_borders(medium=(101, 20))),
    Line("19 is few", (0.9, 0.8, 0.45), lambda: at_the_borders(medium=(100, 19))),
    Line("20 is medium", (0.9, 1.7 / 3, None), lambda: at_the_borders(few=20)),
    Line("tail 20% of 100, 10, 8, 7, 5, 3, 1 classes, rounded", [20, 2, 2, 1, 1, 1, 1],
         lambda: [tail_share(c) for c in (100, 10, 8, 7, 5, 3, 1)]),
    Line("entropy of uniform w over 5", math.log(5),
         lambda: metrics.weight_entropy(torch.full((3, 5), 0.2)).item()),
]  # fmt: skip


# Phase 1


def experiment(preset, dataset):
    return presets.experiment(
        preset, data={"dataset": "folder:x" if dataset == "folder" else dataset}
    )


@functools.cache
def paper_loop(**changes):
    """Phase 1 by the paper's settings for CIFAR, on a few made-up images of 3×32×32."""
    return Phase1(Phase1Config(**changes), tiny.long_tailed(side=32, channels=3), "cpu")


def layers(sequence):
    """Its layers in order, with the widths of the linear ones."""
    return [
        (m.in_features, m.out_features) if isinstance(m, nn.Linear) else type(m).__name__
        for m in sequence
    ]


def backbone_facts(**changes):
    network = paper_loop(**changes).model.backbone
    size = models.parameter_count(network) / 1e6
    return round(size, 1 if size > 1 else 2), network(torch.zeros(2, 3, 32, 32)).shape[1]


def resnet32_shape():
    """Blocks, widths and first strides of the stages; kernel and stride of the stem."""
    network = paper_loop().model.backbone
    blocks = [m for m in network.stages if isinstance(m, BasicBlock)]
    widths = [b.conv2.out_channels for b in blocks]
    stem = network.conv
    return (
        [widths.count(w) for w in sorted(set(widths))],
        sorted(set(widths)),
        [b.stride for b in blocks if b.stride > 1],
        (stem.kernel_size, stem.stride, stem.padding),
    )


def resnext():
    network = models.backbone("resnext50", 3)
    return network.feature_dim, round(models.parameter_count(network) / 1e6, 1)


def groups(optimizer):
    """What an optimiser was built with, of every group."""
    names = ("lr", "momentum", "weight_decay", "dampening", "nesterov", "maximize", "betas")
    (group,) = optimizer.param_groups
    return {"kind": type(optimizer).__name__} | {k: group[k] for k in names if k in group}


SGD = {"kind": "SGD", "momentum": 0.9, "weight_decay": 1e-4, "dampening": 0, "nesterov": False,
       "maximize": False}  # fmt: skip


def optimised(loop):
    """How many numbers phase 1's optimiser changes of those that its networks have."""
    own = {id(p) for group in loop.optimizer.param_groups for p in group["params"]}
    return sum(p.numel() for p in loop.model.parameters() if id(p) not in own)


def rates(epochs=20, **changes):
    """The learning rate at the end of each epoch of a real run."""
    settings = tiny.PHASE1 | {"epochs": epochs, "warmup_epochs": 5, "lr": 0.05} | changes
    loop = Phase1(Phase1Config(**settings), tiny.long_tailed((6, 4)), "cpu")
    for _ in loop:
        pass
    return [round(rate / settings["lr"], 6) for rate in loop.history["epochs"]["lr"]]


def paper_rates(preset="paper", dataset="cifar100"):
    """The epochs at which the learning rate of a preset changes, and what it is from there on."""
    settings = experiment(preset, dataset).phase1
    found, before = {}, None
    for epoch in range(settings.epochs):
        rate = round(learning_rate(settings, 7 * epoch + 6, 7), 8)  # of the epoch's last step
        if rate != before:
            found[epoch] = before = rate
    return found


def terms(**changes):
    """L_ph1 of a batch over its terms: λ_ce and λ_sc, by two linear equations."""
    loop, rows = paper_loop(**changes), []
    loop.model.train()
    for start in (0, 1):
        index = torch.arange(start, 69, 3)
        loss, (ce, sc), _ = loop.loss(loop.views(index, 0), loop.labels[index], 0)
        rows.append((ce.item(), sc.item(), loss.item()))
    (a, b, e), (c, d, f) = rows
    return (e * d - b * f) / (a * d - b * c), (a * f - c * e) / (a * d - b * c)


def contrast():
    """L_sc of three points as the objective computes it: one anchor has no positive."""
    z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    loop = paper_loop()
    return loop.objective.contrast(loop.model, z, torch.tensor([0, 0, 1]), rng_for("cpu", 0)).item()


def contrast_by_hand(tau=0.1):
    """Mean over three anchors of the paper's sum over candidates; nothing is scaled by τ/0.07."""
    s01, s02, s12 = 0.8 / tau, 0.6 / tau, 0.96 / tau
    one = -math.log(math.exp(s01) / (math.exp(s01) + math.exp(s02)))
    two = -math.log(math.exp(s01) / (math.exp(s01) + math.exp(s12)))
    return (one + two + 0) / 3


def steps_of(images):
    """Steps of an epoch of so many images, by the paper's batch."""
    config = Phase1Config(architecture="small", views=2, epochs=1)
    return Phase1(config, tiny.long_tailed((images - 20, 20)), "cpu").steps_per_epoch


def drw(epochs):
    """The first epoch with class weights, and their ratio in it."""
    loss = ClassificationLoss(
        "ce", Phase1Config(reweighting="drw"), torch.tensor([500, 5])
    )  # of CIFAR-100-LT at 100
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.5]])

    def weights(epoch):
        own = [F.cross_entropy(logits[i : i + 1], torch.tensor([i])).item() for i in (0, 1)]
        value = loss(logits, torch.tensor([0, 1]), epoch, epochs).item()
        share = (value - own[1]) / (own[0] - own[1])  # of the first class in the mean
        return round((1 - share) / share, 1)

    first = next(epoch for epoch in range(epochs) if weights(epoch) != 1)
    return first, weights(first), round(loss.weights.sum().item(), 4)


def effective(n, b=0.9999):
    return (1 - b) / (1 - b**n)


PAPER = {
    "architecture": "resnet32", "width": 1, "feature_dim": None, "projection_dim": 128, "views": 3,
    "augmentation": "autoaugment_cutout", "crop_size": 0, "epochs": 160, "batch_size": 256,
    "lr": 0.5, "momentum": 0.9, "weight_decay": 1e-4, "warmup_epochs": 5, "schedule": "step",
    "lambda_ce": 1.0, "lambda_sc": 0.1, "temperature": 0.1, "reweighting": "none",
    "effective_number_beta": 0.9999, "seed": 0,
}  # fmt: skip
SMALL = PAPER | {"architecture": "small", "feature_dim": 0, "projection_dim": 64, "views": 2,
                 "epochs": 60, "warmup_epochs": 3}  # fmt: skip
OF_IMAGENET = {"architecture": "resnext50", "feature_dim": 0, "projection_dim": 1024, "epochs": 90,
               "augmentation": "imagenet", "crop_size": 224}  # fmt: skip
PHASE1 = {
    ("paper", "cifar10"): PAPER,
    ("paper", "cifar100"): PAPER,
    ("paper", "mnist"): PAPER | {"epochs": 80, "augmentation": "crop"},
    ("paper", "digits"): PAPER | {"epochs": 80, "augmentation": "crop"},
    ("paper", "fashion_mnist"): PAPER | {"epochs": 80, "augmentation": "crop_flip"},
    ("paper", "folder"): PAPER | {"epochs": 80, "augmentation": "standard"},
    ("paper", "imagenet_lt"): PAPER | OF_IMAGENET,
    ("cpu", "cifar10"): SMALL,
    ("cpu", "cifar100"): SMALL,
    ("cpu", "mnist"): SMALL | {"augmentation": "crop"},
    ("cpu", "fashion_mnist"): SMALL | {"augmentation": "crop_flip"},
    ("cpu", "digits"): SMALL | {"augmentation": "crop", "batch_size": 128, "lr": 0.2},
    ("cpu", "folder"): SMALL | {"augmentation": "standard", "batch_size": 64, "lr": 0.1},
}

FIRST = [
    *(Line(f"phase 1 of {preset}, {name}", value,
           lambda p=preset, n=name: experiment(p, n).phase1.model_dump())
      for (preset, name), value in PHASE1.items()),
    Line("ResNet-32: blocks, widths, strides, stem",
         ([5, 5, 5], [16, 32, 64], [2, 2], ((3, 3), (1, 1), (1, 1))), resnet32_shape),
    Line("ResNet-32 with its embedding: M parameters, D_E", (0.5, 512), backbone_facts),
    Line("ResNet-32 without", (0.46, 64), lambda: backbone_facts(feature_dim=0)),
    Line("ResNet-32 ×4", (7.4, 256), lambda: backbone_facts(width=4)),
    Line("ResNet-32 ×8", (29.5, 512), lambda: backbone_facts(width=8)),
    Line("ResNet-34", (21.3, 512), lambda: backbone_facts(architecture="resnet34")),
    Line("ResNeXt-50: D_E, M parameters", (2048, 23.0), resnext),
    Line("classifier", [(512, 512), "ReLU", (512, 3)],
         lambda: layers(paper_loop().model.classifier)),
    Line("projector", [(512, 512), "ReLU", (512, 128)],
         lambda: layers(paper_loop().model.projector)),
    Line("phase 1's optimiser", SGD | {"lr": 0.5}, lambda: groups(paper_loop().optimizer)),
    Line("numbers of the networks that it leaves alone", 0, lambda: optimised(paper_loop())),
    Line("warm-up, ×0.1 at 60% and at 80%",
         [0.2, 0.4, 0.6, 0.8, 1, *[1] * 7, *[0.1] * 4, *[0.01] * 4], rates),
    Line("cosine after the warm-up", (1.0, 0.0, True),
         lambda: (lambda r: (r[4], round(r[-1], 1), r[5:] == sorted(r[5:], reverse=True)))(
             rates(schedule="cosine"))),
    Line("milestones of CIFAR",
         {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5, 96: 0.05, 128: 0.005}, paper_rates),
    Line("milestones of the MNIST family",
         {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5, 48: 0.05, 64: 0.005},
         lambda: paper_rates("paper", "mnist")),
    Line("milestones of ImageNet-LT",
         {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5, 54: 0.05, 72: 0.005},
         lambda: paper_rates("paper", "imagenet_lt")),
    Line("milestones on a laptop",
         {0: round(0.5 / 3, 8), 1: round(1 / 3, 8), 2: 0.5, 36: 0.05, 48: 0.005},
         lambda: paper_rates("cpu", "mnist")),
    Line("a batch has 256 images: steps for 256 and for 257", (1, 2),
         lambda: (steps_of(256), steps_of(257))),
    Line("λ_ce and λ_sc of three views", (1.0, 0.1), terms),
    Line("λ_ce and λ_sc of two views", (1.0, 0.1), lambda: terms(views=2)),
    Line("L_sc: τ 0.1, mean over anchors, no factor", contrast_by_hand(), contrast),
    Line("three views", ["autoaugment_cutout", "simaugment", "simaugment"],
         lambda: paper_loop().objective.recipes),
    Line("two views", ["autoaugment_cutout"] * 2, lambda: paper_loop(views=2).objective.recipes),
    Line("DRW: first epoch of 160, weight of 5 images over 500, sum of weights",
         (128, round(effective(5) / effective(500), 1), 2.0), lambda: drw(160)),
    Line("DRW: first epoch of 10", (8, round(effective(5) / effective(500), 1), 2.0),
         lambda: drw(10)),
]  # fmt: skip


# Views


def seen(recipe, **replaced):
    """(4000, 3, 32, 32) views by a recipe with some of it replaced, in 0..1, unnormalised."""
    rows = torch.arange(32, dtype=torch.uint8)[:, None].expand(32, 32) * 4 + 100
    columns = torch.arange(32, dtype=torch.uint8)[None, :].expand(32, 32) * 4 + 100
    image = torch.stack([rows, columns, torch.full((32, 32), 255, dtype=torch.uint8)])
    images = image.expand(4000, -1, -1, -1).contiguous()
    with pytest.MonkeyPatch.context() as patch:
        known = views.RECIPES[recipe]
        patch.setitem(views.RECIPES, recipe, dataclasses.replace(known, **replaced))
        return views.make_views(
            images,
            recipe,
            seed=0,
            epoch=0,
            index=torch.arange(4000),
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
        )


def shifts(recipe):
    """The least and greatest shift of rows and of columns by a recipe's random crop."""
    made = (seen(recipe, flip=0.0, autoaugment="", cutout=0) * 255).round().long()
    middle = made[:, :, 16, 16]
    moved = (middle[:, :2] - 100) // 4 - 16
    return moved.min().item(), moved.max().item(), len(moved.unique(dim=0))


def flips(recipe):
    """The share of views that are turned, to a twentieth."""
    made = seen(
        recipe, area=None, padding=0, autoaugment="", jitter=0.0, grey=0.0, blur=0.0, cutout=0
    )
    return round(20 * (made[:, 1, 0, 0] > made[:, 1, 0, -1]).float().mean().item()) / 20


def hole(recipe):
    """Cutout's black hole: greatest height and width, least height, how often it is whole."""
    plain = {"padding": 0, "flip": 0.0, "autoaugment": ""}
    black = seen(recipe, **plain)[:, 2] == 0
    assert not (seen(recipe, **plain, cutout=0)[:, 2] == 0).any()
    tall, wide = black.any(2).sum(1), black.any(1).sum(1)
    whole = ((tall == 16) & (wide == 16)).float().mean().item()
    return (
        tall.max().item(),
        wide.max().item(),
        tall.min().item(),
        abs(whole - (17 / 32) ** 2) < 0.03,
    )


def crops(recipe):
    """The least and greatest share of the area of a recipe's boxes, and their ratios."""
    boxes = []
    with pytest.MonkeyPatch.context() as patch:
        true = views.resized_crop
        patch.setattr(views, "resized_crop", lambda x, w, s: boxes.append(w) or true(x, w, s))
        seen(recipe, jitter=0.0, grey=0.0, blur=0.0, autoaugment="")
    _, _, height, width = boxes[0].double().unbind(1)
    area, ratio = height * width / 1024, width / height
    return (
        round(area.min().item(), 1),
        round(area.max().item(), 1),
        round(ratio.log().abs().max().item(), 1),
    )


def amounts(recipe):
    """The greatest amount of each operation of ColorJitter, and the share of views that have it."""
    found, made = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("brightness", "contrast", "color", "hue"):

            def note(images, amount, name=name):
                found.setdefault(name, []).append(amount)
                return images

            patch.setattr(color, name, note)
        seen(recipe, area=None, flip=0.0, grey=0.0, blur=0.0, autoaugment="")
    for name, parts in found.items():
        all_ = torch.cat(parts)
        made[name] = (round(all_.abs().max().item(), 2), round(20 * len(all_) / 4000) / 20)
        assert all_.min() < 0 < all_.max()
    return made


def blurs(recipe):
    """Least and greatest σ, and the share of views that are blurred."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "gaussian_blur", lambda x, sigma: found.append(sigma) or x)
        seen(recipe, area=None, flip=0.0, jitter=0.0, grey=0.0)
    sigma = torch.cat(found)
    return (
        round(sigma.min().item(), 1),
        round(sigma.max().item(), 1),
        round(20 * len(sigma) / 4000) / 20,
    )


def greys(recipe):
    """The share of views without colour."""
    made = seen(recipe, area=None, flip=0.0, jitter=0.0, blur=0.0)
    without = ((made[:, 0] - made[:, 1]).abs() < 1e-6).flatten(1).all(1)
    return round(20 * without.float().mean().item()) / 20


CHOSEN = {"digits": "crop", "mnist": "crop", "fashion_mnist": "crop_flip",
          "cifar10": "autoaugment_cutout", "cifar100": "autoaugment_cutout",
          "imagenet_lt": "imagenet", "folder": "standard"}  # fmt: skip

VIEWS = [
    Line("the regular view of each data set", CHOSEN,
         lambda: {name: experiment("paper", name).phase1.augmentation for name in SETS}),
    Line("CIFAR: crop with padding 4", (-4, 4, 81), lambda: shifts("autoaugment_cutout")),
    Line("CIFAR: flip", 0.5, lambda: flips("autoaugment_cutout")),
    Line("CIFAR: AutoAugment", "cifar10",
         lambda: views.RECIPES["autoaugment_cutout"].autoaugment),
    Line("CIFAR: Cutout of 16, cut off at the border", (16, 16, 8, True),
         lambda: hole("autoaugment_cutout")),
    Line("MNIST: crop with padding 2", (-2, 2, 25), lambda: shifts("crop")),
    Line("MNIST: no flip", 0.0, lambda: flips("crop")),
    Line("Fashion-MNIST: crop with padding 2", (-2, 2, 25), lambda: shifts("crop_flip")),
    Line("Fashion-MNIST: flip", 0.5, lambda: flips("crop_flip")),
    Line("SimAugment: area, ratio", (0.2, 1.0, round(math.log(4 / 3), 1)),
         lambda: crops("simaugment")),
    Line("SimAugment: flip", 0.5, lambda: flips("simaugment")),
    Line("SimAugment: ColorJitter", {"brightness": (0.4, 0.8), "contrast": (0.4, 0.8),
         "color": (0.4, 0.8), "hue": (0.1, 0.8)}, lambda: amounts("simaugment")),
    Line("SimAugment: grey", 0.2, lambda: greys("simaugment")),
    Line("SimAugment: blur", (0.1, 2.0, 0.5), lambda: blurs("simaugment")),
    Line("a clean view", Recipe(), lambda: views.RECIPES["clean"]),
]  # fmt: skip


# Phase 2


@functools.cache
def paper_phase2(**changes):
    """Phase 2 by the paper's settings on a small dictionary, one step on."""
    dictionary = tiny.dictionary()
    loop = Phase2(Phase2Config(**changes), dictionary, tiny.model(dictionary), "cpu")
    next(loop)
    return loop


def generator_noise():
    """Width, mean and deviation of what G takes for noise."""
    facog, given = paper_phase2.__wrapped__().oversampler, []
    facog.generator.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    facog.generate(torch.zeros(4000, dtype=torch.int64), Controls(), rng_for("cpu", 0))
    noise = torch.cat(given)
    return noise.shape[1], round(noise.mean().item(), 2) + 0, round(noise.std().item(), 2)


def slope():
    """What D says where its first layer's pre-activations are -1, and all others their means."""
    net = paper_phase2.__wrapped__().oversampler.discriminator
    with torch.no_grad():
        first, *others = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
        first.weight.zero_()
        first.bias.fill_(-1.0)
        for layer in others:
            layer.weight.fill_(1 / layer.in_features)
            layer.bias.zero_()
    features = torch.randn(2, 6, generator=rng_for("cpu", 0))
    return net(features, torch.tensor([0, 1])).tolist()


def step_sizes():
    """The batch that each optimiser's step saw, in the order of the steps."""
    dictionary = tiny.dictionary()
    loop = Phase2(Phase2Config(), dictionary, tiny.model(dictionary), "cpu")
    facog, order, sizes = loop.oversampler, [], {}
    for name, optimizer in (("D", facog.discriminator_optimizer), ("G", facog.generator_optimizer),
                            ("classifier", loop.optimizer)):  # fmt: skip
        optimizer.register_step_post_hook(lambda *_, n=name: order.append(n))
    for name, net in (("D", facog.discriminator), ("G", facog.generator), ("C", loop.classifier)):
        net.register_forward_pre_hook(
            lambda _, given, n=name: sizes.setdefault(n, []).append(len(given[0]))
        )
    next(loop)
    return order, {name: found[0] for name, found in sizes.items()}


def lambdas():
    """L_ph2 of a step over its terms."""
    table = paper_phase2().history["steps"]
    return (table["loss_g"][0] - 0.1 * table["loss_asc"][0]) / table["loss_adv"][0]


def tau_of_asc():
    """L_asc of a step by a double loop with τ = 0.1, over what the step says."""
    loop = paper_phase2()
    facog, rng = loop.oversampler, rng_for("cpu", 9)
    _, asc = facog.generator_losses(loop.controls, rng, training=False)
    rng = rng_for("cpu", 9)
    labels, real = generator.real_batch(facog.dictionary, 128, rng)
    made = facog._mixed(labels, loop.controls, rng, False).features
    z, known = (F.normalize(facog.projector(x), dim=1) for x in (made, real))
    similarity = torch.cat([z, known]) @ torch.cat([z, known]).T / 0.1
    both, total = torch.cat([labels, labels]), 0.0
    for i in range(128):
        others = torch.arange(256) != i
        log_p = similarity[i] - similarity[i][others].logsumexp(0)
        total -= log_p[others & (both == labels[i])].mean()
    return (asc / (total / 128)).item()


def detached():
    """Whether D's loss reaches G, the classifier's reaches G, and L_asc reaches the projector."""
    loop = paper_phase2()
    facog, controls = loop.oversampler, loop.controls
    of_d, _ = facog.discriminator_loss(controls, rng_for("cpu", 1))
    of_c, _ = loop.classifier_loss(controls, rng_for("cpu", 1))
    _, asc = facog.generator_losses(controls, rng_for("cpu", 1), training=False)

    def reaches(loss, module):
        wanted = [p.requires_grad_() for p in module.parameters()]
        grads = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
        return any(g is not None and bool(g.any()) for g in grads)

    found = [reaches(of_d, facog.generator), reaches(of_c, facog.generator)]
    frozen = not any(p.requires_grad for p in facog.projector.parameters())
    return [*found, frozen, reaches(asc, facog.generator)]


def label_shares():
    """Of D's and G's labels over classes of 40 to 1: the most frequent over the least."""
    labels, real = generator.real_batch(tiny.dictionary(), 20_000, rng_for("cpu", 0))
    found = labels.bincount()
    return round((found.max() / found.min()).item(), 1), len(real)


def cifar100_shares(selection):
    """Of the draws for the classifier, those of the 20 rarest classes."""
    sizes = torch.tensor(counts("exponential", [500] * 100))
    return round(phase2.label_probabilities(sizes, selection)[-20:].sum().item(), 2)


def classifier_batch():
    """Generated and real features in a batch, and how the real ones are spread over classes."""
    loop, seen_ = paper_phase2(), []
    rng = rng_for("cpu", 3)
    with pytest.MonkeyPatch.context() as patch:
        true = F.cross_entropy
        patch.setattr(phase2.F, "cross_entropy", lambda x, y: seen_.append(y) or true(x, y))
        for _ in range(60):
            loop.classifier_loss(loop.controls, rng)
    generated, real = (torch.cat(part).bincount(minlength=5) for part in
                       zip(*(y.split(128) for y in seen_), strict=True))  # fmt: skip
    sizes = loop.dictionary.class_counts
    wanted = [phase2.label_probabilities(sizes, "gamo"), sizes / sizes.sum()]
    close = [
        bool(((n / n.sum() - w).abs() < 0.02).all())
        for n, w in zip((generated, real), wanted, strict=True)
    ]
    return len(seen_[0]), *close


PHASE2 = {
    "n_s": 5, "lambda_adv": 1.0, "lambda_asc": 0.1, "temperature": 0.1, "lr_generator": 0.005,
    "lr_discriminator": 0.005, "lr_classifier": 0.005, "oversampler": "facog",
    "label_selection": "gamo", "trains": "all", "references": "fresh", "generator": "mlp",
    "generator_hidden": (256, 64), "generator_batch_norm": False, "asc_candidates": "both",
    "classifier_batches": "mixed", "batch_size": 128, "optimizer": "sgd", "seed": 0,
}  # fmt: skip
EPOCHS2 = {
    ("paper", "cifar10"): 40, ("paper", "cifar100"): 40, ("paper", "mnist"): 20,
    ("paper", "fashion_mnist"): 20, ("paper", "digits"): 20, ("paper", "folder"): 20,
    ("paper", "imagenet_lt"): 10, ("cpu", "cifar10"): 20, ("cpu", "cifar100"): 20,
    ("cpu", "mnist"): 20, ("cpu", "fashion_mnist"): 20, ("cpu", "digits"): 200,
    ("cpu", "folder"): 100,
}  # fmt: skip
OPTIMIZERS = {
    "D": lambda loop: loop.oversampler.discriminator_optimizer,
    "G": lambda loop: loop.oversampler.generator_optimizer,
    "the classifier": lambda loop: loop.optimizer,
}
ADAM = {"kind": "Adam", "betas": (0.5, 0.999), "weight_decay": 0, "maximize": False}
SCORES = torch.tensor([0.3, 0.9]), torch.tensor([0.1, 0.6])  # D's, of real and of generated

SECOND = [
    *(Line(f"phase 2 of {preset}, {name}",
           PHASE2 | {"epochs": epochs}
           | ({"batch_size": 64} if (preset, name) == ("cpu", "folder") else {}),
           lambda p=preset, n=name: experiment(p, n).phase2.model_dump())
      for (preset, name), epochs in EPOCHS2.items()),
    Line("G's layers", [(105, 256), "ReLU", (256, 64), "ReLU", (64, 20)],
         lambda: layers(paper_phase2().oversampler.generator.layers)),
    Line("D's layers", [(11, 256), "LeakyReLU", (256, 128), "LeakyReLU", (128, 1)],
         lambda: layers(paper_phase2().oversampler.discriminator.layers)),
    Line("G's noise: width, mean, deviation", (100, 0.0, 1.0), generator_noise),
    Line("D's slope, twice", [-0.01, -0.01], slope),
    *(Line(f"the optimiser of {name}", SGD | {"lr": 0.005},
           lambda of=of: groups(of(paper_phase2())))
      for name, of in OPTIMIZERS.items()),
    *(Line(f"Adam as an option for {name}", ADAM | {"lr": 2e-4},
           lambda of=of: groups(of(paper_phase2(optimizer="adam", lr_generator=2e-4,
                                                lr_discriminator=2e-4))))
      for name, of in list(OPTIMIZERS.items())[:2]),
    Line("the classifier keeps SGD", SGD | {"lr": 0.005},
         lambda: groups(paper_phase2(optimizer="adam").optimizer)),
    Line("order and batches of a step", (["D", "G", "classifier"], {"D": 128, "G": 128, "C": 256}),
         step_sizes),
    Line("λ_adv", 1.0, lambdas),
    Line("τ of L_asc", 1.0, tau_of_asc),
    Line("L_D of least squares", (0.7**2 + 0.1**2) / 2 + (0.1**2 + 0.6**2) / 2,
         lambda: losses.discriminator_adversarial(*SCORES).item()),
    Line("L_adv of least squares", (0.9**2 + 0.4**2) / 2,
         lambda: losses.generator_adversarial(SCORES[1]).item()),
    Line("D's loss reaches G, the classifier's reaches G, the projector is frozen, L_asc reaches G",
         [False, False, True, True], detached),
    Line("labels of D and G are drawn evenly", (1.0, 20_000), label_shares),
    Line("the 20 rarest classes of CIFAR-100-LT under gamo", 0.25, lambda: cifar100_shares("gamo")),
    Line("and under inverse", 0.62, lambda: cifar100_shares("inverse")),
    Line("the classifier's batch: as many real ones, all images alike", (256, True, True),
         classifier_batch),
    Line("the dictionary: no augmented views", 0,
         lambda: experiment("paper", "cifar100").dictionary.views),
]  # fmt: skip


# The rivals


def oversampler(name):
    dictionary = tiny.dictionary()
    loop = Phase2(
        Phase2Config(oversampler=name, lr_generator=0.05), dictionary, tiny.model(dictionary), "cpu"
    )
    return loop, loop.oversampler


def gamo_step(name="gamo"):
    """GAMO's optimisers after a step, and the batch that its networks saw."""
    loop, gamo = oversampler(name)
    sizes = []
    gamo.generator.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    gamo.train_step(loop.controls, rng_for("cpu", 0))
    kinds = [groups(gamo.generator_optimizer), groups(gamo.discriminator_optimizer)]
    return kinds, set(sizes)


def focal_gamma(objective="focal"):
    """γ, from the loss of one sample whose right class has probability 1/2, as phase 1 has it."""
    loop = paper_loop(objective=objective)
    logits = torch.zeros(1, 3)
    value = loop.objective.classification(logits, torch.tensor([0]), 0).item()
    return round(math.log(value / math.log(3)) / math.log(2 / 3), 4)


def ldam_facts():
    """Margins of classes of 160,000, 10,000 and 16 images, and the length of a logit."""
    loss = ClassificationLoss("ldam", Phase1Config(), torch.tensor([160_000, 10_000, 16]))
    # A class's margin, from the loss of even logits: log(1 + 2 exp(s Δ)).
    values = [loss(torch.zeros(1, 3), torch.tensor([c]), 0, 160).item() for c in range(3)]
    margins = [round(math.log((math.exp(v) - 1) / 2) / 30, 3) for v in values]
    last = paper_loop(objective="ldam").model.classifier[-1]
    with torch.no_grad():  # along a class's own weights the cosine is 1
        return margins, round(last(7 * last.weight[:1])[0, 0].item(), 3)


def of_imagenet(name):
    settings = experiment("paper", "imagenet_lt")
    changed = methods.with_network(settings, name).phase1
    return {k: getattr(changed, k) for k in networks.IMAGENET[name]}


def network(name, *fields):
    changed = methods.with_network(experiment("paper", "cifar100"), name)
    return [getattr(changed.phase1, field) for field in fields]


def head(name):
    config = heads.head_config(name, epochs=40)
    fields = ("sampling", "epochs", "batch_size", "lr", "schedule", "fits", "start")
    return {field: getattr(config, field) for field in fields}


def neighbours(n):
    """How many neighbours SMOTE chooses from in a class of n features."""
    dictionary = tiny.dictionary((n, 9))
    return smote.SMOTE(dictionary).count[:n].unique().tolist()


def curriculum():
    loop = paper_loop(objective="hybrid_sc")
    return [round(loop.objective.lambdas(epoch)[1] / 0.1, 4) for epoch in (0, 80, 160)]


def positives():
    """KCL's positives of an anchor in a class of 20 images, from its gradient's support."""
    z = F.normalize(torch.randn(40, 8, generator=rng_for("cpu", 0)), dim=1)
    labels, found = torch.zeros(40, dtype=torch.int64), []
    with pytest.MonkeyPatch.context() as patch:
        true = losses._contrast
        patch.setattr(losses, "_contrast", lambda s, c, p: found.append(p.sum(1)) or true(s, c, p))
        contrastive.k_positive_contrastive(z, labels, 0.1, rng_for("cpu", 1))
    return found[0].unique().tolist()


DECOUPLED = {"sampling": "classes", "batch_size": 512, "lr": 0.2, "schedule": "cosine"}
RIVALS = [
    Line("GAMO: Adam of both, batch", ([ADAM | {"lr": 2e-4}] * 2, {32}), gamo_step),
    Line("cGAN: as GAMO", ([ADAM | {"lr": 2e-4}] * 2, {32}), lambda: gamo_step("cgan")),
    Line("focal γ", 1.0, focal_gamma),
    Line("b of CB-Focal", 0.9999,
         lambda: heads.head_config("cb_focal").effective_number_beta),
    Line("LDAM: margins ∝ N^(-1/4) up to 0.5, scale", ([0.05, 0.1, 0.5], 30.0), ldam_facts),
    Line("LADE: λ and α on CIFAR", [0.01, 0.1],
         lambda: network("lade", "lade_lambda", "lade_alpha")),
    Line("LADE: on ImageNet-LT", {"lade_lambda": 0.5, "lade_alpha": 0.05},
         lambda: of_imagenet("lade")),
    Line("cRT", DECOUPLED | {"epochs": 10, "fits": "last_layer", "start": "new_last_layer"},
         lambda: head("crt")),
    Line("LWS", DECOUPLED | {"epochs": 5, "fits": "scales", "start": "phase1"},
         lambda: head("lws")),
    Line("networks train for both phases' epochs", [200], lambda: network("ce", "epochs")),
    Line("SMOTE: neighbours in classes of 30, 4 and 1", ([5], [3], [0]),
         lambda: (neighbours(30), neighbours(4), neighbours(1))),
    Line("Hybrid-SC: α at 0, half and all of the epochs", [1.0, 0.75, 0.0], curriculum),
    Line("KCL: the other view and K = 6", [7], positives),
    Line("TSC keeps of a mean", 0.9, lambda: contrastive.MEMORY),
]  # fmt: skip

TABLE = [*DATA, *METRICS, *FIRST, *VIEWS, *SECOND, *RIVALS]


def close(value):
    """A value to compare with, its numbers to a millionth."""
    if isinstance(value, dict):
        return {name: close(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(close(part) for part in value)
    return pytest.approx(value, rel=1e-5, abs=1e-9) if isinstance(value, float) else value


@pytest.mark.parametrize("line", TABLE, ids=[line.name for line in TABLE])
def test_the_code_does_what_the_paper_says(line):
    measured = line.measured()
    if isinstance(line.value, dict):  # fields that came later have tests of their own
        measured = {name: measured.get(name) for name in line.value}
    assert measured == close(line.value)
