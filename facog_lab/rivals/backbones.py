"""Larger backbones, torchvision's, for images that the CIFAR family is too small for."""

from __future__ import annotations

from typing import Any

from torch import nn

from facog_lab.registry import register_backbone


@register_backbone("resnet34", label="ResNet-34", family="ImageNet", about="512-d, 21.3 M numbers")
def resnet34(channels: int) -> nn.Module:
    """With a 3×3 stem and no pooling before the stages, as used on CIFAR: 512-d."""
    from torchvision.models import resnet34  # slow to import, rarely needed

    network: Any = resnet34(weights=None)
    network.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    return _without_classifier(network, 512)


@register_backbone("resnext50", label="ResNeXt-50", family="ImageNet", about="2048-d, 23 M numbers")
def resnext50(channels: int) -> nn.Module:
    """ResNeXt-50-32x4d, for images of about 224 pixels: 2048-d."""
    from torchvision.models import resnext50_32x4d

    network: Any = resnext50_32x4d(weights=None)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return _without_classifier(network, 2048)


def _without_classifier(network: Any, width: int) -> nn.Module:
    network.fc, network.feature_dim = nn.Identity(), width
    made: nn.Module = network
    return made
