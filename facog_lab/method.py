"""FACoG on one page: phase 1, the feature dictionary, phase 2, as the paper has them (§3, Fig. 2).

No folders, devices or resuming; the package's own loops give the same bytes (tests/test_method.py).
C classes, B images in a batch, V views of each, features of width D, R of them in the dictionary.
"""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import draws, losses, models
from facog_lab.augment import make_views
from facog_lab.datasets import LongTailed
from facog_lab.phase1 import Phase1Config
from facog_lab.phase2 import Phase2Config


def phase1(config: Phase1Config, data: LongTailed) -> models.Phase1Model:
    """Backbone, classifier and projector from L_ph1 = λ_ce L_ce + λ_sc L_sc (Eq. 2)."""
    with draws.seeded(config.seed, "phase1", "weights"):
        shape = config.architecture, data.channels, config.width, config.embedding_dim
        model = models.Phase1Model(models.backbone(*shape), data.num_classes, config.projection_dim)
    sgd = torch.optim.SGD(
        model.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
    )
    # Two regular views serve both losses; of three, the first serves L_ce, the others L_sc.
    regular, contrast = config.augmentation, "simaugment"
    recipes = [regular, regular] if config.views == 2 else [regular, contrast, contrast]
    steps = math.ceil(len(data.labels) / config.batch_size)  # of an epoch
    for epoch in range(config.epochs):
        rng = draws.generator("cpu", config.seed, "order", epoch)
        order = torch.randperm(len(data.labels), generator=rng)
        for step, index in enumerate(order.tensor_split(steps)):  # nearly equal batches
            labels, lr = data.labels[index], learning_rate(config, epoch, step, steps)
            views = torch.cat(  # (V·B, channels, H, W)
                [views_of(data, index, r, config.seed, epoch, v) for v, r in enumerate(recipes)]
            )
            features = model.backbone(views).unflatten(0, (len(recipes), -1))  # (V, B, D)
            for_ce, for_sc = (features[:1], features[1:]) if len(recipes) == 3 else (features,) * 2
            logits = model.classifier(for_ce).flatten(0, 1)  # (B or 2B, C)
            ce = F.cross_entropy(logits, labels.repeat(len(for_ce)))
            embeddings = model.embed(for_sc.flatten(0, 1))  # (2B, D_P), of length 1
            sc = losses.supervised_contrastive(embeddings, labels.repeat(2), config.temperature)
            descend(sgd, config.lambda_ce * ce + config.lambda_sc * sc, lr)
    return model.eval()


@torch.no_grad()
def dictionary(model: models.Phase1Model, data: LongTailed) -> tuple[Tensor, Tensor]:
    """(R, D) features of all training images as they are, and (R,) labels, by class (§3.2)."""
    batches = torch.arange(len(data.labels)).split(500)
    features = torch.cat([model.backbone(views_of(data, i, "clean", 0, 0, 0)) for i in batches])
    by_class = data.labels.argsort(stable=True)
    return features[by_class], data.labels[by_class]


def phase2(
    config: Phase2Config, model: models.Phase1Model, all_f: Tensor, all_labels: Tensor, steps: int
) -> nn.Module:
    """The classifier, fine-tuned on features that G mixes (§3.3): D, G and f_cls in turn."""
    counts, width = all_labels.bincount(), all_f.shape[1]  # (C,) N_c
    classes, batch, n_s = len(counts), config.batch_size, config.n_s
    with draws.seeded(config.seed, "phase2", "weights"):
        generator = models.Generator(classes, max_n_s=20)  # of whose 20 weights n_s are used
        discriminator = models.Discriminator(classes, width)
    classifier = copy.deepcopy(model.classifier)
    parts = (generator, discriminator, classifier)
    sgd_g, sgd_d, sgd_c = (
        torch.optim.SGD(part.parameters(), momentum=0.9, weight_decay=1e-4) for part in parts
    )
    wanted = counts.max() - counts.double()  # rare classes most often, the largest never (§3.4)

    def real(labels: Tensor, rng: torch.Generator) -> Tensor:
        return all_f[draw(counts, labels, 1, rng)[:, 0]]  # (B, D)

    def generated(labels: Tensor, rng: torch.Generator) -> Tensor:
        features = all_f[draw(counts, labels, n_s, rng)]  # (B, n_s, D)
        noise = torch.randn(batch, 100, generator=rng)
        weights = generator(noise, labels, features)  # w, (B, n_s), convex
        return torch.einsum("bn,bnd->bd", weights, features)  # f̃ = Σ w_i f_i

    for step in range(steps):
        rng = draws.generator("cpu", config.seed, "oversampler", step)
        labels = torch.randint(classes, (batch,), generator=rng)
        f, fake = real(labels, rng), generated(labels, rng).detach()
        scores = discriminator(f, labels), discriminator(fake, labels)
        loss_d = losses.discriminator_adversarial(*scores)  # D's part of L_adv, Eq. 3
        descend(sgd_d, loss_d, config.lr_discriminator)

        labels = torch.randint(classes, (batch,), generator=rng)
        f, fake = real(labels, rng), generated(labels, rng)
        adv = losses.generator_adversarial(discriminator(fake, labels))  # G's part of L_adv
        z_fake, z = model.embed(fake), model.embed(f)  # the projector stays as it is
        asc = losses.augmented_supervised_contrastive(  # L_asc, Eq. 4
            z_fake, labels, z, labels, config.temperature
        )
        descend(sgd_g, config.lambda_adv * adv + config.lambda_asc * asc, config.lr_generator)

        rng = draws.generator("cpu", config.seed, "classifier", step)
        labels = torch.multinomial(wanted / wanted.sum(), batch, replacement=True, generator=rng)
        rows = torch.randint(len(all_f), (batch,), generator=rng)  # as frequent as they are
        features = torch.cat([generated(labels, rng).detach(), all_f[rows]])
        loss = F.cross_entropy(classifier(features), torch.cat([labels, all_labels[rows]]))
        descend(sgd_c, loss, config.lr_classifier)
    return classifier


def draw(counts: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """(B, n) rows of the wanted classes: n different ones where a class has as many (Floyd)."""
    rows = []
    for u, label in zip(
        torch.rand(len(labels), 2 * n, generator=rng, dtype=torch.float64), labels, strict=True
    ):
        size, chosen = int(counts[label]), (u[:n] * counts[label]).long().tolist()
        if size >= n:
            chosen = []  # of the first last + 1 rows; one that is taken gives way to the last
            for slot, last in enumerate(range(size - n, size)):
                pick = int(u[slot] * (last + 1))
                chosen.append(last if pick in chosen else pick)
            chosen = [chosen[k] for k in u[n:].argsort().tolist()]  # in random order
        rows.append(counts[:label].sum() + torch.tensor(chosen))  # after the classes before it
    return torch.stack(rows)


def views_of(data: LongTailed, index: Tensor, recipe: str, seed: int, epoch: int, v: int) -> Tensor:
    """(B, channels, H, W): a normalised view of the training images at `index`."""
    scale: Any = {"mean": data.mean, "std": data.std}
    images = data.images[index]
    return make_views(images, recipe, seed=seed, epoch=epoch, index=index, view=v, **scale)


def learning_rate(config: Phase1Config, epoch: int, step: int, steps: int) -> float:
    """Linear warm-up, then ×0.1 at 60% and 80% of the epochs."""
    if epoch < config.warmup_epochs:
        return config.lr * (epoch * steps + step + 1) / (config.warmup_epochs * steps)
    done = epoch / config.epochs
    return config.lr * (0.01 if done >= 0.8 else 0.1 if done >= 0.6 else 1.0)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    """One step down the gradient of a loss, for the optimiser's own parameters alone."""
    (group,) = optimizer.param_groups
    group["lr"], parameters = lr, group["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()
