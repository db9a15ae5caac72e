"""LDMLR: a class-conditional diffusion model of phase-1 features, and a head on what it makes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.closed_forms import Adjusted, logit_adjusted
from facog_lab.rivals.head_loop import Head, Recipe, own, train
from facog_lab.rng import rng_for, seeded

STEPS = 1000  # of noise
SAMPLING_STEPS = 50  # of them that DDIM takes back
EPOCHS = 200  # of the diffusion model
BATCH, LR = 256, 1e-3
SHARE, LEAST = 0.2, 5  # features made for a class: a fifth of its images, and no fewer than 5
RECIPE = Recipe(40, 128, 0.005, 1e-4, "constant", "images")  # the head's, as phase 2's classifier


class Denoiser(nn.Module):
    """Noisy feature, share of noise and class to the feature without noise.

    Args:
        num_classes: C.
        width: D of a feature.
        hidden: of its three layers.
    """

    def __init__(self, num_classes: int, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.label = nn.Embedding(num_classes, hidden)
        self.time = nn.Sequential(nn.Linear(32, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.first = nn.Linear(width, hidden)
        self.middle = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(2)])
        self.last = nn.Linear(hidden, width)

    def forward(self, noisy: Tensor, step: Tensor, labels: Tensor) -> Tensor:
        """(B, D) noisy features, (B,) steps and (B,) labels to (B, D) features."""
        rate = 1e4 ** (-torch.arange(16, device=noisy.device) / 16)
        angle = step[:, None] * rate
        context = self.time(torch.cat([angle.sin(), angle.cos()], 1)) + self.label(labels)
        x = self.first(noisy)
        for layer in self.middle:
            x = x + layer(F.silu(x + context))
        return self.last(F.silu(x))


class LatentDiffusion:
    """Class-conditional diffusion in feature space (Han et al. 2024, LDMLR).

        noisy: z_t = √a_t f + √(1 - a_t) ε,   a_t = cos²((t/T + 0.008)/1.008 · π/2)
        learned: E ‖ f - d(z_t, t, y) ‖²     sampled: DDIM, without new noise

    Features are scaled to mean 0 and variance 1 over all of them. Differs from the published code:
    its denoiser is a one-dimensional U-Net over the feature as if its order meant something, ours
    three fully connected layers; SGD at 1e-4 there, Adam at 1e-3 here.

    Args:
        dictionary: real features; the model is trained on them when it is made.
        seed: of weights and draws.
        epochs: passes over as many features as there are.
    """

    def __init__(self, dictionary: FeatureDictionary, seed: int = 0, epochs: int = EPOCHS) -> None:
        self.dictionary, device = dictionary, dictionary.labels.device
        with seeded(seed, "diffusion", "weights"):
            made = Denoiser(dictionary.num_classes, dictionary.feature_dim)
        self.denoiser = made.to(device)
        self.centre = dictionary.features.float().mean(0)
        self.scale = (dictionary.features.float() - self.centre).square().mean().sqrt()
        times = torch.arange(1, STEPS + 1, device=device) / STEPS
        curve = torch.cos((times + 0.008) / 1.008 * math.pi / 2).square()
        self.kept = (curve / math.cos(0.008 / 1.008 * math.pi / 2) ** 2).clamp(min=1e-5)  # a_t
        steps = math.ceil(len(dictionary.labels) / BATCH)
        optimizer = torch.optim.Adam(self.denoiser.parameters(), LR)
        for step in range(epochs * steps):
            loss = self.loss(rng_for(device, seed, "diffusion", step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.denoiser.requires_grad_(False)

    def loss(self, rng: torch.Generator) -> Tensor:
        """The mean squared error on a batch of real features with noise of any share."""
        device = self.dictionary.labels.device
        rows = torch.randint(len(self.dictionary.labels), (BATCH,), generator=rng, device=device)
        step = torch.randint(STEPS, (BATCH,), generator=rng, device=device)
        clean = (self.dictionary.gather(rows) - self.centre) / self.scale
        noise = torch.randn(clean.shape, generator=rng, device=device)
        kept = self.kept[step][:, None]
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        return F.mse_loss(self.denoiser(noisy, step, self.dictionary.labels[rows]), clean)

    @torch.no_grad()
    def sample(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        """(B, D) new features for (B,) labels, by DDIM (Song et al. 2021, η = 0)."""
        shape = (len(labels), self.dictionary.feature_dim)
        noisy = torch.randn(shape, generator=rng, device=labels.device)
        times = torch.linspace(STEPS - 1, 0, SAMPLING_STEPS, device=labels.device).long()
        for now, after in zip(times, [*times[1:], None], strict=True):
            clean = self.denoiser(noisy, now.expand(len(labels)), labels)
            if after is None:
                break
            noise = (noisy - self.kept[now].sqrt() * clean) / (1 - self.kept[now]).sqrt()
            noisy = self.kept[after].sqrt() * clean + (1 - self.kept[after]).sqrt() * noise
        return clean * self.scale + self.centre


def skeleton(dictionary: FeatureDictionary, classifier: nn.Sequential) -> Adjusted:
    """Its form, for the weights of one that was kept."""
    return logit_adjusted(classifier, dictionary.class_counts)


@register_head("ldmlr", label="LDMLR", family="trained",
               about="features of a diffusion model beside the real ones",
               skeleton=skeleton)  # fmt: skip
def ldmlr(
    dictionary: FeatureDictionary,
    classifier: nn.Sequential,
    seed: int = 0,
    recipe: Recipe = RECIPE,
    epochs: int = EPOCHS,
) -> Head:
    """LDMLR: phase 1's classifier trained on real and diffused features together, then adjusted.

    For each class max(5, a fifth of its images) features are made once; batches are drawn from
    all. The log of the classes' shares among the training images is taken off its logits, as the
    paper's "label shift" rows do. Differs from the published code: the last epoch is taken, not
    the best one on test images.

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's.
        seed: of the diffusion model and all draws.
        recipe: how phase 2 trains.
        epochs: of the diffusion model.
    """
    model, device = LatentDiffusion(dictionary, seed, epochs), dictionary.labels.device
    wanted = (SHARE * dictionary.class_counts).round().long().clamp(min=LEAST)
    labels = torch.arange(dictionary.num_classes, device=device).repeat_interleave(wanted)
    made = model.sample(labels, rng_for(device, seed, "diffusion", "sample"))
    real = len(dictionary.labels)

    def batches(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        size = (recipe.batch_size,)
        rows = torch.randint(real + len(labels), size, generator=rng, device=device)
        seen, new = rows.clamp(max=real - 1), (rows - real).clamp(min=0)
        is_real = rows < real
        features = torch.where(is_real[:, None], dictionary.gather(seen), made[new])
        return features, torch.where(is_real, dictionary.labels[seen], labels[new])

    trained = own(classifier, dictionary)
    history = train(
        trained, dictionary, lambda x, y, step: F.cross_entropy(x, y), recipe, seed, batches=batches
    )
    adjusted = logit_adjusted(trained.requires_grad_(False), dictionary.class_counts)
    return Head(adjusted, history=history)
