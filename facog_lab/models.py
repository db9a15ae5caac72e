"""The networks: backbones, the two heads, the generators of convex weights, the discriminator.

B is the batch, C the number of classes, D the width of a feature (the paper's D_E).
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import registry

# Blocks per stage of the CIFAR-style networks, all with widths 16-32-64 times `width`.
CIFAR_BLOCKS = {"small": (1, 1, 1), "resnet32": (5, 5, 5)}


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, and a shortcut without parameters (option A).

    Where the block narrows the image and widens the channels, the shortcut takes every second
    pixel and fills the new channels with zeros.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.new_channels = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        # In place: a second tensor for every activation cost a third of a step on a CPU.
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.stride > 1 or self.new_channels:
            half = self.new_channels // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, half, self.new_channels - half))
        return F.relu(y.add_(x), inplace=True)


class CifarResNet(nn.Module):
    """The CIFAR family of ResNets (He et al. 2016, §4.2): 3×3 stem, three stages, mean pooling.

    (5, 5, 5) blocks are ResNet-32: 0.46 M parameters, 69 M multiply-adds on 32×32.

    Args:
        blocks: blocks in each of the three stages.
        channels: of the image, 1 or 3.
        width: multiplies the widths 16-32-64.
        feature_dim: a linear layer to this width after the pooling; None for none (64·width).
    """

    def __init__(
        self, blocks: tuple[int, ...], channels: int, width: int = 1, feature_dim: int | None = None
    ) -> None:
        super().__init__()
        widths = [16 * width, 32 * width, 64 * width]
        self.conv = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        stages, inputs = [], widths[0]
        for stage, (count, outputs) in enumerate(zip(blocks, widths, strict=True)):
            for block in range(count):
                stages.append(BasicBlock(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.embed = nn.Identity() if feature_dim is None else nn.Linear(inputs, feature_dim)
        self.feature_dim = feature_dim or inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) images to (B, D) features."""
        x = self.stages(F.relu(self.bn(self.conv(images)), inplace=True))
        return self.embed(x.mean((2, 3)))


for _name, _label in {"small": "small ResNet", "resnet32": "ResNet-32"}.items():
    registry.backbones.add(_name, label=_label, family="CIFAR", about="widths 16-32-64")


def backbone(
    architecture: str, channels: int, width: int = 1, feature_dim: int | None = None
) -> nn.Module:
    """The network from image to feature, f_back, with its width as `.feature_dim`.

    Args:
        architecture: "small" (one block a stage), "resnet32", or another registered one.
        channels: of the images, 1 or 3.
        width: multiplies the widths of "small" and "resnet32"; 1 for the others.
        feature_dim: see `CifarResNet`; None for the others.

    Raises:
        ValueError: for an unknown architecture, or a width that the architecture does not have.
    """
    if architecture in CIFAR_BLOCKS:
        return CifarResNet(CIFAR_BLOCKS[architecture], channels, width, feature_dim)
    entry = registry.backbones[architecture]
    if width != 1 or feature_dim is not None:
        raise ValueError(
            f"width = {width}, feature_dim = {feature_dim}: {architecture} has its own widths; "
            "leave width at 1 and feature_dim at None, or take resnet32."
        )
    made: nn.Module = entry.make(channels)
    return made


def head(inputs: int, outputs: int) -> nn.Sequential:
    """Linear(D→D), ReLU, Linear(D→outputs): the form of both f_cls and f_proj (§3.2)."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


class Phase1Model(nn.Module):
    """Backbone, classifier and projector, trained together in phase 1 (Fig. 2, left).

    Args:
        backbone: image → feature.
        num_classes: C.
        projection_dim: D_P, the width of an embedding.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, projection_dim: int) -> None:
        super().__init__()
        width = int(backbone.feature_dim)  # type: ignore[arg-type]
        self.backbone = backbone
        self.classifier = head(width, num_classes)
        self.projector = head(width, projection_dim)

    def embed(self, features: Tensor) -> Tensor:
        """(B, D) features to (B, D_P) embeddings of length 1, z = f_proj(f) / ‖f_proj(f)‖."""
        return F.normalize(self.projector(features), dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) images to (B, C) logits."""
        return self.classifier(self.backbone(images))


def mlp(widths: list[int], activation: nn.Module, batch_norm: bool = False) -> nn.Sequential:
    """Fully connected layers with an activation between them and a linear output."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths[:-1]):
        layers.append(nn.Linear(inputs, outputs))
        if batch_norm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(activation)
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class Generator(nn.Module):
    """G of the paper: noise and class to convex weights, w_c = G(n | c) (§3.3).

    It does not see the features that it mixes. The last layer has room for `max_n_s` weights, of
    which the first n_s are used, so that n_s may change while it trains.

    Args:
        num_classes: C.
        max_n_s: the largest n_s.
        hidden: widths of the hidden layers.
        batch_norm: batch norm after every hidden layer.
        noise_dim: width of the noise.
    """

    sees_features = False

    def __init__(
        self,
        num_classes: int,
        max_n_s: int,
        hidden: tuple[int, ...] = (256, 64),
        batch_norm: bool = False,
        noise_dim: int = 100,
    ) -> None:
        super().__init__()
        self.num_classes, self.noise_dim = num_classes, noise_dim
        self.layers = mlp([noise_dim + num_classes, *hidden, max_n_s], nn.ReLU(), batch_norm)

    def forward(self, noise: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Weights on the simplex.

        Args:
            noise: (B, noise_dim), standard normal.
            labels: (B,) int64.
            features: (B, n_s, D), the features to mix; only their number is used.

        Returns:
            (B, n_s) weights, not negative, each row summing to 1.
        """
        one_hot = F.one_hot(labels, self.num_classes).to(noise.dtype)
        logits = self.layers(torch.cat([noise, one_hot], 1))  # (B, max_n_s)
        return logits[:, : features.shape[1]].softmax(1)


class Discriminator(nn.Module):
    """D of the paper: feature and class to a score, 1 for real and 0 for generated (Eq. 3).

    Args:
        num_classes: C.
        feature_dim: D.
        hidden: widths of the hidden layers.
    """

    def __init__(
        self, num_classes: int, feature_dim: int, hidden: tuple[int, ...] = (256, 128)
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layers = mlp([feature_dim + num_classes, *hidden, 1], nn.LeakyReLU(0.1))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(B, D) features and (B,) labels to (B,) scores."""
        one_hot = F.one_hot(labels, self.num_classes).to(features.dtype)
        return self.layers(torch.cat([features, one_hot], 1)).squeeze(1)


def parameter_count(module: nn.Module) -> int:
    """How many trainable numbers a module has."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
